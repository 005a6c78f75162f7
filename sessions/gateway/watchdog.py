"""The one loop that ends sessions: expiry, idleness, a lost recorder, a lost lease; and the warnings before the end.

A tick looks at memory only and never waits, so no database, no Redis and no stuck connection delays an end. Every
5 s, and when the doorbell rings, a worker asks the decision point again; what it says is acted on here or there by
`LiveSession.end`, which counts once. A session that could not be confirmed for 30 s ends, for unknown means no,
unless its playbook says that it outlasts an outage of the database (`hold_until_expiry`), up to the grant's end.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from breakglass import clock
from sessions.gateway import lease
from sessions.gateway.live import LiveSession
from sessions.gateway.wire import Msg, boolean, message, string
from sessions.states import EndReason

if TYPE_CHECKING:
    from sessions.gateway.server import Gateway

TICK = 0.1
RENEW_EVERY = 5.0
LEASE = 30.0
SIGN_EVERY = 30.0
KEEPALIVE_EVERY = 15.0
SILENT = 60.0
REKEY_EVERY = 3600.0
WARNINGS = (600, 300, 60)

log = logging.getLogger("breakglass.gateway")


class Watch:
    """What the watchdog remembers of one session."""

    def __init__(self, session: LiveSession, now: float) -> None:
        self.session = session
        self.renewed = now
        self.renewing = False
        self.again = False
        self.kept_alive = now
        self.rekeyed = now
        self.heard = now
        self.heard_bytes = 0
        self.left_at_start = session.deadline - now


class Watchdog:
    """One thread for all sessions of the process, and a few workers for what may wait."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = threading.Lock()
        self._watches: dict[UUID, Watch] = {}
        self._buried: list[tuple[float, LiveSession]] = []
        self._signed = clock.monotonic()
        self._stop = threading.Event()
        self._renewers = ThreadPoolExecutor(4, thread_name_prefix="lease")
        self._heralds = ThreadPoolExecutor(4, thread_name_prefix="herald")
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()
        threading.Thread(target=self._listen, name="doorbell", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(2)
        self._renewers.shutdown(wait=False, cancel_futures=True)
        self._heralds.shutdown(wait=False, cancel_futures=True)

    def watch(self, session: LiveSession) -> None:
        """From now on this session ends on time. It is asked about at once: subscribe first, then check."""
        watch = Watch(session, clock.monotonic())
        with self._lock:
            self._watches[session.facts.session_id] = watch
        self._renew_soon(watch)

    def forget(self, session: LiveSession) -> None:
        with self._lock:
            self._watches.pop(session.facts.session_id, None)
            self._buried.append((clock.monotonic() + 0.5, session))

    def look_again(self, session_id: UUID | None = None, grant_id: UUID | None = None) -> None:
        """The doorbell rang: ask again about one session, the sessions of one grant, or all of them."""
        with self._lock:
            watches = list(self._watches.values())
        for watch in watches:
            session = watch.session
            if session_id not in (None, session.facts.session_id):
                continue
            if grant_id not in (None, session.authorization.grant_id):
                continue
            self._renew_soon(watch)

    # The loop. -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.wait(TICK):
            now, wall = clock.monotonic(), clock.now()
            with self._lock:
                watches = list(self._watches.values())
            for watch in watches:
                try:
                    self._tick(watch, now, wall)
                except Exception:  # a session that can't be watched doesn't go on
                    log.exception("session %s can't be watched", watch.session.facts.label)
                    watch.session.end(EndReason.LEASE_LOST)
            self._sign(watches, now)
            self._bury(now)
            self._gateway.entrance.sweep(now)

    def _tick(self, watch: Watch, now: float, wall: datetime) -> None:
        session = watch.session
        reason = self._end_of(session, now, wall)
        if reason is not None:
            session.end(reason)
            return
        if now - watch.renewed >= RENEW_EVERY:
            self._renew_soon(watch)
        self._warn(watch, now)
        self._keep_alive(watch, now)

    def _sign(self, watches: list[Watch], now: float) -> None:
        """Leave in the database, now and then, that these sessions were confirmed: a dead gateway leaves nothing."""
        if now - self._signed < SIGN_EVERY:
            return
        self._signed = now
        confirmed = [
            watch.session.facts.session_id for watch in watches if now - watch.session.confirmed < LEASE
        ]
        if confirmed:
            self._renewers.submit(_quietly, watches[0].session, lease.touch, confirmed)

    @staticmethod
    def _end_of(session: LiveSession, now: float, wall: datetime) -> EndReason | None:
        """Why this session is over by what memory and the clocks say, or None."""
        if session.authorization.over(wall, now):
            return EndReason.EXPIRED
        if session.recording_error is not None:
            return EndReason.CANNOT_RECORD
        if now - session.last_typed >= session.authorization.idle_seconds:
            return EndReason.IDLE
        if now - session.confirmed >= LEASE and not session.authorization.obligations.hold_until_expiry:
            return EndReason.LEASE_LOST
        return None

    def _warn(self, watch: Watch, now: float) -> None:
        session = watch.session
        left = session.deadline - now
        for seconds in WARNINGS:
            if left <= seconds < watch.left_at_start and seconds not in session.warned:
                session.warned.update(later for later in WARNINGS if later >= seconds)
                minutes = seconds // 60
                text = (
                    f"Breakglass: this session ends in {minutes} minute{'s' if minutes > 1 else ''}, at "
                    f"{session.authorization.ends_at:%H:%M:%S} UTC. Save your work."
                )
                self._heralds.submit(_quietly, session, session.tell, text)
                return

    def _keep_alive(self, watch: Watch, now: float) -> None:
        session = watch.session
        heard = session.person_leg.packetizer.received
        if heard != watch.heard_bytes:
            watch.heard, watch.heard_bytes = now, heard
        elif now - watch.heard >= SILENT:
            session.end(EndReason.CLIENT_LOST)
            return
        if now - watch.kept_alive >= KEEPALIVE_EVERY:
            watch.kept_alive = now
            self._heralds.submit(_quietly, session, _ping, session)
        if now - watch.rekeyed >= REKEY_EVERY:
            watch.rekeyed = now
            self._heralds.submit(_quietly, session, session.person_leg.rekey)
            self._heralds.submit(_quietly, session, session.asset_leg.rekey)

    def _bury(self, now: float) -> None:
        with self._lock:
            due = [session for at, session in self._buried if at <= now]
            self._buried = [(at, session) for at, session in self._buried if at > now]
        for session in due:
            session.person_leg.bury()

    # Asking again. ---------------------------------------------------------------------------------------

    def _renew_soon(self, watch: Watch) -> None:
        with self._lock:
            watch.renewed = clock.monotonic()
            if watch.renewing:
                watch.again = True
                return
            watch.renewing = True
        try:
            self._renewers.submit(self._renew, watch)
        except RuntimeError:
            return  # shutting down

    def _renew(self, watch: Watch) -> None:
        while True:
            try:
                lease.renew(watch.session)
            except Exception:  # an outage is no exception here; what nobody understands confirms nothing
                log.exception("session %s can't be confirmed", watch.session.facts.label)
                watch.session.end(EndReason.LEASE_LOST)
            with self._lock:
                if not watch.again or watch.session.reason is not None:
                    watch.renewing = False
                    return
                watch.again = False

    def _listen(self) -> None:
        """Redis only wakes us. While it is away the loop's own 5 s do the work."""
        said = ""
        while not self._stop.is_set():
            why = lease.listen(self.look_again, self._stop)
            if why and why != said:
                log.warning("the doorbell is away, sessions are confirmed every %d s: %s", RENEW_EVERY, why)
            said = why
            self._stop.wait(1.0)


def _quietly(session: LiveSession, act: object, *args: object) -> None:
    """A line to, or a sign of life for, somebody who may be gone; their leg ends their session by itself."""
    try:
        act(*args)  # type: ignore[operator]
    except Exception as error:  # noqa: BLE001 - nothing is recorded, decided or audited here
        log.debug("session %s: %s", session.facts.label, error)


def _ping(session: LiveSession) -> None:
    ping = message(Msg.GLOBAL_REQUEST, string("keepalive@openssh.com"), boolean(True))
    session.person_leg.send(ping)
    session.asset_leg.send(ping)
