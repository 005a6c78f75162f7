"""The SSH binary packet layer: bounded, buffered, blocking, and able to hand a data packet on in place.

It takes the place of paramiko's `Packetizer` (by the public `packetizer_class` argument) and offers the
methods that paramiko's transport calls. Nothing here trusts a length: a packet over 256 KiB ends the
connection before any of it is stored.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidTag
from paramiko.message import Message
from paramiko.packet import NeedRekeyException
from paramiko.ssh_exception import SSHException

from breakglass import clock
from sessions.gateway.cipher import Direction

MAX_PACKET = 256 * 1024
MAX_LINE = 8 * 1024
FIRST_BUFFER = 8 * 1024
FULL_BUFFER = 256 * 1024
TAG = 16
MOST_BEFORE_REKEY = 256 * 1024 * 1024
CHANNEL_DATA = 94
CHANNEL_EXTENDED_DATA = 95

Sink = Callable[[bytearray, int], bool]


class Packetizer:
    """One socket's packets. One thread reads; any thread may write."""

    rekey_bytes = 1 << 30
    rekey_packets = 1 << 30

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._closed = False
        self._initial_kex_done = False
        self._need_rekey = False
        self._switched = 0
        self._in = Direction()
        self._out = Direction()
        self._overflow = 0
        self._ignored = 0
        self._cut_off = b""
        self._greeted = False
        self.write_lock = threading.RLock()
        self._buffer = bytearray(FIRST_BUFFER)
        self._start = 0
        self._end = 0
        self._plain = bytearray(FIRST_BUFFER)
        self._wire = bytearray(FIRST_BUFFER)
        self.sink: Sink | None = None
        self.received = 0

    def continue_after(self, heard: bytes) -> None:
        """Take over a connection whose version line was sent already, and from which `heard` was read."""
        self._buffer[: len(heard)] = heard
        self._end = self.received = len(heard)
        self._greeted = True

    # What paramiko's transport asks for. -----------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def set_log(self, log: object) -> None: ...

    def set_hexdump(self, hexdump: bool) -> None: ...

    def get_hexdump(self) -> bool:
        return False

    def start_handshake(self, timeout: float) -> None: ...

    def complete_handshake(self) -> None: ...

    def handshake_timed_out(self) -> bool:
        return False

    def set_keepalive(self, interval: int, callback: object) -> None: ...

    def set_outbound_compressor(self, compressor: object) -> None:
        raise SSHException("compression is off")

    set_inbound_compressor = set_outbound_compressor

    def reset_seqno_out(self) -> None:
        self._out.sequence = 0

    def reset_seqno_in(self) -> None:
        self._in.sequence = 0

    def need_rekey(self) -> bool:
        return self._need_rekey

    def ignore_next(self) -> None:
        """Drop the next packet unread: a wrong guess at the key exchange."""
        self._ignored = 1

    def ask_rekey(self) -> None:
        self._need_rekey = True

    def set_outbound_cipher(
        self, block_engine: Any, block_size: int, mac_engine: Any, mac_size: int, mac_key: bytes | None,
        sdctr: bool = False, etm: bool = False, aead: bool = False, iv_out: bytes | None = None,
    ) -> None:  # fmt: skip
        with self.write_lock:
            self._out.rekeyed(block_engine, block_size, mac_engine, mac_size, mac_key, etm)
            if aead and iv_out is not None:
                self._out.sealed(block_engine, iv_out)
            self._switch(1)

    def set_inbound_cipher(
        self, block_engine: Any, block_size: int, mac_engine: Any, mac_size: int, mac_key: bytes | None,
        etm: bool = False, aead: bool = False, iv_in: bytes | None = None,
    ) -> None:  # fmt: skip
        self._in.rekeyed(block_engine, block_size, mac_engine, mac_size, mac_key, etm)
        if aead and iv_in is not None:
            self._in.sealed(block_engine, iv_in)
        self._switch(2)

    def _switch(self, side: int) -> None:
        self._switched |= side
        if self._switched == 3:
            self._switched = 0
            self._overflow = 0
            self._need_rekey = False

    # Reading ---------------------------------------------------------------------------------------------

    def readline(self, timeout: float) -> str:
        """One line of the version exchange. The caller's own timer bounds the time; the length is bounded here."""
        while True:
            at = self._buffer.find(b"\n", self._start, self._end)
            if at >= 0:
                line = bytes(self._buffer[self._start : at]).rstrip(b"\r")
                self._start = at + 1
                return line.decode("utf-8", "replace")
            if self._end - self._start > MAX_LINE:
                raise SSHException("version line too long")
            self._fill(self._end - self._start + 1)

    def peek_first(self, seconds: float) -> bytes:
        """The payload of the first unencrypted packet without taking it; b"" when it doesn't come in time."""
        self._socket.settimeout(seconds)
        try:
            self._fill(4)
            size = struct.unpack_from(">I", self._buffer, self._start)[0]
            if not 8 <= size <= MAX_PACKET:
                return b""
            self._fill(4 + size)
        except TimeoutError:
            return b""
        finally:
            self._socket.settimeout(None)
        packet = bytes(self._buffer[self._start + 4 : self._start + 4 + size])
        return packet[1 : size - packet[0]]

    def _fill(self, wanted: int) -> None:
        """Have at least `wanted` bytes from `_start` on. Raises EOFError when the other side is gone."""
        if self._start and self._start + wanted > len(self._buffer):
            held = self._end - self._start
            self._buffer[:held] = self._buffer[self._start : self._end]
            self._start, self._end = 0, held
        if wanted > len(self._buffer):
            grown = bytearray(max(wanted, FULL_BUFFER))
            held = self._end - self._start
            grown[:held] = self._buffer[self._start : self._end]
            self._buffer, self._start, self._end = grown, 0, held
        while self._end - self._start < wanted:
            try:
                count = self._socket.recv_into(memoryview(self._buffer)[self._end :])
            except TimeoutError:
                raise
            except OSError as error:
                raise EOFError(str(error)) from error
            if not count:
                raise EOFError("closed by the other side")
            self._end += count
            self.received += count

    def _take(self, count: int) -> bytes:
        self._fill(count)
        taken = bytes(self._buffer[self._start : self._start + count])
        self._start += count
        return taken

    def read_message(self) -> tuple[int, Message]:
        """The next message that isn't channel data for the sink. Data goes to the sink here, without copies."""
        while True:
            if self._need_rekey and self._switched == 0 and self._overflow == 0:
                self._overflow = 1
                raise NeedRekeyException
            size = self._read_sealed() if self._in.aead is not None else self._read_classic()
            plain = self._plain
            padding = plain[0]
            if padding + 1 >= size:
                raise SSHException("packet without a payload")
            sequence = self._in.sequence
            self._count_in(size)
            if self._ignored:
                self._ignored -= 1
                continue
            command = plain[1]
            if (
                command in (CHANNEL_DATA, CHANNEL_EXTENDED_DATA)
                and self.sink is not None
                and self.sink(plain, size)
            ):
                continue
            message = Message(bytes(plain[2 : size - padding]))
            message.seqno = sequence
            return command, message

    def _read_sealed(self) -> int:
        self._fill(4)
        start = self._start
        (size,) = struct.unpack_from(">I", self._buffer, start)
        if not 16 <= size <= MAX_PACKET or size % 16:
            raise SSHException("packet length out of bounds")
        self._fill(4 + size + TAG)
        start = self._start
        if size > len(self._plain):
            self._plain = bytearray(max(size, 40 * 1024))
        view = memoryview(self._buffer)
        assert self._in.aead is not None
        try:
            self._in.aead.decrypt_into(
                self._in.nonce(),
                view[start + 4 : start + 4 + size + TAG],
                view[start : start + 4],
                memoryview(self._plain)[:size],
            )
        except InvalidTag:
            raise SSHException("packet doesn't authenticate") from None
        self._start = start + 4 + size + TAG
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == len(self._buffer) and len(self._buffer) < FULL_BUFFER:
            self._grow()
        return int(size)

    def _grow(self) -> None:
        grown = bytearray(FULL_BUFFER)
        held = self._end - self._start
        grown[:held] = self._buffer[self._start : self._end]
        self._buffer, self._start, self._end = grown, 0, held

    def _read_classic(self) -> int:
        """A packet of the version exchange, of encrypt-then-MAC, or of the old MAC-and-encrypt."""
        way = self._in
        if way.etm:
            head = self._take(4)
            (size,) = struct.unpack(">I", head)
            self._bound(size, way.block, 0)
            body = self._take(size)
            if not hmac.compare_digest(way.mac(head + body), self._take(way.mac_size)):
                raise SSHException("packet doesn't authenticate")
            plain = way.engine.update(body)
        else:
            first = self._take(way.block)
            if way.engine is not None:
                first = way.engine.update(first)
            (size,) = struct.unpack(">I", first[:4])
            self._bound(size, way.block, 4)
            rest = self._take(size + 4 - way.block)
            if way.engine is not None:
                rest = way.engine.update(rest)
            plain = first[4:] + rest
            if way.mac_size:
                theirs = self._take(way.mac_size)
                if not hmac.compare_digest(way.mac(first[:4] + plain), theirs):
                    raise SSHException("packet doesn't authenticate")
        if size > len(self._plain):
            self._plain = bytearray(max(size, 40 * 1024))
        self._plain[:size] = plain
        return int(size)

    @staticmethod
    def _bound(size: int, block: int, extra: int) -> None:
        if not 5 <= size <= MAX_PACKET or (size + extra) % block:
            raise SSHException("packet length out of bounds")

    def _count_in(self, size: int) -> None:
        way = self._in
        way.sequence = (way.sequence + 1) & 0xFFFFFFFF
        if way.sequence == 0 and not self._initial_kex_done:
            raise SSHException("sequence number rolled over during the first key exchange")
        way.bytes += size
        way.packets += 1
        if self._need_rekey:
            self._overflow += size
            if self._overflow > MOST_BEFORE_REKEY:
                raise SSHException("the other side ignores the key exchange")
        elif way.bytes >= self.rekey_bytes or way.packets >= self.rekey_packets:
            self._need_rekey = True

    # Writing ---------------------------------------------------------------------------------------------

    def write_all(self, out: bytes | memoryview) -> None:
        if self._greeted:  # paramiko's first words are the version line
            self._greeted = False
            return
        try:
            if self._cut_off:
                self._socket.sendall(self._cut_off)
                self._cut_off = b""
            self._socket.sendall(out)
        except OSError as error:
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
        end = clock.monotonic() + patience
        if not self.write_lock.acquire(timeout=patience):
            return False
        try:
            self._cut_off += self._seal(payload)
            ready = select.poll()
            ready.register(self._socket, select.POLLOUT)
            while self._cut_off:
                if not ready.poll(max(0.0, end - clock.monotonic()) * 1000):
                    return False
                self._cut_off = self._cut_off[self._socket.send(self._cut_off, socket.MSG_DONTWAIT) :]
            return True
        except (OSError, ValueError, SSHException):
            return False
        finally:
            self.write_lock.release()

    def relay(self, plain: bytearray, size: int) -> None:
        """Send on a decrypted data packet as it lies, its padding blanked. Only its channel number was changed."""
        padding = plain[0]
        plain[size - padding : size] = bytes(padding)
        with self.write_lock:
            way = self._out
            if way.aead is None or size % 16:
                self.write_all(self._seal(bytes(plain[1 : size - padding])))
                return
            total = 4 + size + TAG
            if total > len(self._wire):
                self._wire = bytearray(max(total, 40 * 1024))
            wire = memoryview(self._wire)
            struct.pack_into(">I", self._wire, 0, size)
            head = size.to_bytes(4, "big")
            way.aead.encrypt_into(way.nonce(), memoryview(plain)[:size], head, wire[4:total])
            self._count_out(size)
            self.write_all(wire[:total])

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
