"""The growing file of an open recording, as a stream of whole lines by byte offset.

The file is the only buffer: a watcher is an offset into it, and holds nothing back from anybody. What was read for one is
at hand for the others that are at the same place. One task looks which of the files of this process grew. The disk is
asked in threads (disk.py): where it hangs, whatever is asked here raises DiskSilent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import OrderedDict, deque
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

from sessions.live.disk import AsyncLine, DiskSilent, disk
from sessions.live.screens import Screens
from sessions.recording.asciicast import MOST_LINE

POLL: Final = 0.05
PIECE: Final = 64 * 1024
KEPT_PIECES: Final = 8
STEP: Final = 128 * 1024
"""Places where a terminal may begin are so far apart, and this many of the last are remembered."""
PLACES: Final = 64
LAST: Final = 100


class _File:
    """Open for as long as anybody holds it, a thread that hangs in it too: its number can't come to mean another file."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            with contextlib.suppress(RuntimeError):  # the process ends
                disk.ask(partial(os.close, self.number))

    @property
    def size(self) -> int:
        return os.fstat(self.number).st_size

    def lines(self, at: int, most: int) -> bytes:
        """Whole lines from `at` on."""
        data = os.pread(self.number, most, at)
        end = data.rfind(b"\n") + 1
        while not end and len(data) >= most and most < MOST_LINE:
            most *= 4
            data = os.pread(self.number, most, at)
            end = data.rfind(b"\n") + 1
        return data[:end]


class Tail:
    """One file, for all its watchers in this process. Opened by `Tails`."""

    def __init__(self, file: _File, size: int) -> None:
        self.file = file
        self.watchers = 0
        self.size = size
        self.is_silent = False
        self._news = asyncio.Event()
        self._line = AsyncLine()
        self._pieces: OrderedDict[int, bytes] = OrderedDict()
        self._fresh: dict[int, bytes] = {}  # what follows these places, while the file has this size
        self._now = Screens()
        self._places: deque[Screens] = deque([self._now.copy()], PLACES)

    async def read(self, at: int, most: int = PIECE) -> bytes:
        """Whole lines from `at` on, about `most` bytes at the most, but a longer line whole; empty at the end."""
        if self.is_silent:
            raise DiskSilent
        known = self._known(at, most)
        if known is not None:
            return known
        size = self.size
        data = await self._line.ask(lambda: self.file.lines(at, most), lambda: self._known(at, most))
        if most == PIECE:
            self._keep(at, data, size)
        return data

    async def before(self, at: int) -> bytes | None:
        """The last that stands before `at`: enough to see whether the recording ends there. None where no line begins
        there: what somebody claims to have seen may be anything."""
        if at == 0:
            return b""
        if at < 0:
            return None
        start = max(0, at - LAST)
        data = await self._line.ask(lambda: os.pread(self.file.number, at - start, start))
        return data if len(data) == at - start and data.endswith(b"\n") else None

    async def grown(self, at: int, seconds: float) -> bool:
        """Waits until there is more than `at` bytes; False after `seconds` without, and where the disk is silent."""
        news = self._news
        if self.size > at or self.is_silent:
            return self.size > at
        try:
            await asyncio.wait_for(news.wait(), seconds)
        except TimeoutError:
            return False
        return self.size > at

    async def place(self, before_end: int) -> Screens:
        """Where a terminal may begin so that about `before_end` bytes follow."""
        wanted = max(0, self.size - before_end)
        while self._now.at + STEP <= wanted and await self._line.ask(lambda: self._step(wanted)):
            await asyncio.sleep(0)  # a day's recording is long: others are served meanwhile
        places = list(self._places)  # in one go: another watcher's step may be under way in its thread
        fits = [place for place in places if place.at <= wanted]
        return (fits[-1] if fits else places[0]).copy()

    def looked(self, size: int | None) -> None:
        """The file has this size now; None: the disk doesn't say."""
        if size == self.size and not self.is_silent:
            return
        self.is_silent = size is None
        if size is not None and size != self.size:
            self.size = size
            self._fresh.clear()
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _step(self, wanted: int) -> bool:
        """In a thread, one at a time."""
        if self._now.at + STEP > wanted:
            return False
        lines = self.file.lines(self._now.at, STEP)
        if lines:
            self._now.read(lines)
            self._places.append(self._now.copy())
        return bool(lines)

    def _known(self, at: int, most: int) -> bytes | None:
        if most != PIECE:
            return None
        found = self._pieces.get(at)
        return self._fresh.get(at) if found is None else found

    def _keep(self, at: int, data: bytes, size: int) -> None:
        if len(data) > PIECE // 2:  # it won't grow by much: others will want the same
            self._pieces[at] = data
            if len(self._pieces) > KEPT_PIECES:
                self._pieces.popitem(last=False)
        elif size == self.size and len(self._fresh) < KEPT_PIECES:
            self._fresh[at] = data


class Tails:
    """The files that are watched in one event loop."""

    _of: WeakKeyDictionary[asyncio.AbstractEventLoop, Tails] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._open: dict[Path, Tail] = {}
        self._lines: dict[Path, AsyncLine] = {}
        self._look_line = AsyncLine()
        self._looking: asyncio.Task[None] | None = None

    @classmethod
    def here(cls) -> Tails:
        return cls._of.setdefault(asyncio.get_running_loop(), cls())

    async def open(self, path: Path) -> Tail:
        """Raises OSError. Give it back with `close`."""
        tail = self._open.get(path)
        if tail is None:
            file, size = await self._opened(path)
            tail = self._open.setdefault(path, Tail(file, size))  # or somebody else's, who came meanwhile
        tail.watchers += 1
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
        return tail

    def close(self, path: Path) -> None:
        tail = self._open.get(path)
        if tail is None:
            return
        tail.watchers -= 1
        if not tail.watchers:
            del self._open[path]
        if not self._open and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _opened(self, path: Path) -> tuple[_File, int]:
        def work() -> tuple[_File, int]:
            file = _File(path)
            return file, file.size

        line = self._lines.setdefault(path, AsyncLine())
        try:
            return await line.ask(work)
        finally:
            if not line.is_taken:
                self._lines.pop(path, None)

    async def _look(self) -> None:
        while True:
            watched = list(self._open.values())
            try:
                sizes: Collection[int | None] = await self._look_line.ask(partial(_sizes, watched))
            except OSError:
                sizes = [None] * len(watched)
            for tail, size in zip(watched, sizes, strict=True):
                tail.looked(size)
            del watched
            await asyncio.sleep(POLL)


def _sizes(tails: Collection[Tail]) -> list[int]:
    return [tail.file.size for tail in tails]
