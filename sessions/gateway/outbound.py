"""The writing half of the SSH binary packet layer. Any thread may write; a data packet can be handed on in place."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading

from paramiko.message import Message
from paramiko.ssh_exception import SSHException

from breakglass import clock
from sessions.gateway.cipher import TAG, Keyed

FIRST_WIRE = 4 * 1024
MOST_HELD = 128 * 1024

_put_u32 = struct.Struct(">I").pack_into


class Outbound(Keyed):
    """What leaves by one socket."""

    def _prepare_outbound(self) -> None:
        self.write_lock = threading.RLock()
        self._wire = bytearray(FIRST_WIRE)
        self._held = 0
        self._cut_off = b""
        self._greeted = False
        self.relayed_at = 0.0

    def write_all(self, out: bytes | memoryview) -> None:
        if self._greeted:  # paramiko's first words are the version line
            self._greeted = False
            return
        try:
            if self._cut_off:
                self._socket.sendall(self._cut_off)
                self._cut_off = b""
            if self._held:
                held, self._held = self._held, 0
                try:
                    self._socket.sendall(memoryview(self._wire)[:held])
                finally:  # where it was cut off some of it has gone
                    self.relayed_at = clock.monotonic()
            if out:
                self._socket.sendall(out)
        except OSError as error:
            self.note_lost(error)
            raise EOFError(str(error)) from error

    def send_message(self, data: Message) -> None:
        self.send_payload(data.asbytes())

    def send_payload(self, payload: bytes) -> None:
        """One message, padded, sealed and written. Blocks while the other side doesn't read."""
        with self.write_lock:
            self.write_all(self._seal(payload))

    def send_now(self, payload: bytes, patience: float = 0.02) -> bool:
        """As `send_payload`, but waits no longer than `patience`: False where it couldn't be written whole by then.

        Only for last messages. What was cut off in the middle goes before the next one.
        """
        return self.hand_over(payload, patience) and not self._cut_off

    def hand_over(self, payload: bytes, patience: float) -> bool:
        """As `send_now`; True where it was written, or will be, whole or its rest, before the next one."""
        end = clock.monotonic() + patience
        if not self.write_lock.acquire(timeout=patience):
            return False
        try:
            held, self._held = self._held, 0
            self._cut_off += bytes(memoryview(self._wire)[:held]) + self._seal(payload)
            while self._cut_off:
                sent = self._send_some(self._cut_off, end - clock.monotonic())
                if not sent:
                    break
                self._cut_off = self._cut_off[sent:]
            if held:
                self.relayed_at = clock.monotonic()
            return True
        except OSError as error:
            self.note_lost(error)
            return False
        except (ValueError, SSHException, EOFError):
            return False
        finally:
            self.write_lock.release()

    def _send_some(self, data: bytes, seconds: float) -> int:
        """Write what fits at once, or in a moment. Returns how much that was: 0 when the time was over."""
        if not isinstance(self._socket, socket.socket):
            return self._socket.send_some(data, max(0.0, seconds))
        ready = select.poll()
        ready.register(self._socket, select.POLLOUT)
        if not ready.poll(max(0.0, seconds) * 1000):
            return 0
        return self._socket.send(data, socket.MSG_DONTWAIT)

    def relay(self, plain: bytearray, size: int, hold: bool = False) -> None:
        """Send on a decrypted data packet as it lies, its padding blanked. Only its channel number was changed.

        With `hold` it may stay here until the next packet, or until `flush`: whoever asks for it must see to that.
        """
        padding = plain[0]
        plain[size - padding : size] = bytes(padding)
        with self.write_lock:
            way = self._out
            if way.aead is None or size % 16:
                self.write_all(self._seal(bytes(plain[1 : size - padding])))
                self.relayed_at = clock.monotonic()
                return
            start = self._held
            end = start + 4 + size + TAG
            if end > len(self._wire):
                self._widen(end)
                start, end = self._held, self._held + 4 + size + TAG
            wire = memoryview(self._wire)
            _put_u32(self._wire, start, size)
            way.aead.encrypt_into(
                way.nonce(), memoryview(plain)[:size], wire[start : start + 4], wire[start + 4 : end]
            )
            self._count_out(size)
            self._held = end
            if not hold or end >= MOST_HELD:
                self.write_all(b"")

    def flush(self) -> None:
        """Write what was held."""
        with self.write_lock:
            if self._held:
                self.write_all(b"")

    def _widen(self, wanted: int) -> None:
        """Have room for a packet behind what is held, up to where that is written first."""
        if self._held and wanted > MOST_HELD + 64 * 1024:
            wanted -= self._held
            self.write_all(b"")
        if wanted > len(self._wire):
            wider = bytearray(max(wanted, min(4 * len(self._wire), MOST_HELD + 64 * 1024)))
            wider[: self._held] = memoryview(self._wire)[: self._held]
            self._wire = wider

    def _seal(self, payload: bytes) -> bytes:
        way = self._out
        counted = 0 if way.etm or way.aead is not None else 4
        padding = way.block - (1 + len(payload) + counted) % way.block
        if padding < 4:
            padding += way.block
        size = 1 + len(payload) + padding
        head = struct.pack(">I", size)
        blank = os.urandom(padding) if way.engine is not None and way.aead is None else bytes(padding)
        plain = bytes((padding,)) + payload + blank
        if way.aead is not None:
            packet = head + way.aead.encrypt(way.nonce(), plain, head)
        elif way.engine is None:
            packet = head + plain
        elif way.etm:
            packet = head + way.engine.update(plain)
            packet += way.mac(packet)
        else:
            packet = way.engine.update(head + plain) + way.mac(head + plain)
        self._count_out(size)
        return bytes(packet)

    def _count_out(self, size: int) -> None:
        way = self._out
        way.sequence = (way.sequence + 1) & 0xFFFFFFFF
        if way.sequence == 0 and not self._initial_kex_done:
            raise SSHException("sequence number rolled over during the first key exchange")
        way.bytes += size
        way.packets += 1
        if way.bytes >= self.rekey_bytes or way.packets >= self.rekey_packets:
            self._need_rekey = True
