"""The number that requester and approver compare: made with the request, checked before a factor is used up."""

from __future__ import annotations

import secrets

from breakglass.domain import matching
from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import AccessRequest, AuditEvent, Person
from breakglass.services import audit, vault


def fresh() -> int:
    return matching.LEAST + secrets.randbelow(matching.MOST - matching.LEAST + 1)


def choices(request: AccessRequest, person: Person) -> tuple[int, ...]:
    """What the approver picks from; empty where they type it: after a wrong one, or where there is no number."""
    if request.match_number is None or wrong_picks(request, person) >= matching.WRONG_BEFORE_TYPING:
        return ()
    secret = vault.derive("match-number") + request.pk.bytes
    return matching.choices(request.match_number, secret)


def refuse_mismatch(request: AccessRequest, person: Person, number: int | None) -> None:
    """Raises Refused `match_number_wrong`; after three wrong ones `not_allowed`. None: nobody was asked for it."""
    if number is None or request.match_number is None:
        return
    if wrong_picks(request, person) >= matching.MOST_WRONG:
        verb = f"approve {request.label} after {matching.MOST_WRONG} wrong numbers"
        raise refuse(RefusalCode.NOT_ALLOWED, verb=verb, who="another approver")
    if number != request.match_number:
        raise refuse(RefusalCode.MATCH_NUMBER_WRONG)


def wrong_picks(request: AccessRequest, person: Person) -> int:
    """How often this person gave a wrong number for this request, as the trail has it."""
    rows = AuditEvent.objects.filter(
        subject=audit.name_of(request),
        actor=f"person:{person.pk}",
        tag__in=[AuditTag.APPROVAL_REFUSED, AuditTag.OVERRIDE_REFUSED],
    )
    code = str(RefusalCode.MATCH_NUMBER_WRONG)
    return sum(row.data.get("refusal") == code for row in rows)
