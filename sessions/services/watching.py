"""Watching live: who began, who is still there, who left. No stream of a session goes out without a row here.

A watch lives by its signs of life: of an escort the page itself gives one every 2 s, of anybody else the stream does,
every 10 s. Without them it is over, whoever was to say so.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from breakglass import doorbell
from breakglass.domain import permissions
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Person
from breakglass.queries import actor_of
from breakglass.services import audit
from sessions.models import SSHSession, Watch
from sessions.queries import session_for, thing_of_session
from sessions.services import escort
from sessions.services.escort import FRESH
from sessions.states import OPEN_STATES

STALE: Final = timedelta(seconds=30)
LEFT, LOST, OVER = "they left", "their connection was lost", "the session is over"


def begin(session_id: UUID, person: Person, now: datetime) -> Watch:
    """This person watches from now on: as its escort, where the session needs one and they may be it.

    Raises Refused `not_found`, `not_allowed`, `session_not_live`.
    """
    session = session_for(person, session_id)
    if not permissions.may(actor_of(person), Verb.WATCH_SESSION, thing_of_session(session)):
        verb = Verb.WATCH_SESSION
        raise refuse(RefusalCode.NOT_ALLOWED, verb=verb, who=permissions.WHO_CAN[verb])
    as_escort = escort.may_be(person, session)
    with transaction.atomic():
        running = SSHSession.objects.filter(pk=session_id, state__in=OPEN_STATES, kill_requested_at=None)
        if not running.select_for_update(no_key=True).exists():
            raise refuse(RefusalCode.SESSION_NOT_LIVE)
        watch = Watch.objects.create(
            session=session, person=person, escort=as_escort, began_at=now, seen_at=now
        )
        data = {"session": session.label, "watch": str(watch.pk), "escort": as_escort}
        audit.append(AuditTag.WATCH_BEGUN, actor=person, subject=session, now=now, data=data)
        if as_escort:
            escort.came(session, person, now)
        _ring(session_id)
    return watch


def seen(watch_ids: Collection[UUID], now: datetime) -> int:
    """A sign of life of these. Returns how many of them go on; one that is over doesn't come back by it."""
    return Watch.objects.filter(pk__in=watch_ids, ended_at=None).update(seen_at=now)


def end(watch_id: UUID, why: str, now: datetime, *, silent_since: datetime | None = None) -> bool:
    """It is over; where it was an escort's and no other escort watches, input is held from now on. False when it was
    over already, or gave a sign of life after `silent_since`."""
    with transaction.atomic():
        row = Watch.objects.select_related("session", "person").filter(pk=watch_id).first()
        if row is None:
            return False
        # The session's row first, as in `begin`: two escorts who leave at once leave one after the other.
        SSHSession.objects.select_for_update(no_key=True).get(pk=row.session_id)
        still = Watch.objects.filter(pk=watch_id, ended_at=None)
        if silent_since is not None:
            still = still.filter(seen_at__lte=silent_since)
        if not still.update(ended_at=now):
            return False
        seconds = round((now - row.began_at).total_seconds(), 1)
        data = {"session": row.session.label, "watch": str(row.pk), "seconds": seconds, "why": why}
        audit.append(AuditTag.WATCH_ENDED, actor=row.person, subject=row.session, now=now, data=data)
        if row.escort:
            escort.went(row.session, now)
        _ring(row.session_id)
    return True


def leave(watch_id: UUID, person: Person, now: datetime) -> bool:
    """The person's own word that they stop. False where it isn't theirs, or is over."""
    if not Watch.objects.filter(pk=watch_id, person=person).exists():
        return False
    return end(watch_id, LEFT, now)


def sweep(now: datetime) -> int:
    """End what gives no sign of life any more, and what outlived its session. Returns how many that were."""
    silent = Q(seen_at__lt=now - STALE) | Q(escort=True, seen_at__lt=now - FRESH)
    over = ~Q(session__state__in=OPEN_STATES)
    rows = Watch.objects.filter(silent | over, ended_at=None).order_by("began_at")
    ended = 0
    for pk, seen_at, state in rows.values_list("pk", "seen_at", "session__state")[:200]:
        why, since = (LOST, seen_at) if state in OPEN_STATES else (OVER, None)
        ended += end(pk, why, now, silent_since=since)
    return ended


def watchers(session: SSHSession, now: datetime) -> list[Watch]:
    """Who watches just now, the first one first; each person once, as escort if they are it in any window."""
    found: dict[UUID | None, Watch] = {}
    for watch in _fresh(now).filter(session=session).select_related("person").order_by("-escort", "began_at"):
        found.setdefault(watch.person_id or watch.kiosk_id, watch)
    return sorted(found.values(), key=lambda watch: watch.began_at)


def watched(sessions: Collection[SSHSession], now: datetime) -> dict[UUID, int]:
    """How many people watch each of these: one question for all of them."""
    people: dict[UUID, set[UUID | None]] = {}
    rows = _fresh(now).filter(session__in=sessions).order_by()
    for session_id, person_id, kiosk_id in rows.values_list("session_id", "person_id", "kiosk_id"):
        people.setdefault(session_id, set()).add(person_id or kiosk_id)
    return {session_id: len(who) for session_id, who in people.items()}


def _fresh(now: datetime) -> QuerySet[Watch]:
    return Watch.objects.filter(ended_at=None, seen_at__gte=now - STALE)


def _ring(session_id: UUID) -> None:
    doorbell.ring(f"session:{session_id}", watch=True)
    doorbell.ring("sessions", session=str(session_id))
