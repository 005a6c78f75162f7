"""What lets a person enrol a second factor: for the first one an administrator's one-time code, for another the first.

A password alone enrols nothing: whoever had stolen it would make the second factor theirs. Codes are 50 random bits,
kept as SHA-256, good for one person, once, for a day. `services/recovery.py` issues them for administrators.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import EnrolmentCode, Person
from breakglass.services import audit, challenges, typed_code
from breakglass.services.proof import FactorProof

LIFE = timedelta(hours=24)
# What lets a factor be enrolled: the id of an enrolment code, or a factor that was given just now.
Permit = UUID | FactorProof


@dataclass(frozen=True)
class IssuedEnrolment:
    """`code` is shown once; the broker keeps only its SHA-256."""

    row: EnrolmentCode
    code: str


def mint(person: Person, by: Person | None, now: datetime, **data: object) -> IssuedEnrolment:
    """A fresh code, in the caller's transaction. It voids those before. `by` None: the operator at the shell."""
    digits = typed_code.fresh()
    EnrolmentCode.objects.filter(person=person, used_at=None, expires_at__gt=now).update(expires_at=now)
    row = EnrolmentCode.objects.create(
        person=person, sha256=_hash(digits), issued_by=by, issued_at=now, expires_at=now + LIFE
    )
    found = {"code": row.pk, "expires_at": row.expires_at, **data}
    audit.append(AuditTag.ENROLMENT_CODE_ISSUED, actor=by, subject=person, now=now, data=found)
    return IssuedEnrolment(row, typed_code.shown(digits))


def find(person: Person, typed: str, now: datetime) -> EnrolmentCode | None:
    """The code of this person that was typed, while it is good."""
    standing = EnrolmentCode.objects.filter(person=person, used_at=None, expires_at__gt=now)
    return standing.filter(sha256=_hash(typed)).first()


def look(person: Person, typed: str, now: datetime) -> EnrolmentCode:
    """The code that the person typed; it isn't used up by this. Raises Refused (audited) `enrolment_code_wrong`."""
    row = find(person, typed, now)
    if row is None:
        refused = refuse(RefusalCode.ENROLMENT_CODE_WRONG)
        audit.record_refusal(AuditTag.ENROLMENT_CODE_REFUSED, refused, actor=person, subject=person, now=now)
        raise refused
    return row


def take(permit: Permit, person: Person, *, is_first: bool, now: datetime) -> dict[str, object]:
    """Use the permit up, in the transaction that stores the factor and holds the person's row. What the trail says of it.

    Raises Refused: `not_allowed` where a code is given for a second factor, `enrolment_code_wrong` where it was used
    or is over, `second_factor_used` for a `FactorProof` that has permitted a factor already.
    """
    if isinstance(permit, FactorProof):
        if not challenges.spend(b"enrolment:" + permit.name.encode(), now):
            raise refuse(RefusalCode.SECOND_FACTOR_USED)
        return {"by": permit.name}
    if not is_first:
        raise refuse(RefusalCode.NOT_ALLOWED, verb="enrol another second factor so", who="an administrator")
    unused = EnrolmentCode.objects.filter(pk=permit, person=person, used_at=None, expires_at__gt=now)
    if not unused.update(used_at=now):
        raise refuse(RefusalCode.ENROLMENT_CODE_WRONG)
    audit.append(AuditTag.ENROLMENT_CODE_USED, actor=person, subject=person, now=now, data={"code": permit})
    return {"by": f"enrolment code {permit}"}


def _hash(typed: str) -> str:
    return hashlib.sha256(b"enrolment:" + typed_code.folded(typed).encode()).hexdigest()
