"""The signs of life of watches, written for all of them together; and the word that one is over when its line is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from functools import partial
from uuid import UUID
from weakref import WeakKeyDictionary

from django.db import DatabaseError

from breakglass import clock
from breakglass.web.sockets import in_a_thread
from sessions.services import watching

EVERY = 8.0
STUCK = 10.0
"""A line that takes nothing for so long is lost, also where nobody said so."""
GRACE = 5.0
"""Who loses the line and comes again within this goes on with the same watch."""

log = logging.getLogger(__name__)


class Pulse:
    """Of one event loop. An escort's watch lives by the signs that their page gives, and by no others."""

    _of: WeakKeyDictionary[asyncio.AbstractEventLoop, Pulse] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._alive: dict[UUID, float] = {}
        self._streams: dict[UUID, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._partings: set[asyncio.Task[None]] = set()

    @classmethod
    def here(cls) -> Pulse:
        return cls._of.setdefault(asyncio.get_running_loop(), cls())

    def begin(self, watch_id: UUID, *, alone: bool) -> None:
        """A stream of it goes out. `alone`: its signs of life are its page's own."""
        self._streams[watch_id] = self._streams.get(watch_id, 0) + 1
        if not alone:
            self._alive[watch_id] = clock.monotonic()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def beat(self, watch_id: UUID) -> None:
        if watch_id in self._alive:
            self._alive[watch_id] = clock.monotonic()

    def end(self, watch_id: UUID, why: str) -> None:
        """The stream is over; so is the watch, unless another stream of it comes soon."""
        self._streams[watch_id] -= 1
        if self._streams[watch_id]:
            return
        del self._streams[watch_id]
        self._alive.pop(watch_id, None)
        task = asyncio.get_running_loop().create_task(self._part(watch_id, why))
        self._partings.add(task)
        task.add_done_callback(self._partings.discard)

    async def _part(self, watch_id: UUID, why: str) -> None:
        lost = clock.now()
        if why != watching.OVER:
            await asyncio.sleep(GRACE)
        if watch_id not in self._streams:
            since = None if why == watching.OVER else lost
            await self._write(lambda: watching.end(watch_id, why, clock.now(), silent_since=since))

    async def _run(self) -> None:
        try:
            while self._streams:
                await asyncio.sleep(EVERY)
                now = clock.monotonic()
                alive = [watch_id for watch_id, at in self._alive.items() if now - at < STUCK]
                if alive:
                    await self._write(partial(_seen, alive))
        finally:
            self._task = None

    async def _write(self, work: Callable[[], object]) -> None:
        """What can't be written now shows by itself: a watch without signs of life is over."""
        try:
            await in_a_thread(work)
        except DatabaseError as error:
            log.warning("watches: the database is away: %s", error)


def _seen(watch_ids: Collection[UUID]) -> None:
    watching.seen(watch_ids, clock.now())
