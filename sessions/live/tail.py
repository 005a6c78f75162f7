"""The growing file of an open recording, as a stream of whole lines by byte offset.

The file is the only buffer: a watcher is an offset into it, and holds nothing back from anybody. What was read for one is
at hand for the others that are at the same place. One task a file and process looks whether it grew.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict, deque
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

from sessions.live.screens import Screens
from sessions.recording.asciicast import MOST_LINE

POLL: Final = 0.05
PIECE: Final = 64 * 1024
KEPT_PIECES: Final = 8
STEP: Final = 128 * 1024
"""Places where a terminal may begin are so far apart, and this many of the last are remembered."""
PLACES: Final = 64
LAST: Final = 100


class Tail:
    """One file, for all its watchers in this process. Opened by `Tails`."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where there is no such file here."""
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self.watchers = 0
        self.size = self._length()
        self._news = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._pieces: OrderedDict[int, bytes] = OrderedDict()
        self._reading = asyncio.Lock()
        self._now = Screens()
        self._places: deque[Screens] = deque([self._now.copy()], PLACES)

    def read(self, at: int, most: int = PIECE) -> bytes:
        """Whole lines from `at` on, about `most` bytes at the most, but a longer line whole; empty at the end."""
        known = self._pieces.get(at)
        if known is not None and most == PIECE:
            return known
        data = self._lines(at, most)
        if len(data) > PIECE // 2 and most == PIECE:  # it won't grow by much: others will want the same
            self._pieces[at] = data
            if len(self._pieces) > KEPT_PIECES:
                self._pieces.popitem(last=False)
        return data

    def begins_line(self, at: int) -> bool:
        """Whether a line begins there: what somebody claims to have seen may be anything."""
        return at == 0 or (0 < at <= self._length() and os.pread(self._fd, 1, at - 1) == b"\n")

    def before(self, at: int) -> bytes:
        """The last that stands before `at`: enough to see whether the recording ends there."""
        start = max(0, at - LAST)
        return os.pread(self._fd, at - start, start)

    async def grown(self, at: int, seconds: float) -> bool:
        """Waits until there is more than `at` bytes; False after `seconds` without."""
        news = self._news
        if self.size > at:
            return True
        try:
            await asyncio.wait_for(news.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def place(self, before_end: int) -> Screens:
        """Where a terminal may begin so that about `before_end` bytes follow."""
        async with self._reading:
            wanted = max(0, self.size - before_end)
            while self._now.at + STEP <= wanted:
                lines = self._lines(self._now.at, STEP)
                if not lines:
                    break
                self._now.read(lines)
                self._places.append(self._now.copy())
                await asyncio.sleep(0)  # a day's recording is long: others are served meanwhile
            fits = [place for place in self._places if place.at <= wanted]
            return (fits[-1] if fits else self._places[0]).copy()

    def begin(self) -> None:
        self.watchers += 1
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())

    def close(self) -> None:
        """The last watcher is gone."""
        if self._looking is not None:
            self._looking.cancel()
        os.close(self._fd)

    async def _look(self) -> None:
        while True:
            size = self._length()
            if size != self.size:
                self.size = size
                news, self._news = self._news, asyncio.Event()
                news.set()
            await asyncio.sleep(POLL)

    def _length(self) -> int:
        return os.fstat(self._fd).st_size

    def _lines(self, at: int, most: int) -> bytes:
        data = os.pread(self._fd, most, at)
        end = data.rfind(b"\n") + 1
        while not end and len(data) >= most and most < MOST_LINE:
            most *= 4
            data = os.pread(self._fd, most, at)
            end = data.rfind(b"\n") + 1
        return data[:end]


class Tails:
    """The files that are watched in one event loop."""

    _of: WeakKeyDictionary[asyncio.AbstractEventLoop, Tails] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._open: dict[Path, Tail] = {}

    @classmethod
    def here(cls) -> Tails:
        return cls._of.setdefault(asyncio.get_running_loop(), cls())

    def open(self, path: Path) -> Tail:
        """Raises OSError. Give it back with `close`."""
        tail = self._open.get(path)
        if tail is None:
            tail = self._open[path] = Tail(path)
        tail.begin()
        return tail

    def close(self, path: Path) -> None:
        tail = self._open.get(path)
        if tail is None:
            return
        tail.watchers -= 1
        if not tail.watchers:
            del self._open[path]
            tail.close()
