"""Revocation receipts: for each end of a session when it was asked for, by whom, and when it was true."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce

from breakglass import doorbell
from breakglass.domain.audit import AuditTag
from breakglass.domain.policy import LockKind
from breakglass.models import AuditEvent, Lock, Person, PersonCertificate, SshKey
from sessions.models import Receipt, SSHSession
from sessions.recording.store import Store
from sessions.states import EndReason

APART = timedelta(seconds=5)
"""How far the clocks of two machines of ours may be apart, when one wrote down what the other acted upon."""


@dataclass(frozen=True)
class Cut:
    """What the gateway measured of an end; None where it doesn't know, or not yet.

    `at` is when it stopped to relay. `due` is the end that it had in memory, `key` and `certificate` what the person
    had shown at the login. `estimated`: the gateway is dead, and this is what it left.
    """

    at: datetime
    due: datetime | None = None
    last_byte_at: datetime | None = None
    client_gone_at: datetime | None = None
    target_gone_at: datetime | None = None
    key: str = ""
    certificate: int | None = None
    estimated: bool = False


@dataclass(frozen=True)
class Asked:
    at: datetime
    by_id: UUID | None = None


def write(session: SSHSession, reason: EndReason, cut: Cut) -> Receipt:
    """The receipt of a session's end, in the caller's transaction. `session` comes with its grant."""
    asked = _asked(session, reason, cut) or Asked(cut.at)
    return Receipt.objects.create(
        session=session,
        cause=str(reason),
        asked_at=asked.at,
        asked_by_id=asked.by_id,
        cut_at=None if cut.estimated else cut.at,
        last_byte_at=cut.last_byte_at,
        client_gone_at=cut.client_gone_at,
        target_gone_at=cut.target_gone_at,
        estimated=cut.estimated,
    )


def complete(session_id: UUID, client_gone_at: datetime | None, target_gone_at: datetime | None) -> bool:
    """What was not known yet when the end was written: the person may take a moment to read the farewell and go.

    What stands there already stays. False where there is no receipt.
    """
    known = {"client_gone_at": client_gone_at, "target_gone_at": target_gone_at}
    moments = models.DateTimeField()
    values = {name: Coalesce(F(name), Value(at, moments)) for name, at in known.items() if at is not None}
    done = bool(values) and bool(Receipt.objects.filter(session_id=session_id).update(**values))
    doorbell.ring(f"session:{session_id}")
    return done


def facts_of(receipt: Receipt) -> dict[str, object]:
    """As the audit row of the end says it, in ms from `asked_at`. A time that isn't known yet isn't there."""
    times = {
        "cut_ms": receipt.cut_ms,
        "last_byte_ms": receipt.last_byte_ms,
        "client_gone_ms": receipt.client_gone_ms,
        "target_gone_ms": receipt.target_gone_ms,
    }
    facts: dict[str, object] = {"asked_at": receipt.asked_at, "estimated": receipt.estimated}
    if receipt.asked_by is not None:
        facts["asked_by"] = receipt.asked_by.username
    return facts | {name: ms for name, ms in times.items() if ms is not None}


def left_by_a_crash(session_id: UUID, now: datetime) -> Cut:
    """What a gateway that is dead left of its last moments: the recording was written before each byte was relayed."""
    try:
        touched = Store(settings.BREAKGLASS.data_dir).open_path(session_id).stat().st_mtime
    except OSError:
        return Cut(now, estimated=True)
    return Cut(now, last_byte_at=datetime.fromtimestamp(touched, UTC), estimated=True)


# Who asked, and when. ------------------------------------------------------------------------------------


def _asked(session: SSHSession, reason: EndReason, cut: Cut) -> Asked | None:
    """From what moment access should have been gone, and who saw to that; None where the gateway noticed by itself."""
    grant = session.grant
    match reason:
        case EndReason.KILLED:
            return _kill(session)
        case EndReason.CRASHED:
            return _kill(session) or _end_before(session, cut.at)
        case EndReason.EXPIRED:
            return Asked(min((at for at in (grant.ends_at, cut.due) if at is not None), default=cut.at))
        case EndReason.RELEASED | EndReason.REVOKED if grant.state == str(reason) and grant.ended_at:
            return Asked(grant.ended_at, grant.ended_by_id)
        case EndReason.REVOKED:
            return _withdrawn_proof(session, cut)
        case EndReason.LOCKED:
            return _lock(session, cut.at)
        case EndReason.NOT_AUTHORIZED:
            return _disabled(session, cut.at)
        case EndReason.CLIENT_CLOSED:
            return Asked(cut.at, session.person_id)
    return None


def _kill(session: SSHSession) -> Asked | None:
    at = session.kill_requested_at
    return Asked(at, session.kill_requested_by_id) if at is not None else None


def _end_before(session: SSHSession, now: datetime) -> Asked | None:
    """The grant's end, where it came while the gateway was dead."""
    grant = session.grant
    ends = [at for at in (grant.ended_at, grant.ends_at) if at is not None and at <= now]
    return Asked(min(ends), grant.ended_by_id) if ends else None


def _withdrawn_proof(session: SSHSession, cut: Cut) -> Asked | None:
    """The certificate or the key by which the person came in was withdrawn: by themselves, for nobody else can."""
    at = None
    if cut.certificate is not None:
        at = PersonCertificate.objects.filter(pk=cut.certificate).values_list("revoked_at", flat=True).first()
    if at is None and cut.key:
        at = SshKey.objects.filter(fingerprint=cut.key).values_list("removed_at", flat=True).first()
    return Asked(at, session.person_id) if at is not None else None


def _lock(session: SSHSession, cut: datetime) -> Asked | None:
    """The first lock that stood in the way since the session began."""
    grant = session.grant
    subjects = {
        LockKind.PERSON: str(session.person_id),
        LockKind.ASSET: str(session.asset_id),
        LockKind.PLAYBOOK: grant.playbook.slug,
        LockKind.INCIDENT: str(grant.incident_id),
    }
    about = Q(kind=LockKind.EVERYTHING)
    for kind, subject in subjects.items():
        about |= Q(kind=kind, subject=subject)
    placed = Lock.objects.filter(
        about, placed_at__gte=session.opened_at - APART, placed_at__lte=cut + APART
    ).order_by("placed_at")
    lock = placed.first()
    return Asked(lock.placed_at, lock.placed_by_id) if lock is not None else None


def _disabled(session: SSHSession, cut: datetime) -> Asked | None:
    """When the person was disabled, which only the trail knows."""
    rows = AuditEvent.objects.filter(
        tag=AuditTag.PERSON_DISABLED, subject=f"person:{session.person_id}", at__lte=cut + APART
    ).order_by("-seq")
    row = rows.values_list("at", "actor_name").first()
    if row is None or row[0] < session.opened_at - APART:
        return None
    by = Person.objects.filter(username=row[1]).values_list("pk", flat=True).first() if row[1] else None
    return Asked(row[0], by)
