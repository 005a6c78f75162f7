"""One-time connect codes: the way in from a machine that has no key of the person's. Once, within 60 s, one grant."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.models import ConnectCode, Person
from breakglass.services import audit, grants, step_up, typed_code
from breakglass.services.step_up import Answer

LIFE = timedelta(seconds=60)


@dataclass(frozen=True)
class IssuedCode:
    """`code` is shown once; the broker keeps only its SHA-256."""

    row: ConnectCode
    code: str


def issue(person: Person, grant_id: UUID, answer: Answer, now: datetime) -> IssuedCode:
    """A fresh code for the person's own live grant, for a fresh second factor. It voids the one before.

    Raises Refused (audited): whatever is against the grant or the code of the second factor.
    """
    grant = grants.held(grant_id, person, now)
    try:
        proof = step_up.verify(person, "connect code", grant_id, answer, now)
    except Refused as refused:
        audit.record_refusal(AuditTag.CONNECT_CODE_REFUSED, refused, actor=person, subject=grant, now=now)
        raise
    digits = typed_code.fresh()
    with transaction.atomic():
        grant.connect_codes.filter(used_at=None, expires_at__gt=now).update(expires_at=now)
        row = ConnectCode.objects.create(
            person=person, grant=grant, sha256=_hash(digits), created_at=now, expires_at=now + LIFE
        )
        data = {"code": row.pk, "factor": proof.name, "expires_at": row.expires_at}
        audit.append(AuditTag.CONNECT_CODE_ISSUED, actor=person, subject=grant, now=now, data=data)
    return IssuedCode(row, typed_code.shown(digits))


def redeem(username: str, asset: str, typed: str, address: str, now: datetime) -> ConnectCode:
    """Use the code up. Raises Refused `connect_code_wrong`, whatever is wrong with it; then nothing is used up.

    Of several at once exactly one gets it: a compare-and-set on the row itself.
    """
    row = (
        ConnectCode.objects.select_related("person", "grant")
        .filter(sha256=_hash(typed), person__username=username, person__is_active=True)
        .filter(grant__assets__name=asset)
        .first()
    )
    if row is None:
        raise refuse(RefusalCode.CONNECT_CODE_WRONG)
    with transaction.atomic():
        unused = ConnectCode.objects.filter(pk=row.pk, used_at=None, expires_at__gt=now)
        if not unused.update(used_at=now, used_from=address):
            raise refuse(RefusalCode.CONNECT_CODE_WRONG)
        data = {"code": row.pk, "asset": asset, "address": address}
        audit.append(AuditTag.CONNECT_CODE_USED, actor=row.person, subject=row.grant, now=now, data=data)
    return row


def _hash(typed: str) -> str:
    return hashlib.sha256(typed_code.folded(typed).encode()).hexdigest()
