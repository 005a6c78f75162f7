"""The gateway process: accepts, bounds what strangers take, keeps live sessions, drains on SIGTERM."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable
from uuid import UUID

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.services import audit
from sessions import services
from sessions.gateway import memory
from sessions.gateway.books import Bookkeeper
from sessions.gateway.borrowed import borrowed_db, kept_connections
from sessions.gateway.entrance import Entrance
from sessions.gateway.heartbeat import Heartbeat
from sessions.gateway.hostkey import host_key
from sessions.gateway.limits import Limits
from sessions.gateway.live import LiveSession
from sessions.gateway.marks import Marks
from sessions.gateway.replay import replay
from sessions.gateway.room import Room
from sessions.gateway.shared import Line
from sessions.gateway.throttle import Throttle
from sessions.gateway.watchdog import Watchdog
from sessions.services import recordings
from sessions.states import EndReason

BACKLOG = 4096
SWITCH_INTERVAL = 0.001
RECOVERY = 300.0
LAST_TO_GO = 1.0

log = logging.getLogger("breakglass.gateway")


class Gateway:
    """One process. `gateway_id` stays the same over restarts: what a crash left open is found by it.

    `shared` is there where several processes serve the port (crew.py): wrong answers are then counted together.
    """

    def __init__(
        self, host: str, port: int, gateway_id: str, limits: Limits | None = None, shared: Line | None = None
    ) -> None:
        self.id = gateway_id
        self.limits = limits or Limits()
        self.host_key = host_key()
        self.throttle = shared.throttle if shared else Throttle()
        self.clerk = Bookkeeper(lambda: self.id, self._no_room)
        self.entrance = Entrance(self)
        self.heartbeat: Heartbeat | None = None  # what the guard looks at (guard.py), where there is one
        self._watchdog = Watchdog(self)
        self._marks = Marks(self.clerk.marked, self._living)
        self.room = Room(recordings.store(), self.clerk)
        self._lock = threading.Lock()
        self._sessions: dict[UUID, LiveSession] = {}
        self._draining = threading.Event()
        self._all_gone = threading.Condition(self._lock)
        self._wake, self._waker = socket.socketpair()
        self._socket = listener(host, port, share=shared is not None)
        self._socket.listen(BACKLOG)
        self.port = int(self._socket.getsockname()[1])

    def run(self, ready: Callable[[], None] | None = None) -> None:
        """Serve until `stop()`. Sessions that an earlier life of this gateway left open are ended as crashed first;
        then `ready` is called, once."""
        sys.setswitchinterval(SWITCH_INTERVAL)
        _allow_files()
        memory.one_arena()
        with kept_connections():
            self._run(ready)

    def _run(self, ready: Callable[[], None] | None) -> None:
        replayed = replay(lambda gateway_id: gateway_id == self.id)
        with borrowed_db(longest=RECOVERY):
            crashed = services.recover_crashed(self.id, clock.now())
            audit.record(
                AuditTag.GATEWAY_STARTED, actor=None, subject=f"gateway:{self.id}", now=clock.now(),
                data={"port": self.port, "recovered": crashed, "replayed": replayed},
            )  # fmt: skip
        if crashed:
            log.warning("%d sessions of an earlier life were ended as crashed", crashed)
        self.clerk.start()
        self._watchdog.start()
        self._marks.start()
        self.room.start()
        log.info("listening on port %d as %s", self.port, self.id)
        if ready is not None:
            ready()
        self.entrance.run(self._socket, self._wake, self._draining)
        self._drain()

    def stop(self) -> None:
        """Accept nobody any more and end what lives, telling people why. Safe to call from a signal handler."""
        self._draining.set()
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def _no_room(self) -> None:
        """The journal's disk is full: it may be the recordings' too."""
        self.room.lost()

    # Sessions. -------------------------------------------------------------------------------------------

    def check_room(self) -> None:
        """Raises Refused when no further session fits, or none should begin."""
        if self._draining.is_set():
            raise refuse(RefusalCode.GATEWAY_DRAINING)
        with self._lock:
            if len(self._sessions) >= self.limits.sessions:
                raise refuse(RefusalCode.GATEWAY_FULL)

    def begin(self, session: LiveSession) -> None:
        with self._lock:
            self._sessions[session.facts.session_id] = session
        session.on_end = self._over
        self._watchdog.watch(session)
        if self._draining.is_set():  # it was being opened while the others were ended
            session.end(EndReason.GATEWAY_STOPPED)
        if session.reason is not None:
            self._over(session)

    def _living(self) -> list[LiveSession]:
        with self._lock:
            return list(self._sessions.values())

    def _over(self, session: LiveSession) -> None:
        self._watchdog.forget(session)
        with self._all_gone:
            self._sessions.pop(session.facts.session_id, None)
            self._all_gone.notify_all()

    def _drain(self) -> None:
        self._socket.close()
        visitors = self.entrance.everybody()
        sessions = self._living()
        for session in sessions:
            session.end(EndReason.GATEWAY_STOPPED)
        with self._all_gone:
            self._all_gone.wait_for(lambda: not self._sessions, timeout=5)
        _wait_for_people(sessions)
        for visitor in visitors:  # last: jumps go through them, and their people read the reason too
            if visitor.session is None:
                visitor.turn_away("Breakglass: the gateway is going down")
        self._marks.stop()
        self.room.stop()
        self.clerk.note(AuditTag.GATEWAY_STOPPED, {})
        self.clerk.stop(5)
        self._watchdog.stop()
        if self.heartbeat is not None:
            self.heartbeat.stop()


def _wait_for_people(sessions: list[LiveSession]) -> None:
    """Until they have gone, so that their receipts are whole; the watchdog closes who stays."""
    until = clock.monotonic() + LAST_TO_GO
    for session in sessions:
        session.person_leg.join(max(0.0, until - clock.monotonic()))


def listener(host: str, port: int, *, share: bool) -> socket.socket:
    """A socket bound to the port, not listening yet; with `share` others of this gateway may bind it too."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def _allow_files() -> None:
    """A session has three open files: as many as the system lets this process have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def default_gateway_id(port: int) -> str:
    """The same at each start on this machine and port."""
    return f"{socket.gethostname()[:40]}:{port}" if os.name == "posix" else str(port)
