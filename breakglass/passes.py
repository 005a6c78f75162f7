"""Passes over what is due, in the background: one of a kind at a time where they are long, and no failure of one part
stops the others."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError

log = logging.getLogger(__name__)

Row = TypeVar("Row")


@contextmanager
def alone(name: str) -> Iterator[bool]:
    """Whether this is the only pass of that name here, while it lasts; never waits. Who dies holds nothing any more.

    It saves slots of the worker and is no guard of data: where the lock's file can't be opened, passes go on without.
    """
    folder = settings.BREAKGLASS.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(folder / f"{name}.lock", flags, 0o600)
    except OSError as error:
        log.warning("passes of %s may overlap: %s", name, error)
        yield True
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def each(services: Iterable[Callable[[datetime], Any]], now: datetime) -> None:
    """Run one after the other; what one raises is logged, and the next still runs."""
    for service in services:
        try:
            service(now)
        except Exception:
            log.exception(
                "%s failed; the rest of this sweep goes on", getattr(service, "__qualname__", service)
            )


def count(act: Callable[[Row], bool], rows: Iterable[Row]) -> int:
    """How many rows it was done for. What one raises is logged, and the next is still looked at; that the database is
    away is no fault of a row's, and is raised."""
    done = 0
    for row in rows:
        try:
            done += act(row)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            log.exception("%s failed for %s; the others go on", act, row)
    return done
