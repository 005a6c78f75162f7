"""Freezing: a person's input is held while output goes on. The books say it; the gateway does it, and tells the person."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from breakglass import doorbell
from breakglass.domain import permissions
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import one_line
from breakglass.models import Person
from breakglass.queries import actor_of
from breakglass.services import audit
from sessions.models import SSHSession
from sessions.queries import session_for, thing_of_session
from sessions.states import OPEN_STATES

MOST_REASON = 300


def freeze(session_id: UUID, person: Person, reason: str, now: datetime) -> SSHSession:
    """Hold the person's input from now on; the reason is told to them. One that is frozen already stays as it is, with
    the first reason, and that is no error.

    Raises Refused `not_found`, `not_allowed`, `session_not_live`.
    """
    session = _session(person, session_id, Verb.FREEZE_SESSION)
    why = one_line(reason, MOST_REASON)
    with transaction.atomic():
        runs = _running(session_id).filter(frozen_at=None)
        if runs.update(frozen_at=now, frozen_by=person, freeze_reason=why):
            data = {"session": session.label, "reason": why}
            audit.append(AuditTag.SESSION_FROZEN, actor=person, subject=session, now=now, data=data)
        elif not _running(session_id).exists():
            raise refuse(RefusalCode.SESSION_NOT_LIVE)
        _ring(session)
    session.refresh_from_db()
    return session


def unfreeze(session_id: UUID, person: Person, now: datetime) -> SSHSession:
    """Let the session go on; what was typed meanwhile is sent then. One that isn't frozen stays as it is.

    Raises Refused `not_found`, `not_allowed`, `session_not_live`.
    """
    session = _session(person, session_id, Verb.UNFREEZE_SESSION)
    with transaction.atomic():
        # Under the row's lock: what the audit row says of the freeze is what ends here.
        was = _running(session_id).select_for_update(no_key=True).first()
        if was is None:
            raise refuse(RefusalCode.SESSION_NOT_LIVE)
        if was.frozen_at is not None:
            data = {"session": session.label, "reason": was.freeze_reason, "frozen_at": was.frozen_at}
            SSHSession.objects.filter(pk=session_id).update(frozen_at=None, frozen_by=None, freeze_reason="")
            audit.append(AuditTag.SESSION_UNFROZEN, actor=person, subject=session, now=now, data=data)
        _ring(session)
    session.refresh_from_db()
    return session


def _running(session_id: UUID) -> QuerySet[SSHSession]:
    """The session, where it goes on and nobody has asked to end it."""
    return SSHSession.objects.filter(pk=session_id, state__in=OPEN_STATES, kill_requested_at=None)


def _session(person: Person, session_id: UUID, verb: Verb) -> SSHSession:
    session = session_for(person, session_id)
    if not permissions.may(actor_of(person), verb, thing_of_session(session)):
        raise refuse(RefusalCode.NOT_ALLOWED, verb=verb, who=permissions.WHO_CAN[verb])
    return session


def _ring(session: SSHSession) -> None:
    doorbell.ring(f"session:{session.pk}", freeze=True)
    doorbell.ring("sessions", session=str(session.pk))
