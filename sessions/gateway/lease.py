"""Asking again, while a session lives: is it still wanted, and does the decision point still allow it?"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import redis

from breakglass import clock, doorbell
from breakglass.domain.refusals import RefusalCode, Refused
from breakglass.models import Grant
from sessions.gateway import pep
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.live import LiveSession
from sessions.models import SSHSession
from sessions.states import OPEN_STATES, EndReason

log = logging.getLogger("breakglass.gateway")

GRANT_STATES = {"released": EndReason.RELEASED, "revoked": EndReason.REVOKED, "expired": EndReason.EXPIRED}
REASONS = {
    RefusalCode.LOCKED: EndReason.LOCKED,
    RefusalCode.NO_GRANT: EndReason.REVOKED,
    RefusalCode.INCIDENT_CLOSED: EndReason.REVOKED,
}
TOPICS = ("sessions", "session:*", "grant:*")


def renew(session: LiveSession) -> None:
    """Confirm a session from today's facts, or end it. A database that is away confirms nothing and ends nothing yet."""
    if session.reason is not None:
        return
    try:
        with borrowed_db():
            row = SSHSession.objects.only("state", "kill_requested_at").get(pk=session.facts.session_id)
            if row.kill_requested_at is not None or row.state not in OPEN_STATES:
                session.end(EndReason.KILLED)
                return
        session.adopt(pep.renew(session.authorization))
    except Refused as refused:
        if refused.refusal.code is RefusalCode.DATABASE_UNAVAILABLE:
            log.warning("session %s is not confirmed: the database is away", session.facts.label)
            return
        session.end(_reason(session, refused.refusal.code))


def _reason(session: LiveSession, code: RefusalCode) -> EndReason:
    if code is not RefusalCode.GRANT_ENDED:
        return REASONS.get(code, EndReason.NOT_AUTHORIZED)
    with borrowed_db():
        state = Grant.objects.values_list("state", flat=True).get(pk=session.authorization.grant_id)
    return GRANT_STATES.get(state, EndReason.EXPIRED)


def touch(session_ids: list[UUID]) -> None:
    """Leave a sign that these sessions were confirmed just now."""
    with borrowed_db():
        SSHSession.objects.filter(pk__in=session_ids, state__in=OPEN_STATES).update(renewed_at=clock.now())


def listen(look_again: Callable[..., None], stop: threading.Event) -> str:
    """Ring through until Redis goes away (returns why) or `stop` is set. What a ring says is checked, never believed."""
    try:
        for rung in doorbell.listen(TOPICS, timeout=1.0):
            if stop.is_set():
                return ""
            if rung is not None:
                _route(rung[0], rung[1], look_again)
    except (redis.RedisError, OSError, json.JSONDecodeError) as error:
        return str(error)
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
