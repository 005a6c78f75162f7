"""One direction of a decoded channel: what is allowed goes on in place, and the gateway's own goes in between."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from sessions.gateway.files.sftp_wire import Framer, Judge, Malformed, Own, Piece
from sessions.gateway.relay import Side

MOST_UNSENT = 4096
"""Messages of the gateway's own that wait for a gap, at most."""


class Lane:
    """From `source` to `to`. `take` is called by the source's reader thread, `insert` by either."""

    def __init__(self, source: Side, to: Side, judge: Judge, streamed: frozenset[int]) -> None:
        self._source = source
        self._to = to
        self._framer = Framer(judge, streamed)
        self._lock = threading.Lock()

    def take(self, plain: bytearray, count: int, size: int) -> None:
        """Judge a data packet that was decrypted, and send on what may go. Raises Malformed."""
        framer = self._framer
        with self._lock:
            out = framer.feed(memoryview(plain)[10 : 10 + count])
            lost, framer.swallowed = framer.swallowed, 0
            self._send(out, plain, count, size)
        if lost:  # it will never fill the other side's window: its sender may send as much again
            self._source.announce(self._source.credit.grant(lost))

    def insert(self, data: bytes) -> None:
        """Send a packet of the gateway's own, in the next gap between two others."""
        with self._lock:
            if self._framer.between:
                self._to.write(data)
            elif len(self._framer.due) >= MOST_UNSENT:
                raise Malformed("answers that nobody reads")
            else:
                self._framer.due.append(data)

    def _send(self, out: list[Piece], plain: bytearray, count: int, size: int) -> None:
        for place, piece in enumerate(out):
            if isinstance(piece, Own):
                self._to.write(piece)
            elif isinstance(piece, bytes):
                self._to.pass_on(piece)
            elif piece[0] == 0 and place == len(out) - 1 and self._in_place(plain, count, size, piece[1]):
                return
            else:
                self._to.pass_on(bytes(memoryview(plain)[10 + piece[0] : 10 + piece[1]]))

    def _in_place(self, plain: bytearray, count: int, size: int, wanted: int) -> bool:
        """Send the packet on as it lies, cut down to its first `wanted` bytes. False where that can't be done."""
        cut = count - wanted
        padding = plain[0] + cut % 16
        if padding > 255:
            return False
        if cut:
            plain[0] = padding
            plain[6:10] = wanted.to_bytes(4, "big")
            size -= cut - cut % 16
        self._to.relay(plain, wanted, size, None, hold=self._source.has_more)
        return True


class Outbox:
    """Packets of the gateway's own, sent in the order in which they were made, by whoever comes first.

    A thread that holds one lane never waits for the other: what it wants to send there is put here, and sent when it
    holds none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._things: deque[Callable[[], None]] = deque()

    def put(self, send: Callable[[], None]) -> None:
        self._things.append(send)

    def flush(self) -> None:
        """Called without any lane's lock."""
        while self._things:
            with self._lock:
                if self._things:
                    self._things.popleft()()
