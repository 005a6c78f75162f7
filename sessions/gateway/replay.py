"""At a gateway's start: what dead processes left in their journals is written down, before their sessions are judged."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from breakglass import clock
from breakglass.domain.refusals import RefusalCode, refuse
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.journal import SUFFIX, folder, gateway_of, read_lines
from sessions.gateway.writing import Away, Writer
from sessions.recording import files
from sessions.services import journal

MOST = 500
PATIENCE = 30.0
LOOK_EVERY = 0.05

log = logging.getLogger("breakglass.gateway")


def replay(is_ours: Callable[[str], bool]) -> int:
    """Write down what the journals of dead processes hold whose gateway id is one of ours, and remove them. Returns the
    number of entries that were read.

    Raises Refused `database_unavailable`: nothing is lost by that, the next start goes on from there. A journal that
    somebody still holds after 30 s stays.
    """
    return sum(_replay(path) for path in sorted(folder().glob(f"*{SUFFIX}")) if is_ours(gateway_of(path)))


def _replay(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return 0  # somebody else was first
    try:
        if not _hold(descriptor, path) or not _is_there(descriptor, path):
            return 0
        count = _write_down(descriptor, path)
        path.unlink()
        files.sync_directory(path.parent)
    finally:
        os.close(descriptor)
    with borrowed_db():
        journal.forget_journal(path.stem)
    if count:
        log.warning("%d entries of journal %s were looked through and written down", count, path.name)
    return count


def _hold(descriptor: int, path: Path) -> bool:
    """Whether its process is dead, and nobody else replays it. Who does is waited for."""
    until = clock.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.monotonic() >= until:
                log.error("journal %s is held by a process that lives; it is left alone", path.name)
                return False
            time.sleep(LOOK_EVERY)
        else:
            return True


def _is_there(descriptor: int, path: Path) -> bool:
    """Whether it still has its name: whoever replayed it meanwhile removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _write_down(descriptor: int, path: Path) -> int:
    """All of it but a torn last line, which nobody had been told was kept."""
    writer, offset, count = Writer(path), 0, 0
    end = os.fstat(descriptor).st_size
    while lines := read_lines(descriptor, offset, end, MOST):
        try:
            done = writer.write(lines)
        except Away as away:
            log.error("journal %s waits: %s", path.name, away.__cause__)
            raise refuse(RefusalCode.DATABASE_UNAVAILABLE) from away
        offset += sum(len(line.raw) for line in done)
        count += len(done)
    if offset < end:
        log.warning("the last %d bytes of journal %s were torn off by the crash", end - offset, path.name)
    return count
