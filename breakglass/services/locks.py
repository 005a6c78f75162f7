"""Locks: standing refusals by person, asset, playbook, incident, or everything. Live sessions under them end."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from breakglass import doorbell
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import Verb
from breakglass.domain.policy import LockKind
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import one_line
from breakglass.models import Asset, Incident, Lock, Person, PlaybookVersion
from breakglass.queries import refuse_unless
from breakglass.services import audit, step_up
from breakglass.services.step_up import Answer


def place(person: Person, kind: str, subject: str, reason: str, answer: Answer, now: datetime) -> Lock:
    """A lock, by an administrator with a fresh second factor. `subject`: user name, asset name, slug, or incident id."""
    refuse_unless(person, Verb.MANAGE_LOCKS)
    if kind not in LockKind.__members__.values():
        raise refuse(RefusalCode.BAD_INPUT, problem=f"A lock is on one of: {', '.join(LockKind)}.")
    reason = one_line(reason, 300)
    if not reason:
        raise refuse(RefusalCode.BAD_INPUT, problem="Say why it is locked.", needs=("reason",))
    key, name = _subject(LockKind(kind), subject)
    step_up.verify(person, "lock", f"{kind}:{subject}", answer, now)
    with transaction.atomic():
        lock = Lock.objects.create(
            kind=kind,
            subject=key,
            subject_name=name,
            reason=reason,
            placed_by=person,
            placed_at=now,
        )
        data = {"kind": kind, "name": name, "reason": lock.reason}
        audit.append(AuditTag.LOCK_PLACED, actor=person, subject=lock, now=now, data=data)
        doorbell.ring("sessions", lock=str(lock.pk))
    return lock


def lift(person: Person, lock_id: UUID, answer: Answer, now: datetime) -> None:
    """The lock is gone. Raises Refused `not_found` where there is none standing."""
    refuse_unless(person, Verb.MANAGE_LOCKS)
    if not Lock.objects.filter(pk=lock_id, lifted_at=None).exists():
        raise refuse(RefusalCode.NOT_FOUND, what="lock")
    step_up.verify(person, "lift lock", lock_id, answer, now)
    with transaction.atomic():
        if not Lock.objects.filter(pk=lock_id, lifted_at=None).update(lifted_at=now, lifted_by=person):
            raise refuse(RefusalCode.NOT_FOUND, what="lock")
        audit.append(AuditTag.LOCK_LIFTED, actor=person, subject=f"lock:{lock_id}", now=now)


def _subject(kind: LockKind, name: str) -> tuple[str, str]:
    subject = one_line(name, 100)
    found: Person | Asset | Incident | PlaybookVersion | None
    match kind:
        case LockKind.EVERYTHING:
            return "", "everything"
        case LockKind.PERSON:
            found = Person.objects.filter(username=subject).first()
        case LockKind.ASSET:
            found = Asset.objects.filter(name=subject).first()
        case LockKind.PLAYBOOK:
            found = PlaybookVersion.objects.filter(slug=subject).first()
        case LockKind.INCIDENT:
            found = _incident(subject)
    if found is None:
        raise refuse(RefusalCode.NOT_FOUND, what=str(kind))
    key = found.slug if isinstance(found, PlaybookVersion) else str(found.pk)
    return key, str(found)[:120]


def _incident(subject: str) -> Incident | None:
    try:
        return Incident.objects.filter(pk=subject).first()
    except ValidationError:
        return None
