"""The reading half of the SSH binary packet layer: bounded, buffered, blocking.

Nothing here trusts a length: a packet over 256 KiB ends the connection before any of it is stored. Channel data and
window credit go to the sink in place, without copies; everything else is a message for paramiko's transport.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from paramiko.message import Message
from paramiko.packet import NeedRekeyException
from paramiko.ssh_exception import SSHException

from sessions.gateway.cipher import TAG, Direction, Keyed

MAX_PACKET = 256 * 1024
MAX_LINE = 8 * 1024
FIRST_BUFFER = 4 * 1024
FULL_BUFFER = 256 * 1024
LITTLE_ROOM = 64 * 1024
MOST_BEFORE_REKEY = 256 * 1024 * 1024
WINDOW_ADJUST = 93
CHANNEL_DATA = 94
CHANNEL_EXTENDED_DATA = 95

Sink = Callable[[bytearray, int], bool]

_u32 = struct.Struct(">I").unpack_from


class Debtor(Protocol):
    """Whoever holds something back until the reader has nothing more to read at once."""

    def flush(self) -> None: ...


class Inbound(Keyed):
    """What arrives on one socket. One thread at a time reads."""

    def _prepare_inbound(self) -> None:
        self._buffer = bytearray(FIRST_BUFFER)
        self._start = 0
        self._end = 0
        self._plain = bytearray(FIRST_BUFFER)
        self._overflow = 0
        self._ignored = 0
        self._owed: list[Debtor] = []
        self.sink: Sink | None = None
        self.outlive: Callable[[EOFError], None] | None = None
        self.received = 0

    # What is owed before the reader waits. ---------------------------------------------------------------

    def has_more(self) -> bool:
        """Whether the next packet has arrived whole: it will be read without a wait."""
        held = self._end - self._start
        way = self._in
        if held < 4 or not (way.aead is not None or way.etm):
            return False
        size: int = _u32(self._buffer, self._start)[0]
        return held >= 4 + size + (way.mac_size or TAG)

    def owe(self, debtor: Debtor) -> None:
        """Have `debtor.flush()` called before the next wait, and before the next message that isn't channel data."""
        if debtor not in self._owed:
            self._owed.append(debtor)

    def settle(self) -> None:
        """Pay what is owed."""
        while self._owed:
            try:
                self._owed.pop().flush()
            except EOFError as error:
                if self.outlive is None:
                    raise
                self.outlive(error)

    # Bytes. ----------------------------------------------------------------------------------------------

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
            size = _u32(self._buffer, self._start)[0]
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
        if self._end - self._start >= wanted:
            return
        self.settle()
        self._make_room(wanted)
        while self._end - self._start < wanted:
            try:
                count = self._socket.recv_into(memoryview(self._buffer)[self._end :])
            except TimeoutError:
                raise
            except OSError as error:
                self.note_lost(error)
                raise self.lost or EOFError(str(error)) from error
            if not count:
                raise self.lost or EOFError("closed by the other side")
            self._end += count
            self.received += count

    def _make_room(self, wanted: int) -> None:
        """Room for `wanted` bytes from `_start` on, and for as many more as may have come with them."""
        held, room = self._end - self._start, len(self._buffer)
        goal = max(wanted, FULL_BUFFER) if self._end == room or wanted > room else room
        if goal > room:
            grown = bytearray(goal)
            grown[:held] = self._buffer[self._start : self._end]
            self._buffer = grown
        elif self._start and (self._start + wanted > room or room - self._end < min(LITTLE_ROOM, room // 2)):
            self._buffer[:held] = self._buffer[self._start : self._end]
        else:
            return
        self._start, self._end = 0, held

    def _take(self, count: int) -> bytes:
        self._fill(count)
        taken = bytes(self._buffer[self._start : self._start + count])
        self._start += count
        return taken

    # Packets. --------------------------------------------------------------------------------------------

    def read_message(self) -> tuple[int, Message]:
        """The next message that isn't for the sink. What is for the sink goes there in place."""
        while True:
            if self._need_rekey and self.rekey_is_due():
                raise NeedRekeyException
            message = self._read_one()
            if message is not None:
                self.settle()
                return message

    def rekey_is_due(self) -> bool:
        """True once after every time that new keys came to be needed."""
        if self._need_rekey and self._switched == 0 and self._overflow == 0:
            self._overflow = 1
            return True
        return False

    def _read_one(self) -> tuple[int, Message] | None:
        """Read one packet. Returns its message, or None where it was for the sink or to be ignored."""
        way = self._in
        size = self._read_classic() if way.aead is None else self._read_sealed(way, way.aead)
        plain = self._plain
        padding = plain[0]
        if padding + 1 >= size:
            raise SSHException("packet without a payload")
        sequence = way.sequence
        self._count_in(way, size)
        if self._ignored:
            self._ignored -= 1
            return None
        command = plain[1]
        sink = self.sink
        if sink is not None and WINDOW_ADJUST <= command <= CHANNEL_EXTENDED_DATA and sink(plain, size):
            return None
        message = Message(bytes(plain[2 : size - padding]))
        message.seqno = sequence
        return command, message

    def _read_sealed(self, way: Direction, aead: AESGCM) -> int:
        if self._end - self._start < 4:
            self._fill(4)
        size: int = _u32(self._buffer, self._start)[0]
        if not 16 <= size <= MAX_PACKET or size % 16:
            raise SSHException("packet length out of bounds")
        if self._end - self._start < 4 + size + TAG:
            self._fill(4 + size + TAG)
        if size > len(self._plain):
            self._plain = bytearray(max(size, 40 * 1024))
        start = self._start
        body = start + 4
        end = body + size + TAG
        view = memoryview(self._buffer)
        try:
            aead.decrypt_into(way.nonce(), view[body:end], view[start:body], memoryview(self._plain)[:size])
        except InvalidTag:
            raise SSHException("packet doesn't authenticate") from None
        if end == self._end:
            self._start = self._end = 0
        else:
            self._start = end
        return size

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

    def _count_in(self, way: Direction, size: int) -> None:
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
