"""`manage.py stream_audit`: sends the audit trail's rows to the receivers of BREAKGLASS_SIEM, until SIGTERM."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, close_old_connections, connection

from breakglass import clock
from breakglass.management.plain import PlainCommand
from breakglass.services.siem import Stream
from breakglass.services.siem_receivers import Address, addresses_of

UNUSABLE = 2

log = logging.getLogger(__name__)


class Command(PlainCommand):
    help = "Send the audit trail's rows to a SIEM as they happen, until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--to", help="addresses, comma separated; default: BREAKGLASS_SIEM")
        parser.add_argument("--poll", type=float, default=0.5, help="seconds between two looks at the trail")
        parser.add_argument(
            "--once", action="store_true", help="send what is there, and end when it is received"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            addresses = addresses_of(settings.BREAKGLASS.siem if options["to"] is None else options["to"])
        except ValueError as problem:
            raise CommandError(f"BREAKGLASS_SIEM: {problem}", returncode=UNUSABLE) from None
        if not addresses:
            raise CommandError(
                "Nobody to send to: set BREAKGLASS_SIEM (docs/operate.md).", returncode=UNUSABLE
            )
        self._lock = _alone()
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        self.stdout.write("streaming to " + ", ".join(address.name for address in addresses))
        self.stdout.flush()
        with ThreadPoolExecutor(len(addresses), thread_name_prefix="stream") as pool:
            for _ in pool.map(lambda one: _serve(one, stop, options["poll"], options["once"]), addresses):
                pass


def _serve(address: Address, stop: threading.Event, poll: float, once: bool) -> None:
    """One receiver, in a thread of its own: one that is slow or away holds up nobody else."""
    stream: Stream | None = None
    try:
        while not stop.is_set():
            had_news = False
            try:
                stream = stream or Stream(address)
                had_news = stream.turn(clock.now(), clock.monotonic())
            except DatabaseError as error:
                log.warning("the audit stream waits for the database: %s", error)
                close_old_connections()
            if once and stream is not None and not had_news and stream.is_level:
                return
            if not had_news:
                stop.wait(poll)
    finally:
        if stream is not None:
            stream.close()
        connection.close()


def _alone() -> int:
    """Holds the lock until this process ends: two of them would send each row twice."""
    settings.DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = settings.DATA_DIR / "stream_audit.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CommandError(f"another stream_audit runs here ({path} is held)", returncode=UNUSABLE) from None
    return handle
