"""From a journal into the database: in order, each entry once. One that never can be written is put aside, said aloud."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from django.db import DatabaseError, InternalError

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, Refused
from breakglass.services import audit
from sessions.gateway import entries, rejected
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.entries import Kind
from sessions.gateway.journal import Line
from sessions.services import journal

MOST_FILES = 500
TOO_MUCH_TO_ASK = "54"
"""The class of PostgreSQL's errors for what is larger than it can be: no outage, though psycopg counts it as one."""

READ_ONLY = "25006"
"""PostgreSQL takes no writes for now: a standby, or another takes over. That is no fault of an entry's."""

log = logging.getLogger("breakglass.gateway")


class Away(Exception):
    """It can't be written now; it can be later. The cause says why."""


class Writer:
    """Of one journal; one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._name = path.stem
        self._rejected = path.with_suffix(rejected.SUFFIX)
        self._aside: set[bytes] = set()

    def write(self, lines: Sequence[Line]) -> Sequence[Line]:
        """Write down as many of the first lines as go together, and return those: the next are written next.

        Raises Away; what was written by then counts, here or in whoever tries again.
        """
        some = _together(lines)
        try:
            self._write(some)
        except Away:
            raise
        except Exception as error:  # noqa: BLE001 - nothing is passed over: it is tried alone, then kept aside
            if len(some) > 1:
                for line in some:
                    self.write([line])
            else:
                self._put_aside(some[0], error)
        return some

    def _write(self, lines: Sequence[Line]) -> None:
        if not lines[0].seq:
            raise entries.Unreadable("the line is damaged")

        def write(fresh: Sequence[Line]) -> None:
            entries.write([(line.kind, line.data) for line in fresh])

        try:
            with borrowed_db():
                journal.write_once(self._name, lines, clock.now(), write)
        except Refused as refused:
            if refused.refusal.code is RefusalCode.DATABASE_UNAVAILABLE and not _never_fits(refused):
                raise Away from refused.__cause__ or refused
            raise
        except InternalError as error:
            if getattr(error.__cause__, "sqlstate", "") == READ_ONLY:
                raise Away from error
            raise

    def _put_aside(self, line: Line, error: Exception) -> None:
        """Into the rejected file, the log and the trail; the journal goes on behind it."""
        why = type(error.__cause__ or error).__name__
        try:
            self._keep(line)
        except OSError as failed:
            raise Away from failed
        log.critical(
            "entry %d (%s) of journal %s can't be written, now or ever, and is in %s: %s",
            line.seq, line.kind, self._name, self._rejected, error,
        )  # fmt: skip
        data = {"journal": self._name, "entry": line.seq, "kind": line.kind, "why": why}

        def write(_: object) -> None:
            audit.record(
                AuditTag.JOURNAL_REJECTED, actor=None, subject="gateway:journal", now=clock.now(), data=data
            )

        try:
            with borrowed_db():
                if line.seq:
                    journal.write_once(self._name, [line], clock.now(), write)
                else:
                    write(None)
        except Refused as refused:
            raise Away from refused.__cause__ or refused
        except DatabaseError:
            log.critical("nor can the trail say so", exc_info=True)

    def _keep(self, line: Line) -> None:
        if line.raw in self._aside:
            return
        with rejected.held(self._rejected, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as descriptor:
            if os.write(descriptor, line.raw) != len(line.raw):
                raise OSError("the rejected entry didn't fit")
            os.fsync(descriptor)
        self._aside.add(line.raw)


def _together(lines: Sequence[Line]) -> Sequence[Line]:
    """The files of many operations go in one transaction; all else by itself."""
    count = 0
    while count < min(len(lines), MOST_FILES) and lines[count].kind == Kind.FILE and lines[count].seq:
        count += 1
    return lines[: max(count, 1)]


def _never_fits(refused: Refused) -> bool:
    cause = refused.__cause__.__cause__ if refused.__cause__ is not None else None
    return str(getattr(cause, "sqlstate", "") or "").startswith(TOO_MUCH_TO_ASK)
