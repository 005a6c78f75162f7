"""Asking again, while a session lives: is it still wanted, and does the decision point still allow it?"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import redis
from django.db import DatabaseError

from breakglass import clock, database_bell, doorbell
from breakglass.domain.refusals import RefusalCode, Refused
from sessions.gateway import beside, pep
from sessions.gateway.beside import Beside
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.freezing import BY_PERSON
from sessions.gateway.live import LiveSession
from sessions.models import SSHSession
from sessions.states import OPEN_STATES, EndReason

log = logging.getLogger("breakglass.gateway")

GRANT_STATES = {"released": EndReason.RELEASED, "revoked": EndReason.REVOKED, "expired": EndReason.EXPIRED}
REASONS = {
    RefusalCode.LOCKED: EndReason.LOCKED,
    RefusalCode.NO_GRANT: EndReason.REVOKED,
    RefusalCode.INCIDENT_CLOSED: EndReason.REVOKED,
    RefusalCode.CERTIFICATE_REFUSED: EndReason.REVOKED,
    RefusalCode.NOT_ALLOWED: EndReason.REVOKED,  # the key that opened it was removed
}
TOPICS = ("sessions", "session:*", "grant:*")
LONGEST = 8.0
Rung = tuple[str, dict[str, Any]]


def renew(sessions: list[LiveSession]) -> None:
    """Confirm each session from today's facts, or end it: one look at the database for all of them.

    A database that is away confirms nothing and ends nothing yet. What nobody understands about one session ends
    that one: it confirms nothing.
    """
    living = [session for session in sessions if session.reason is None]
    asked = clock.monotonic()
    try:
        wall = clock.now()
        with borrowed_db(longest=LONGEST):
            alive = beside.ask(living, wall)
        for session in living:
            found = alive.get(session.facts.session_id)
            if found is None:
                session.end(EndReason.KILLED)  # before anything else is asked: somebody waits for it
            else:
                _heed(session, found, asked, wall)
        living = [session for session in living if session.reason is None]
        if not living:
            return
        renewal = pep.Renewal([session.authorization for session in living])
    except Refused:
        log.warning("%d sessions are not confirmed: the database is away", len(living))
        return
    except Exception:  # noqa: BLE001 - asked one by one, or ended
        if len(living) > 1:  # one of them may be to blame
            for session in living:
                renew([session])
            return
        _lose(living[0])
        return
    for session in living:
        try:
            _decide(session, renewal, asked)
        except Exception:  # noqa: BLE001 - the session ends; an outage is no exception here
            _lose(session)


def _heed(session: LiveSession, found: Beside, asked: float, wall: datetime) -> None:
    """As the books say. What is asked here comes every few seconds: nearly always nothing has changed."""
    if found.frozen:
        session.freeze(BY_PERSON, found.frozen)
    else:
        session.unfreeze(BY_PERSON)
    session.company.watched_by(found.watches, asked, wall)
    session.company.told(found.said)


def _decide(session: LiveSession, renewal: pep.Renewal, asked: float) -> None:
    try:
        session.adopt(renewal.renew(session.authorization), asked)
    except Refused as refused:
        code = refused.refusal.code
        if code is RefusalCode.GRANT_ENDED:
            state = renewal.grant_state(session.authorization)
            session.end(GRANT_STATES.get(state, EndReason.EXPIRED))
        else:
            session.end(REASONS.get(code, EndReason.NOT_AUTHORIZED))


def _lose(session: LiveSession) -> None:
    log.exception("session %s can't be confirmed", session.facts.label)
    session.end(EndReason.LEASE_LOST)


def touch(session_ids: list[UUID]) -> None:
    """Leave a sign that these sessions were confirmed just now."""
    with borrowed_db():
        SSHSession.objects.filter(pk__in=session_ids, state__in=OPEN_STATES).update(renewed_at=clock.now())


def listen_to_redis(look_again: Callable[..., None], stop: threading.Event) -> str:
    """Ring through until Redis goes away (returns why) or `stop` is set."""
    return _listen(doorbell.listen(TOPICS, timeout=1.0), look_again, stop)


def listen_to_database(look_again: Callable[..., None], stop: threading.Event) -> str:
    """As `listen_to_redis`, by the database's own way. What was rung before is looked at once."""
    return _listen(database_bell.listen(timeout=1.0), look_again, stop)


def _listen(rings: Iterator[Rung | None], look_again: Callable[..., None], stop: threading.Event) -> str:
    """What a ring says is checked, never believed."""
    try:
        for rung in rings:
            if stop.is_set():
                return ""
            if rung is not None:
                _route(rung[0], rung[1], look_again)
    except (redis.RedisError, DatabaseError, OSError, json.JSONDecodeError) as error:
        return str(error).strip()
    return ""


def _route(topic: str, payload: dict[str, Any], look_again: Callable[..., None]) -> None:
    """One session, one grant's sessions, or all where a lock, a person or an incident changed."""
    kind, _, name = topic.partition(":")
    try:
        if kind == "session":
            look_again(session_id=UUID(name))
        elif kind == "grant":
            look_again(grant_id=UUID(name))
        elif not payload.keys() & {"session", "grant"}:
            look_again()
    except ValueError:
        return
