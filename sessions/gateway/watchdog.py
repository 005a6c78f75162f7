"""The one loop that ends sessions: expiry, idleness, a lost recorder, a lost lease; and the warnings before the end.

A tick looks at memory only and never waits, so no database, no Redis and no stuck connection delays an end. Every
5 s, and when the doorbell rings, a worker asks the decision point again; what it says is acted on here or there by
`LiveSession.end`, which counts once. A session that could not be confirmed for 60 s ends, for unknown means no,
unless its playbook says that it outlasts an outage of the database (`hold_until_expiry`), up to the grant's end.

Each turn is a heartbeat: without one for 5 s the guard outside (guard.py) ends the whole process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from breakglass import clock, database_bell
from breakglass.domain.audit import AuditTag
from sessions.gateway import company, lease, memory, slow_disk
from sessions.gateway.borrowed import hang_up_late
from sessions.gateway.live import LiveSession
from sessions.gateway.watch import SILENT, Watch
from sessions.states import EndReason

if TYPE_CHECKING:
    from sessions.gateway.server import Gateway

TICK = 0.1
LOOK_EVERY = 1.0
RENEW_EVERY = 5.0
RENEW_TOGETHER = 1.0
MOST_TOGETHER = 100
LEASE = 60.0
SIGN_EVERY = 30.0
REKEY_EVERY = 3600.0
WARNINGS = (600, 300, 60)
RUSH, LULL = 20, 3.0
STOOD_STILL = 1.0
STEP = 1.0

log = logging.getLogger("breakglass.gateway")


class Watchdog:
    """One thread for all sessions of the process, and a few workers for what may wait."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = threading.Lock()
        self._watches: dict[UUID, Watch] = {}
        self._buried: list[tuple[float, LiveSession]] = []
        self._signed = self._gathered = self._turned = clock.monotonic()
        self._apart = self._said = clock.apart()
        self._last_begun = 0.0
        self._begun = 0
        self._stop = threading.Event()
        self._renewers = ThreadPoolExecutor(4, thread_name_prefix="lease")
        self._heralds = ThreadPoolExecutor(4, thread_name_prefix="herald")
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()
        bells = {"doorbell": lease.listen_to_redis}
        if database_bell.is_there():
            bells["database's bell"] = lease.listen_to_database
        for name, listen in bells.items():
            threading.Thread(target=self._listen, args=(name, listen), name=name, daemon=True).start()

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
            self._begun += 1
            self._last_begun = watch.renewed
        self._renew_soon([watch])

    def forget(self, session: LiveSession) -> None:
        with self._lock:
            self._watches.pop(session.facts.session_id, None)
            self._buried.append((clock.monotonic() + 0.5, session))

    def look_again(self, session_id: UUID | None = None, grant_id: UUID | None = None) -> None:
        """The doorbell rang: ask again about one session, the sessions of one grant, or all of them."""
        with self._lock:
            watches = list(self._watches.values())
        self._renew_soon(
            [
                watch
                for watch in watches
                if session_id in (None, watch.session.facts.session_id)
                and grant_id in (None, watch.session.authorization.grant_id)
            ]
        )

    # The loop. -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.wait(TICK):
            now, wall = clock.monotonic(), clock.now()
            self._beat()
            with self._lock:
                watches = list(self._watches.values())
            if now - self._turned > STOOD_STILL:  # stopped, or the machine slept
                for watch in watches:
                    watch.forgive(now)
            self._turned = now
            self._look_at(watches, now, wall, everybody=self._was_set())
            if now - self._gathered >= RENEW_TOGETHER:
                self._gathered = now
                hang_up_late(now)
                self._renew_soon([watch for watch in watches if now - watch.renewed >= _patience(watch)])
            self._sign(watches, now)
            self._tidy(now)
            self._bury(now)
            self._gateway.entrance.sweep(now)

    def _beat(self) -> None:
        """A sign of life for the guard: this loop still turns."""
        if self._gateway.heartbeat is not None:
            self._gateway.heartbeat()

    def _look_at(self, watches: list[Watch], now: float, wall: datetime, *, everybody: bool) -> None:
        """Whoever has something to end, or to be told, now; and each once a second. With a thousand sessions most ticks
        pass most of them by: their end was moved by nobody and is not yet there, and neither clock was set."""
        for watch in watches:
            session = watch.session
            if (
                now < watch.look_at
                and session.deadline == watch.deadline
                and session.recording_error is None
                and not everybody
            ):
                continue
            self._beat()  # to end very many takes a while
            try:
                self._tick(watch, now, wall)
            except Exception:  # a session that can't be watched doesn't go on
                log.exception("session %s can't be watched", session.facts.label)
                session.end(EndReason.LEASE_LOST)

    def _tick(self, watch: Watch, now: float, wall: datetime) -> None:
        session = watch.session
        reason = self._end_of(session, now, wall)
        if reason is not None:
            session.end(reason)
            return
        session.company.look(now)
        slow_disk.look_after(session, self._heralds.submit)
        self._warn(watch, now)
        self._keep_alive(watch, now)
        watch.deadline = session.deadline
        idle = session.last_typed + session.authorization.idle_seconds
        by_wall = now + (session.authorization.ends_at - wall).total_seconds()
        warnings = (watch.deadline - seconds for seconds in WARNINGS if seconds not in session.warned)
        to_warn = min((at for at in warnings if at > now), default=watch.deadline)
        watch.look_at = min(now + LOOK_EVERY, watch.deadline, by_wall, idle, to_warn)

    def _was_set(self) -> bool:
        """Whether somebody set the wall clock since the last turn. A step is said once, with how far; small ones
        are when they add up."""
        apart = clock.apart()
        was_set, self._apart = abs(apart - self._apart) > TICK, apart
        moved = apart - self._said
        if abs(moved) > STEP:
            self._said = apart
            log.warning(
                "the wall clock was set %s by %.1f s: %s", "forward" if moved > 0 else "back", abs(moved),
                "what is over by it ends now" if moved > 0 else "nobody gains time by it",
            )  # fmt: skip
            data = {"seconds": round(moved, 1), "direction": "forward" if moved > 0 else "back"}
            self._gateway.clerk.note(AuditTag.CLOCK_STEPPED, data)
        return was_set

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

    def _tidy(self, now: float) -> None:
        """When a rush of logins is over: what they needed goes back to the system."""
        if self._begun >= RUSH and now - self._last_begun >= LULL:
            self._begun = 0
            self._heralds.submit(memory.give_back)

    @staticmethod
    def _end_of(session: LiveSession, now: float, wall: datetime) -> EndReason | None:
        """Why this session is over by what memory and the clocks say, or None."""
        if session.authorization.over(wall, now):
            return EndReason.EXPIRED
        if session.recording_error is not None:
            return EndReason.CANNOT_RECORD
        if now - session.last_typed >= session.authorization.idle_seconds and not session.freezing:
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
        if watch.person.silent_for(now) >= SILENT:
            session.end(EndReason.CLIENT_LOST)
            return
        if watch.asset.silent_for(now) >= SILENT:
            session.end(EndReason.UPSTREAM_FAILED)
            return
        if watch.person.is_to_be_asked(now):
            session.person_leg.ping()
        if watch.asset.is_to_be_asked(now):
            session.asset_leg.ping()
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

    def _renew_soon(self, watches: list[Watch]) -> None:
        """Ask about these, together: one look at the database, not one each. Who is being asked about is asked again."""
        mine = []
        now = clock.monotonic()
        with self._lock:
            for watch in watches:
                watch.renewed = now
                watch.again = watch.renewing
                if not watch.renewing:
                    watch.renewing = True
                    mine.append(watch)
        for start in range(0, len(mine), MOST_TOGETHER):
            try:
                self._renewers.submit(self._renew, mine[start : start + MOST_TOGETHER])
            except RuntimeError:
                return  # shutting down

    def _renew(self, watches: list[Watch]) -> None:
        while watches:
            before = [(watch.session, watch.session.deadline) for watch in watches]
            lease.renew([session for session, _ in before])
            for session, end in before:
                self._tell_longer(session, end)
            with self._lock:
                again = [watch for watch in watches if watch.again and watch.session.reason is None]
                for watch in watches:
                    watch.again = False
                    watch.renewing = watch in again
            watches = again

    def _tell_longer(self, session: LiveSession, end: float) -> None:
        """Whoever works under a grant that was made longer reads it where they work."""
        minutes = round((session.deadline - end) / 60)
        if minutes < 1 or session.reason is not None:
            return
        until = f"{session.authorization.ends_at:%H:%M:%S} UTC"
        text = f"Breakglass: {minutes} minutes more: this session ends at {until} now."
        self._heralds.submit(_quietly, session, session.tell, text)

    def _listen(self, name: str, listen: Callable[..., str]) -> None:
        """A bell only wakes us. While all are away the loop's own 5 s do the work."""
        said = ""
        while not self._stop.is_set():
            try:
                why = listen(self.look_again, self._stop)
            except Exception as error:  # noqa: BLE001 - somebody rang what we don't understand: the bell stays
                why = f"{type(error).__name__}: {error}"
            if why and why != said:
                log.warning("the %s is away, sessions are confirmed every %d s: %s", name, RENEW_EVERY, why)
            said = why
            self._stop.wait(1.0)


def _patience(watch: Watch) -> float:
    """How long an answer about this one is old enough: less where an escort is to be missed soon."""
    every = company.LOOK_EVERY if watch.session.company.groups else RENEW_EVERY
    return every - RENEW_TOGETHER


def _quietly(session: LiveSession, act: object, *args: object) -> None:
    """A line to, or a sign of life for, somebody who may be gone; their leg ends their session by itself."""
    try:
        act(*args)  # type: ignore[operator]
    except Exception as error:  # noqa: BLE001 - nothing is recorded, decided or audited here
        log.debug("session %s: %s", session.facts.label, error)
