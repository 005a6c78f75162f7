"""The wallboard: who is in what, under whose consent, until when; and what is on their screens.

A screen on a wall is a watcher like any other: it has a row, the trail says when it began and ended, and the person in the
session is told of it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction

from breakglass import doorbell
from breakglass.domain import permissions
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import Thing, Verb
from breakglass.models import Person
from breakglass.queries import actor_of, escorts_of, rule_of
from breakglass.services import audit
from sessions.live.thumbnails import Screen, Wall
from sessions.models import Kiosk, SSHSession, Watch
from sessions.queries import SessionFilter, every_open_session, sessions_for
from sessions.services.recordings import store
from sessions.services.watching import STALE

SIGN_OF_LIFE: Final = timedelta(seconds=10)
MOST: Final = 60
"""Sessions on one wall; more would be read by nobody."""

_wall = Wall()


@dataclass(frozen=True)
class Tile:
    """One session on the wall, and what this viewer may do about it."""

    session: SSHSession
    watched: bool
    may_freeze: bool
    may_unfreeze: bool


def tiles(viewer: Person | Kiosk) -> tuple[list[Tile], int]:
    """The open sessions that the viewer may see, the newest first; and how many more there are than a wall holds."""
    if isinstance(viewer, Kiosk):
        rows, person = every_open_session(), None
    else:
        rows, person = sessions_for(viewer, SessionFilter(open_only=True)), viewer
    more = max(0, rows.count() - MOST)
    shown = list(rows[:MOST])
    actor = actor_of(person) if person else None

    def may(verb: Verb, session: SSHSession) -> bool:
        return actor is not None and permissions.may(actor, verb, _thing(session))

    return [
        Tile(
            session=session,
            watched=person is None or may(Verb.WATCH_SESSION, session),
            may_freeze=session.frozen_at is None and may(Verb.FREEZE_SESSION, session),
            may_unfreeze=session.frozen_at is not None and may(Verb.UNFREEZE_SESSION, session),
        )
        for session in shown
    ], more


def screens(viewer: Person | Kiosk, now: datetime) -> tuple[dict[UUID, Screen], bool]:
    """What is on the screens that the viewer may watch: columns and lines of each; and whether they are old, because the
    disk is silent. That it looks is on record."""
    shown = [tile.session for tile in tiles(viewer)[0] if tile.watched]
    _attend(viewer, shown, now)
    return _wall.look({session.pk: store().open_path(session.pk) for session in shown})


def _thing(session: SSHSession) -> Thing:
    """Enough for looking and freezing, which don't ask who decided: no question to the database for each."""
    grant = session.grant
    return Thing(grant.person_id, rule_of(grant.playbook).groups, escort_groups=escorts_of(grant.playbook))


def _attend(viewer: Person | Kiosk, sessions: Collection[SSHSession], now: datetime) -> None:
    """A watch for each; never an escort's, for a wall is looked at by nobody in particular."""
    whose = {"kiosk": viewer} if isinstance(viewer, Kiosk) else {"person": viewer}
    open_rows = Watch.objects.filter(
        session__in=sessions, ended_at=None, escort=False, seen_at__gte=now - STALE, **whose
    )
    known = {row.session_id: row for row in open_rows.order_by("seen_at")}
    old = [row.pk for row in known.values() if now - row.seen_at >= SIGN_OF_LIFE]
    if old:
        Watch.objects.filter(pk__in=old, ended_at=None).update(seen_at=now)
    for session in sessions:
        if session.pk not in known:
            _begin(session, viewer, now)


def _begin(session: SSHSession, viewer: Person | Kiosk, now: datetime) -> None:
    person = viewer if isinstance(viewer, Person) else None
    kiosk = viewer if isinstance(viewer, Kiosk) else None
    with transaction.atomic():
        watch = Watch.objects.create(session=session, person=person, kiosk=kiosk, began_at=now, seen_at=now)
        data = {"session": session.label, "watch": str(watch.pk), "escort": False}
        data |= {"wallboard": kiosk.name if kiosk else "in a browser"}
        audit.append(AuditTag.WATCH_BEGUN, actor=person, subject=session, now=now, data=data)
        doorbell.ring(f"session:{session.pk}", watch=True)
