"""Entries of journals that couldn't be written and were put aside: kept beside their journal, and tried again on demand.

A rejected file may grow while it is worked through: a gateway that lives may put something aside at any time. Both hold
the file (flock) while they change it, for as long as that takes and no longer.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, Refused
from breakglass.models import AuditEvent
from breakglass.services import audit
from sessions.gateway import entries
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.journal import Line, folder, parse
from sessions.recording import files
from sessions.services import journal

SUFFIX = ".rejected"
NEVER_SAID = "the trail doesn't say that it was put aside: it may have been written since"


class ReplayRuns(Exception):
    """Another process replays what was put aside."""


@dataclass(frozen=True)
class Tried:
    """One entry; `problem` empty: the database has it now."""

    journal: str
    seq: int
    kind: str
    problem: str


def retry_all(tell: Callable[[Tried], None]) -> None:
    """Write down what was put aside, each entry once at most, whatever dies in between; what can't be written stays.

    `tell` hears of each. Raises Refused `database_unavailable` (what was written by then is out of the files), ReplayRuns.
    """
    with _alone():
        said = _said()
        for path in sorted(folder().glob(f"*{SUFFIX}")):
            _retry(path, said, tell)


@contextmanager
def held(path: Path, flags: int) -> Iterator[int]:
    """The file, this process's alone while it lasts, and by then still the one of that name."""
    while True:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, files.PRIVATE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_still(descriptor, path):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _is_still(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def _alone() -> Iterator[None]:
    descriptor = os.open(folder(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ReplayRuns("what was put aside is being replayed by another process") from error
        yield
    finally:
        os.close(descriptor)


def _said() -> set[tuple[str, int]]:
    """Which entries were put aside for good, by the trail. A gateway that died between the file and the trail has its
    next start try the entry again: then it may stand in the file, and be written all the same."""
    with borrowed_db():
        rows = list(AuditEvent.objects.filter(tag=AuditTag.JOURNAL_REJECTED))
    return {(str(row.data["journal"]), int(row.data["entry"])) for row in rows}


def _retry(path: Path, said: set[tuple[str, int]], tell: Callable[[Tried], None]) -> None:
    name, done = path.stem, dict[bytes, int]()
    try:
        for line in map(parse, dict.fromkeys(path.read_bytes().splitlines(keepends=True))):
            problem = _problem(name, line) if (name, line.seq) in said else NEVER_SAID
            if not problem:
                done[line.raw] = line.seq
            tell(Tried(name, line.seq, line.kind, problem))
    finally:
        _take_out(path, done)


def _problem(name: str, line: Line) -> str:
    """Write it down, and that it came late. Why that can't be done, or an empty text."""
    if not line.seq:
        return "the line is damaged"
    now = clock.now()
    data = {"journal": name, "entry": line.seq, "kind": line.kind}

    def write(_: object) -> None:
        entries.write([(line.kind, line.data)])
        audit.append(AuditTag.JOURNAL_REPLAYED, actor=None, subject="gateway:journal", now=now, data=data)

    try:
        with borrowed_db():
            journal.write_once(_once(name, line.seq), [line], now, write)
    except Refused as refused:
        if refused.refusal.code is RefusalCode.DATABASE_UNAVAILABLE:
            raise
        return str(refused)
    except Exception as error:  # noqa: BLE001 - as at the first try: it stays, and drops no neighbour
        return f"{type(error).__name__}: {error}"
    return ""


def _once(name: str, seq: int) -> str:
    """Where the database remembers that this one was written, until it is out of the file."""
    return f"{name}#{seq}"


def _take_out(path: Path, done: dict[bytes, int]) -> None:
    if not done:
        return
    with held(path, os.O_RDONLY) as descriptor:
        left = [raw for raw in path.read_bytes().splitlines(keepends=True) if raw not in done]
        if left:
            _replace(path, b"".join(left), os.fstat(descriptor))
        else:
            path.unlink()
        files.sync_directory(path.parent)
    with borrowed_db():
        for seq in done.values():
            journal.forget_journal(_once(path.stem, seq))


def _replace(path: Path, content: bytes, before: os.stat_result) -> None:
    """In one go, and still the gateway's own, whoever runs this."""
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, files.PRIVATE)
    try:
        with suppress(PermissionError):
            os.fchown(descriptor, before.st_uid, before.st_gid)
        if os.write(descriptor, content) != len(content):
            raise OSError("the entries that are left didn't fit")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.replace(path)
