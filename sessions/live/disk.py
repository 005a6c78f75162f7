"""The disk, asked from elsewhere than the thread that serves pages: one that hangs blocks nobody, and is said to be silent.

A call of the system that hangs can't be called off. So its thread is given up for as long as it hangs; how many may
be is bounded, and of what is asked about one thing the next waits for the one before.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

Answer = TypeVar("Answer")

PATIENCE: Final = 5.0
"""A disk that gives no answer for so many seconds is silent."""
MOST_THREADS: Final = 8
IDLE: Final = 10.0


class DiskSilent(OSError):
    """No answer within `PATIENCE`. What was asked may be answered later, to nobody."""

    def __str__(self) -> str:
        return "the disk gives no answer"


class Disk:
    """Threads that wait for the disk: made when one is needed, gone after 10 s without work, and in nobody's way when the
    process ends."""

    def __init__(self, most: int = MOST_THREADS) -> None:
        self._most = most
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._lock = threading.RLock()  # collecting garbage may ask, in the middle of asking
        self._threads = 0
        self._waiting = 0  # for work, less what is there for them

    def ask(self, work: Callable[[], Answer]) -> Future[Answer]:
        """Have it done. Never waits; in the order in which it was asked, where all threads are taken."""
        answer: Future[Answer] = Future()
        with self._lock:
            self._work.put((work, answer))
            self._waiting -= 1
            if self._waiting < 0 and self._threads < self._most:
                self._threads += 1
                self._waiting += 1
                threading.Thread(target=self._run, name="disk", daemon=True).start()
        return answer

    def _run(self) -> None:
        while (job := self._next()) is not None:
            work, answer = job
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - handed to who asked
                answer.set_exception(error)
            else:
                answer.set_result(result)
                del result
            del job, work, answer  # what they hold is let go here, not while the next work is waited for
            with self._lock:
                self._waiting += 1

    def _next(self) -> tuple[Callable[[], Any], Future[Any]] | None:
        try:
            return self._work.get(timeout=IDLE)
        except queue.Empty:
            pass
        with self._lock:
            try:
                return self._work.get_nowait()  # it came just now
            except queue.Empty:
                self._threads -= 1
                self._waiting -= 1
                return None


disk = Disk()


class Line:
    """What is asked about one thing: a question at a time, so that a hanging one takes one thread and no more."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    def wait(self, work: Callable[[], Answer]) -> Answer:
        """For threads that may wait. DiskSilent; else what `work` gives or raises."""
        if not self._turn.acquire(timeout=PATIENCE):
            raise DiskSilent
        answer = disk.ask(work)
        answer.add_done_callback(lambda _: self._turn.release())
        try:
            return answer.result(PATIENCE)
        except TimeoutError:
            raise DiskSilent from None


class AsyncLine:
    """The same for one event loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    @property
    def is_taken(self) -> bool:
        """Whether something is being asked, or hangs."""
        return self._turn.locked()

    async def ask(
        self, work: Callable[[], Answer], known: Callable[[], Answer | None] = lambda: None
    ) -> Answer:
        """DiskSilent; else what `work` gives or raises. `known` is asked before: somebody may have asked the same."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._turn.acquire()
        except TimeoutError:
            raise DiskSilent from None
        found = known()
        if found is not None:
            self._turn.release()
            return found
        answer = asyncio.wrap_future(disk.ask(work))
        answer.add_done_callback(self._answered)
        done, _ = await asyncio.wait({answer}, timeout=PATIENCE)
        if not done:
            raise DiskSilent
        return answer.result()

    def _answered(self, answer: asyncio.Future[Any]) -> None:
        self._turn.release()
        if not answer.cancelled():
            answer.exception()  # nobody may have waited for it
