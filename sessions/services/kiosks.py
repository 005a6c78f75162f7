"""Kiosks: screens on a wall that may look and nothing else, each bound to one device.

An administrator names a kiosk and gets a pairing code; typed once on the device within ten minutes it becomes a cookie of
256 random bits there. From then on cookie and address of the device count together. Code and cookie are kept as SHA-256.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import one_line
from breakglass.models import Person
from breakglass.queries import refuse_unless
from breakglass.services import audit, step_up, typed_code
from breakglass.services.step_up import Answer
from sessions.models import Kiosk

PAIRING: Final = timedelta(minutes=10)
LONGEST_DAYS: Final = 365
SEEN_EVERY: Final = timedelta(seconds=30)
ACT: Final = "kiosk"
"""What a step-up for making one is bound to; its subject is the name."""
REVOKE: Final = "revoke kiosk"


@dataclass(frozen=True)
class IssuedKiosk:
    """`code` is shown once."""

    row: Kiosk
    code: str


@dataclass(frozen=True)
class PairedKiosk:
    """`secret` goes into the device's cookie."""

    row: Kiosk
    secret: str


def make(person: Person, name: str, days: int, answer: Answer, now: datetime) -> IssuedKiosk:
    """A kiosk that waits for its device. Raises Refused `not_allowed`, `bad_input`, and what the second factor says."""
    refuse_unless(person, Verb.MANAGE_KIOSKS)
    given, name = name, one_line(name, 64)
    if not name:
        raise refuse(RefusalCode.BAD_INPUT, problem="Name the screen, such as Control room.", needs=("name",))
    if not 1 <= days <= LONGEST_DAYS:
        raise refuse(RefusalCode.BAD_INPUT, problem=f"Between 1 and {LONGEST_DAYS} days.", needs=("days",))
    proof = step_up.verify(person, ACT, given, answer, now)
    digits = typed_code.fresh()
    with transaction.atomic():
        row = Kiosk.objects.create(
            name=name,
            pairing_sha256=_hash(digits),
            pairing_ends_at=now + PAIRING,
            created_by=person,
            created_at=now,
            expires_at=now + timedelta(days=days),
        )
        data = {"name": name, "expires_at": row.expires_at, "factor": proof.name}
        audit.append(AuditTag.KIOSK_MADE, actor=person, subject=row, now=now, data=data)
    return IssuedKiosk(row, typed_code.shown(digits))


def pair(typed: str, address: str, now: datetime) -> PairedKiosk:
    """This device becomes the kiosk. Of several at once exactly one gets it. Raises Refused `kiosk_code_wrong`, audited while
    a kiosk waits for its device, a few times a minute."""
    secret = secrets.token_urlsafe(32)
    waiting = Kiosk.objects.filter(
        pairing_sha256=_hash(typed_code.folded(typed)), pairing_ends_at__gt=now, revoked_at=None
    )
    row = waiting.first()
    with transaction.atomic():
        if row is not None and waiting.update(
            pairing_sha256=None,
            device_sha256=_hash(secret),
            device_address=address,
            paired_at=now,
            seen_at=now,
        ):
            data = {"name": row.name, "address": address}
            audit.append(AuditTag.KIOSK_PAIRED, actor=None, subject=row, now=now, data=data)
            row.refresh_from_db()
            return PairedKiosk(row, secret)
    refused = refuse(RefusalCode.KIOSK_CODE_WRONG)
    # Anybody can type here: noise while there is nothing to guess, or without end, would only fill the trail.
    if _any_waits(now) and _noise.may_be_written():
        audit.record_refusal(
            AuditTag.KIOSK_REFUSED, refused, actor=None, subject="kiosk", now=now, address=address
        )
    raise refused


class _Noise:
    """At most five wrong codes a minute are written by this process."""

    MOST: Final = 5
    SECONDS: Final = 60.0

    def __init__(self) -> None:
        self._written: deque[float] = deque(maxlen=self.MOST)

    def may_be_written(self) -> bool:
        moment = clock.monotonic()
        if len(self._written) == self.MOST and moment - self._written[0] < self.SECONDS:
            return False
        self._written.append(moment)
        return True


_noise = _Noise()


def _any_waits(now: datetime) -> bool:
    waiting = Kiosk.objects.filter(pairing_sha256__isnull=False, pairing_ends_at__gt=now, revoked_at=None)
    return bool(waiting.exists())


def of_device(secret: str, address: str, now: datetime) -> Kiosk | None:
    """The kiosk that this device is, while it is one."""
    if not secret:
        return None
    row = Kiosk.objects.filter(
        device_sha256=_hash(secret), device_address=address, revoked_at=None, expires_at__gt=now
    ).first()
    if row is not None and (row.seen_at is None or now - row.seen_at >= SEEN_EVERY):
        Kiosk.objects.filter(pk=row.pk).update(seen_at=now)
    return row


def revoke(kiosk_id: UUID, person: Person, answer: Answer, now: datetime) -> None:
    """It shows nothing any more. Raises Refused `not_allowed`, `not_found`, and what the second factor says."""
    refuse_unless(person, Verb.MANAGE_KIOSKS)
    if not standing(now).filter(pk=kiosk_id).exists():
        raise refuse(RefusalCode.NOT_FOUND, what="kiosk")
    proof = step_up.verify(person, REVOKE, kiosk_id, answer, now)
    with transaction.atomic():
        if not standing(now).filter(pk=kiosk_id).update(revoked_at=now, revoked_by=person):
            raise refuse(RefusalCode.NOT_FOUND, what="kiosk")
        row = Kiosk.objects.get(pk=kiosk_id)
        data = {"name": row.name, "factor": proof.name}
        audit.append(AuditTag.KIOSK_REVOKED, actor=person, subject=row, now=now, data=data)


def standing(now: datetime) -> QuerySet[Kiosk]:
    """Those that show something, or wait for their device."""
    return Kiosk.objects.filter(revoked_at=None, expires_at__gt=now).exclude(
        device_sha256=None, pairing_ends_at__lte=now
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
