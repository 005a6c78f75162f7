"""The sftp protocol on the wire, version 3 (draft-ietf-secsh-filexfer-02): its packets cut out of a stream. Pure.

A packet is held back until it can be judged; of those that may be long (file contents, listings) only the header is
held, and the rest passes as it comes: a peer with a small window could never send them whole. Nothing trusts a length.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, Protocol

MOST_PACKET: Final = 256 * 1024
"""As OpenSSH's: a longer packet is refused before any of it is kept."""
MOST_HELD: Final = 16 * 1024
MOST_HANDLE: Final = 256


class Type(IntEnum):
    """Packet types."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Status(IntEnum):
    """Status codes."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    OP_UNSUPPORTED = 8


STATUS_WORDS: Final = {
    Status.EOF: "end of file",
    Status.NO_SUCH_FILE: "no such file",
    Status.PERMISSION_DENIED: "permission denied",
    Status.FAILURE: "failure",
    Status.BAD_MESSAGE: "bad message",
    Status.OP_UNSUPPORTED: "not supported",
}


WITH_CONTENTS: Final = frozenset({Type.WRITE, Type.DATA})
FROM_PERSON: Final = frozenset({int(Type.WRITE)})
FROM_ASSET: Final = frozenset({int(Type.DATA), int(Type.NAME), int(Type.ATTRS), int(Type.EXTENDED_REPLY)})


class Malformed(ValueError):
    """The stream isn't the protocol that it should be; it can't be followed any further."""


class Own(bytes):
    """Bytes of the gateway's own in a stream."""


Piece = tuple[int, int] | bytes
"""What to send on: a stretch of what came, bytes that were held back, or bytes of our own (`Own`)."""

Verdict = bool | bytes
"""True: pass it on. False: swallow it. Bytes: send these instead."""


class Judge(Protocol):
    """Whom a framer asks."""

    def on_packet(self, packet: bytes) -> Verdict:
        """A whole packet, or of a streamed one its header: all before file contents, or as far as the request's id."""
        ...

    def on_contents(self, piece: memoryview) -> None:
        """The next contents of the packet judged last, also where it is swallowed."""
        ...

    def on_contents_end(self) -> None:
        """All contents of the packet judged last have come; also where there were none."""
        ...


_HEAD = struct.Struct(">IB")
_U32 = struct.Struct(">I")


class Framer:
    """One direction's packets. Those of the types `streamed` are judged by their header, others whole."""

    def __init__(self, judge: Judge, streamed: frozenset[int]) -> None:
        self._judge = judge
        self._streamed = streamed
        self._held = bytearray()
        self._left = 0
        self._passing = True
        self.due: list[bytes] = []
        self.swallowed = 0

    @property
    def between(self) -> bool:
        """Whether what was sent on so far ends with a packet's end: here bytes of our own may go in."""
        return not (self._left and self._passing)

    def feed(self, data: memoryview) -> list[Piece]:
        """Judge what comes and return what to send on, in order. Raises Malformed.

        `swallowed` counts what came and will never be sent on; the caller takes it from there.
        """
        out: list[Piece] = []
        at, end = 0, len(data)
        while at < end:
            if self._left:
                at = self._on_contents(data, at, end, out)
            elif self._held:
                at = self._complete(data, at, end, out)
            else:
                need = self._needed(data, at, end - at)
                if end - at < need:
                    self._held += data[at:]
                    break
                self._decide(bytes(data[at : at + need]), out, at)
                at += need
            if self.due and self.between:
                self._flush(out)
        return out

    def take_due(self) -> list[bytes]:
        """What waits to be inserted."""
        taken, self.due = self.due, []
        return taken

    def _on_contents(self, data: memoryview, at: int, end: int, out: list[Piece]) -> int:
        stop = min(end, at + self._left)
        self._left -= stop - at
        self._judge.on_contents(data[at:stop])
        if self._passing:
            _stretch(out, at, stop)
        else:
            self.swallowed += stop - at
        if not self._left:
            self._judge.on_contents_end()
        return stop

    def _complete(self, data: memoryview, at: int, end: int, out: list[Piece]) -> int:
        held = self._held
        while at < end:
            need = self._needed(held, 0, len(held))
            if len(held) < need:
                stop = min(end, at + need - len(held))
                held += data[at:stop]
                at = stop
            if len(held) >= need and len(held) >= self._needed(held, 0, len(held)):
                self._held = bytearray()
                self._decide(bytes(held), out, None)
                break
        return at

    def _decide(self, packet: bytes, out: list[Piece], at: int | None) -> None:
        verdict = self._judge.on_packet(packet)
        if verdict is True:
            if at is None:
                out.append(packet)
            else:
                _stretch(out, at, at + len(packet))
        else:
            self.swallowed += len(packet)
            if verdict is not False:
                out.append(Own(verdict))
        if packet[4] in self._streamed:
            self._left = 4 + _U32.unpack_from(packet)[0] - len(packet)
            self._passing = verdict is True
            if not self._left:
                self._judge.on_contents_end()

    def _needed(self, data: memoryview | bytearray, at: int, have: int) -> int:
        """How long the packet (or the header) is that begins at `at`, as far as `have` bytes of it can tell."""
        if have < 5:
            return 5
        size, kind = _HEAD.unpack_from(data, at)
        streamed = kind in self._streamed
        if not 1 <= size <= (MOST_PACKET if streamed else MOST_HELD):
            raise Malformed(f"a packet of {size} bytes")
        if not streamed:
            return int(4 + size)
        if kind in WITH_CONTENTS:
            return _contents_header(data, at, have, size, kind)
        if size < 5:
            raise Malformed("a packet that is cut short")
        return 9

    def _flush(self, out: list[Piece]) -> None:
        out.extend(Own(data) for data in self.take_due())


def _contents_header(data: memoryview | bytearray, at: int, have: int, size: int, kind: int) -> int:
    """As `Framer._needed`, of a packet that carries a file's contents."""
    header = 13
    if have < header:
        return header
    if kind == Type.WRITE:
        (length,) = _U32.unpack_from(data, at + 9)
        if length > MOST_HANDLE:
            raise Malformed("a handle that is too long")
        header = 25 + int(length)
        if have < header:
            return header
    (contents,) = _U32.unpack_from(data, at + header - 4)
    if size != header - 4 + contents:
        raise Malformed("contents that don't fit their packet")
    return header


def _stretch(out: list[Piece], start: int, stop: int) -> None:
    if stop == start:
        return
    last = out[-1] if out else None
    if isinstance(last, tuple) and last[1] == start:
        out[-1] = (last[0], stop)
    else:
        out.append((start, stop))


class Fields:
    """The fields of one packet, in order. Raises Malformed where one runs over the end."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def u32(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def u64(self) -> int:
        return int.from_bytes(self._take(8), "big")

    def string(self) -> bytes:
        return self._take(self.u32())

    def rest(self) -> bytes:
        return self._data[self._at :]

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise Malformed("a packet that is cut short")
        piece = self._data[self._at : end]
        self._at = end
        return piece


def packet(kind: Type, *fields: bytes) -> bytes:
    """One packet of these fields."""
    body = b"".join(fields)
    return _HEAD.pack(1 + len(body), kind) + body


def text(value: bytes) -> bytes:
    """A string field."""
    return _U32.pack(len(value)) + value


def number(value: int) -> bytes:
    """A 32-bit field."""
    return _U32.pack(value)


def status(request: int, code: Status, words: str) -> bytes:
    """The answer to a request that isn't passed on."""
    return packet(Type.STATUS, number(request), number(code), text(words.encode()), text(b"en"))
