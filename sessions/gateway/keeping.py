"""How much of a command's output the recording keeps: all of it up to a bound, and beyond it still every conversation.

A backup of 40 GB through `exec` must not fill the store of recordings, and a bulk stream must not become the way
to a shell that nobody sees. So beyond the bound a stream is kept again as soon as it comes no faster than people
read; what was left out in between is said with its size, and its last bytes are kept before what follows.
"""

from __future__ import annotations

from collections import deque

TRICKLE = 64 * 1024
"""Bytes a second that are kept beyond the bound: far more than anybody reads."""
BURST = 256 * 1024
TAIL = 64 * 1024


class Keeping:
    """One channel's account. Called by one thread only."""

    def __init__(self, limit: int) -> None:
        self._left: float = limit
        self._at: float | None = None
        self._skipped = 0
        self._tail: deque[tuple[bytes, bool]] = deque()
        self._held = 0

    def takes(self, count: int, now: float) -> bool:
        """Whether the next `count` bytes are to be recorded."""
        if self._at is not None:
            self._left = min(BURST, self._left + (now - self._at) * TRICKLE)
            self._at = now
        if count <= self._left:
            self._left -= count
            return True
        if self._at is None:
            self._left, self._at = 0.0, now
        return False

    def skip(self, data: bytes, *, stderr: bool) -> bool:
        """Leave `data` out, but for the last bytes of such a stretch. True where a stretch begins."""
        first = not self._skipped
        self._skipped += len(data)
        self._tail.append((data, stderr))
        self._held += len(data)
        while self._held - len(self._tail[0][0]) >= TAIL:
            self._held -= len(self._tail.popleft()[0])
        return first

    def take_gap(self) -> tuple[int, list[tuple[bytes, bool]]]:
        """How many bytes were left out since the last call, without the last ones, and those last ones."""
        left_out, tail = self._skipped - self._held, list(self._tail)
        self._skipped = self._held = 0
        self._tail.clear()
        return left_out, tail
