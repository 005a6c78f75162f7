"""`manage.py run_notary`: signs the audit trail's checkpoints and carries them to the anchors, until SIGTERM.

Exit codes: 0 asked to stop; 2 the key can't be used or another notary runs; 3 the trail contradicts what was signed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, close_old_connections

from breakglass import clock, doorbell
from breakglass.management.plain import PlainCommand
from breakglass.services import notary
from breakglass.services.anchoring import Anchoring
from breakglass.services.anchors import anchors_of
from breakglass.services.notary import Contradiction, Memory, Notary
from breakglass.services.notes import KeyUnusable, Signer, read_key

log = logging.getLogger(__name__)
RECHECK = 3600.0
TOPICS = ("grant:*", "session:*", "sessions")
STOPPED, UNUSABLE, CONTRADICTED = 0, 2, 3


class Command(PlainCommand):
    help = "Sign checkpoints of the audit trail and anchor them outside, until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--key-file", help="default: BREAKGLASS_NOTARY_KEY_FILE")
        parser.add_argument("--anchors", help="default: BREAKGLASS_AUDIT_ANCHORS")
        parser.add_argument("--poll", type=float, default=1.0, help="seconds between two looks at the trail")
        parser.add_argument(
            "--once", action="store_true", help="sign what is there, supply the anchors, and end"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        file = Path(options["key_file"] or settings.BREAKGLASS.notary_key_file or "-")
        signer = _signer(file)
        with _alone(file):
            self._serve(file, signer, options)

    def _serve(self, file: Path, signer: Signer, options: dict[str, Any]) -> None:
        stop = threading.Event()
        if not options["once"]:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
        addresses = settings.BREAKGLASS.audit_anchors if options["anchors"] is None else options["anchors"]
        work = _Work(Notary(signer, Memory(_memory_of(file)), os.cpu_count() or 1), stop)
        self.stdout.write(f"notary {signer.key}")
        self.stdout.flush()
        try:
            work.run(addresses, options["poll"], once=options["once"])
        except Contradiction as problem:
            work.alarm(str(problem))
            self.stderr.write(f"CONTRADICTED: {problem}. Nothing more is signed; run verify_audit.")
            sys.exit(CONTRADICTED)
        except ValueError as problem:
            raise CommandError(str(problem), returncode=UNUSABLE) from None


class _Work:
    """The loop: look, sign, anchor; a database that is away is waited for."""

    def __init__(self, notary_: Notary, stop: threading.Event) -> None:
        self._notary = notary_
        self._stop = stop
        self._begun = False
        self._checked = 0.0

    def run(self, addresses: str, poll: float, *, once: bool) -> None:
        anchoring: Anchoring | None = None
        try:
            for _ in _moments(self._stop, 0.05 if once else poll, ring=not once):
                try:
                    anchoring = anchoring or Anchoring(anchors_of(addresses))
                    self._turn(anchoring)
                except DatabaseError as error:
                    if once:
                        raise
                    log.warning("the notary waits for the database: %s", error)
                    close_old_connections()
                    self._stop.wait(poll)
                    continue
                if once and anchoring.is_idle(self._notary.last):
                    return
        finally:
            if anchoring is not None:
                anchoring.stop()

    def alarm(self, problem: str) -> None:
        log.critical("the audit trail contradicts what was signed: %s", problem)
        if not self._notary.remember_alarm(problem):
            return
        try:
            notary.raise_alarm(problem, clock.now())
        except DatabaseError as error:
            # Whoever tampers with the trail may have left it unable to take a row. The exit code still tells.
            log.critical("the alarm couldn't be written down: %s", error)

    def _turn(self, anchoring: Anchoring) -> None:
        now, seconds = clock.now(), clock.monotonic()
        if not self._begun:
            self._notary.begin(now)
            self._begun, self._checked = True, seconds
        elif seconds - self._checked >= RECHECK:
            self._notary.check()
            self._checked = seconds
        signed = self._notary.look(now)
        if signed:
            log.info("signed %s rows", signed.size)
        anchoring.supply(self._notary.last, now, seconds)


def _moments(stop: threading.Event, poll: float, *, ring: bool) -> Iterator[None]:
    """Each `poll` seconds, and when a grant or a session changes; without Redis each `poll` seconds."""
    while not stop.is_set():
        yield
        if not ring:
            stop.wait(poll)
            continue
        try:
            for _ in doorbell.listen(TOPICS, timeout=poll):
                if stop.is_set():
                    return
                yield
        except (redis.RedisError, OSError, ValueError):
            stop.wait(poll)


def _signer(file: Path) -> Signer:
    try:
        return read_key(file)
    except KeyUnusable as problem:
        raise CommandError(f"the notary's key: {problem}", returncode=UNUSABLE) from None


def _memory_of(file: Path) -> Path:
    return file.with_name(file.name + ".signed")


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Holds the key's lock: two notaries would sign past each other."""
    with file.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"another notary runs with {file}", returncode=UNUSABLE) from None
        yield
