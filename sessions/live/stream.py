"""What a watcher's page is sent: lines of the recording as server-sent events, each with the byte offset behind it.

    start   where it begins, and in what state a terminal was there; what was shown before is forgotten
    lines   recorded lines, as they stand in the file; the event's id is the offset of the next one
    beat    every 2 s; an escort's page answers it
    over    the recording has ended
    closed  the watcher may not go on
    away    the recording isn't on this machine
    silent  the disk with the recording doesn't answer, and nobody knows what is shown; the page comes again by itself

A page that lost the connection comes again with the last id, and gets what follows it: nothing twice, nothing left out.
One that is too far behind, because its line or it itself is too slow, is told so and begins anew near the end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from breakglass import clock
from sessions.live.screens import Screens
from sessions.live.tail import LAST, PIECE, POLL, Tail, Tails

WHOLE: Final = 8 * 1024 * 1024
"""A recording up to this size is sent from its beginning,"""
NEAR: Final = 2 * 1024 * 1024
"""of a longer one this much."""
RESUMED: Final = 4 * 1024 * 1024
"""Who comes again and has missed up to this much gets it all."""
BEHIND: Final = 512 * 1024
"""Who had caught up and is further behind than this now begins anew,"""
JUMP: Final = 64 * 1024
"""about so far from the end,"""
JUMP_EVERY: Final = 0.25
"""and not more often: a flood is shown as some screens a second."""
AT_ONCE: Final = 4 * PIECE
BEAT: Final = 2.0
RECHECK: Final = 15.0
FILE_PATIENCE: Final = 3.0
RETRY: Final = b"retry: 500\n\n"
OVER: Final = b"event: over\n"
SILENT: Final = b"retry: 3000\nevent: silent\ndata: {}\n\n"
"""No signs of life go out then: an escort who sees nothing isn't there."""
_END: Final = re.compile(rb'\n\[[0-9.]+,"e","([a-z]+)"\]\n\Z')


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wish:
    """Of one watcher: the file, the offset up to which they have it, and two questions: `still_there` is called at each
    step, `may_go_on` every 15 s."""

    path: Path
    seen: int | None
    still_there: Callable[[], None]
    may_go_on: Callable[[], Awaitable[bool]]


async def events(wish: Wish) -> AsyncIterator[bytes]:
    """Until the recording ends, the watcher may not go on, or the disk hangs."""
    yield RETRY
    tails, tail = Tails.here(), None
    try:
        tail = await _opened(tails, wish.path)
        if tail is None:
            yield _event("away", {})
            return
        async for piece in _Follower(tail, wish).follow():
            yield piece
    except OSError as error:
        log.warning("%s can't be read: %s", wish.path.name, error)
        yield SILENT
    finally:
        if tail is not None:
            tails.close(wish.path)


async def _opened(tails: Tails, path: Path) -> Tail | None:
    """A session that opens just now has its row before its file."""
    until = clock.monotonic() + FILE_PATIENCE
    while True:
        try:
            return await tails.open(path)
        except (FileNotFoundError, PermissionError):
            if clock.monotonic() >= until:
                return None
        await asyncio.sleep(0.1)


class _Follower:
    """One watcher: an offset, and whether they have caught up since they came."""

    def __init__(self, tail: Tail, wish: Wish) -> None:
        self._tail = tail
        self._wish = wish
        self._at = 0
        self._last = b""
        self._caught_up = False
        self._jumped = 0.0
        self._beaten = self._checked = clock.monotonic()

    async def follow(self) -> AsyncIterator[bytes]:
        """The events, from the first one on. What isn't taken is not made: a slow line costs nobody any memory."""
        first = await self._begin()
        if first:
            yield first
        while True:
            self._wish.still_there()
            size = self._tail.size
            data = await self._tail.read(self._at, PIECE if self._caught_up else AT_ONCE)
            if data:
                yield _lines(self._at, data)
                self._at += len(data)
                self._last = (self._last + data[-LAST:])[-LAST:]
            # Also for who had it all, and lost the line before they were told.
            ended = None if data == b"" and self._caught_up else _END.search(self._last)
            if ended is not None:
                yield _event("over", {"how": ended[1].decode()})
                return
            if data:
                jump = await self._jump()
                if jump:
                    yield jump
            if clock.monotonic() - self._beaten >= BEAT:
                self._beaten = clock.monotonic()
                yield _event("beat", {})
            if not await self._may_go_on():
                yield _event("closed", {})
                return
            await self._wait(len(data), size)

    async def _begin(self) -> bytes:
        seen, tail = self._wish.seen, self._tail
        before = None if seen is None else await tail.before(seen)
        if seen is not None and before is not None and tail.size - seen <= RESUMED:
            self._at, self._last = seen, before
            return b""
        if before is None:
            seen = None
        place = Screens() if tail.size <= WHOLE else await tail.place(NEAR)
        self._at, self._last = place.at, b"\n"
        return _start(place, skipped=max(0, place.at - (seen or 0)))

    async def _jump(self) -> bytes:
        """To a place near the end, for who can't follow: what comes faster than it can be shown is in the recording."""
        now = clock.monotonic()
        behind = self._tail.size - self._at
        if not self._caught_up or behind <= BEHIND or now - self._jumped < JUMP_EVERY:
            return b""
        place = await self._tail.place(JUMP)
        if place.at <= self._at:
            return b""
        self._jumped = now
        skipped, self._at, self._last = place.at - self._at, place.at, b"\n"
        return _start(place, skipped=skipped)

    async def _may_go_on(self) -> bool:
        now = clock.monotonic()
        if now - self._checked < RECHECK:
            return True
        self._checked = now
        return await self._wish.may_go_on()

    async def _wait(self, sent: int, size: int) -> None:
        """`size` is what the file had when it was read: of a line that isn't whole yet there is nothing to send."""
        if not sent:
            self._caught_up = True
            await self._tail.grown(max(self._at, size), max(0.0, BEAT - (clock.monotonic() - self._beaten)))
        elif self._caught_up and sent >= PIECE // 2:
            await asyncio.sleep(POLL)
        else:
            await asyncio.sleep(0)


def _lines(at: int, data: bytes) -> bytes:
    lines = data[:-1].replace(b"\n", b"\ndata: ")
    return b"id: %d\nevent: lines\ndata: %b\n\n" % (at + len(data), lines)


def _start(place: Screens, *, skipped: int) -> bytes:
    streams = [
        {"channel": number, "size": screen.size, "modes": screen.spelled()}
        for number, screen in place.by_channel.items()
    ]
    facts = {"at": place.at, "skipped": skipped, "channel": place.channel, "streams": streams}
    return b"id: %d\n" % place.at + _event("start", facts)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode("ascii")
