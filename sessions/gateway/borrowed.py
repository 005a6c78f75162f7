"""Borrowing a database connection for one piece of work, and giving it back.

To open one costs ten times what a query costs, so a running gateway keeps a few: threads come and go, connections
stay. One that the database has hung up on, or that is of another life of the database, is thrown away unused.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from breakglass import clock
from breakglass.domain.refusals import RefusalCode, refuse

ALIAS = "default"
MOST = 12
PATIENCE = 10.0
LONGEST_IDLE = 60.0
LONGEST_USE = 30.0


@contextmanager
def borrowed_db(longest: float = LONGEST_USE) -> Iterator[None]:
    """Every database access of the gateway happens in here, never on the relay path.

    A database that can't be asked, or a connection that isn't free within 10 s, is Refused `database_unavailable`:
    unknown means no. So is one that stands still, `longest` seconds after it was borrowed: `hang_up_late` sees to that.
    Borrowing inside of it uses the same connection.
    """
    try:
        if _has_one():
            yield
        else:
            with _pool.one(clock.monotonic() + longest):
                yield
    except (OperationalError, InterfaceError) as error:
        raise refuse(RefusalCode.DATABASE_UNAVAILABLE) from error


def hang_up_late(now: float) -> None:
    """Cut the connections that were borrowed for too long, so that who waits for a database that stands still waits no
    more. Called every second by somebody who never waits; SQLite's own timeout does the same."""
    _pool.hang_up_late(now)


@contextmanager
def kept_connections() -> Iterator[None]:
    """While it lasts connections stay open between borrowings; afterwards none is left, and who still waits for a database
    that stands still waits no more: the end of a process waits for its threads."""
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
        self._lent: dict[BaseDatabaseWrapper, float] = {}
        self._keepers = 0

    @contextmanager
    def one(self, until: float) -> Iterator[None]:
        if not self._room.acquire(timeout=PATIENCE):
            raise refuse(RefusalCode.DATABASE_UNAVAILABLE)
        try:
            wrapper = self._take()
            connections[ALIAS] = wrapper
            with self._lock:
                self._lent[wrapper] = until
            try:
                yield
            finally:
                with self._lock:
                    self._lent.pop(wrapper, None)
                del connections[ALIAS]
                self._give_back(wrapper)
        finally:
            self._room.release()

    def hang_up_late(self, now: float) -> None:
        with self._lock:  # none is given back, and lent to another, meanwhile
            for wrapper, until in list(self._lent.items()):
                if now >= until:
                    del self._lent[wrapper]
                    _hang_up(wrapper)

    def keep(self) -> None:
        with self._lock:
            self._keepers += 1

    def let_go(self) -> None:
        with self._lock:
            self._keepers -= 1
            gone, self._idle = ([], self._idle) if self._keepers else (self._idle, [])
            for wrapper in [] if self._keepers else self._lent:
                _hang_up(wrapper)
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


def _hang_up(wrapper: BaseDatabaseWrapper) -> None:
    """Whoever reads from it, in another thread, reads its end."""
    connection: Any = wrapper.connection
    if wrapper.vendor != "postgresql" or connection is None:
        return
    with (
        contextlib.suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as same,
    ):
        same.shutdown(socket.SHUT_RDWR)


def _close(wrapper: BaseDatabaseWrapper) -> None:
    with contextlib.suppress(OperationalError, InterfaceError):
        wrapper.close()


_pool = _Pool()
