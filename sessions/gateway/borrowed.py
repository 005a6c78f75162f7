"""Borrowing a database connection for one piece of work, and giving it back.

To open one costs ten times what a query costs, so a running gateway keeps a few: threads come and go, connections
stay. One that the database has hung up on, or that is of another life of the database, is thrown away unused.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from breakglass import clock
from breakglass.domain.refusals import RefusalCode, refuse

ALIAS = "default"
MOST = 12
PATIENCE = 10.0
LONGEST_IDLE = 60.0


@contextmanager
def borrowed_db() -> Iterator[None]:
    """Every database access of the gateway happens in here, never on the relay path.

    A database that can't be asked, or a connection that isn't free within 10 s, is Refused `database_unavailable`:
    unknown means no. Borrowing inside of it uses the same connection.
    """
    try:
        if _has_one():
            yield
        else:
            with _pool.one():
                yield
    except (OperationalError, InterfaceError) as error:
        raise refuse(RefusalCode.DATABASE_UNAVAILABLE) from error


@contextmanager
def kept_connections() -> Iterator[None]:
    """While it lasts connections stay open between borrowings; afterwards none is left."""
    _pool.keep()
    try:
        yield
    finally:
        _pool.let_go()


def _has_one() -> bool:
    """Whether this thread has a connection already: it borrowed one, or it is a test's own."""
    return any(own.connection is not None or own.allow_thread_sharing for own in connections.all(True))


class _Held:
    """A connection between two borrowings, with what tells whether it is still of use."""

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self.wrapper = wrapper
        self.since = clock.monotonic()
        self._file = _file_of(wrapper)

    def is_of_use(self) -> bool:
        connection: Any = self.wrapper.connection
        if self.wrapper.vendor == "postgresql":
            if connection.closed:
                return False
            waiting = select.poll()  # an idle connection that has something to say says goodbye
            waiting.register(connection.fileno(), select.POLLIN)
            return not waiting.poll(0)
        return self._file == _file_of(self.wrapper)


def _file_of(wrapper: BaseDatabaseWrapper) -> tuple[int, int] | None:
    """SQLite's file now: after a restore it is another one of the same name."""
    if wrapper.vendor != "sqlite":
        return None
    try:
        stat = os.stat(wrapper.settings_dict["NAME"])
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


class _Pool:
    """The connections of this process: so many at a time at most, the one that was used last is used next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(MOST)
        self._idle: list[_Held] = []
        self._keepers = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        if not self._room.acquire(timeout=PATIENCE):
            raise refuse(RefusalCode.DATABASE_UNAVAILABLE)
        try:
            wrapper = self._take()
            connections[ALIAS] = wrapper
            try:
                yield
            finally:
                del connections[ALIAS]
                self._give_back(wrapper)
        finally:
            self._room.release()

    def keep(self) -> None:
        with self._lock:
            self._keepers += 1

    def let_go(self) -> None:
        with self._lock:
            self._keepers -= 1
            gone, self._idle = ([], self._idle) if self._keepers else (self._idle, [])
        for held in gone:
            _close(held.wrapper)

    def _take(self) -> BaseDatabaseWrapper:
        while True:
            with self._lock:
                if not self._idle:
                    break
                held = self._idle.pop()
            if held.is_of_use():
                return held.wrapper
            _close(held.wrapper)
        wrapper = connections.create_connection(ALIAS)
        wrapper.inc_thread_sharing()
        return wrapper

    def _give_back(self, wrapper: BaseDatabaseWrapper) -> None:
        is_clean = wrapper.connection is not None and not (
            wrapper.errors_occurred or wrapper.in_atomic_block or not wrapper.get_autocommit()
        )
        gone = []
        with self._lock:
            if is_clean and self._keepers:
                self._idle.append(_Held(wrapper))
            else:
                gone.append(wrapper)
            while self._idle and clock.monotonic() - self._idle[0].since > LONGEST_IDLE:
                gone.append(self._idle.pop(0).wrapper)
        for one in gone:
            _close(one)


def _close(wrapper: BaseDatabaseWrapper) -> None:
    with contextlib.suppress(OperationalError, InterfaceError):
        wrapper.close()


_pool = _Pool()
