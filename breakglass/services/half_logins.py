"""The second factor of whoever has given a password and nothing else: counted apart from the person's own codes.

Somebody who stole a password may type wrong codes all night. That must not hold up the person's approvals, kills and
ssh logins, nor their login elsewhere: failures count by person and client address (5 in 5 min), and by person (30 codes
of the app in an hour; 90 in a million against a guess). What is counted are the audit rows of the failures. A recovery
code has 80 random bits, needs no bound for the person, and so opens also while codes of the app wait.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.models import AuditEvent, Notice, Person
from breakglass.services import audit, notices, second_factor
from breakglass.services.proof import FactorProof

FREE: Final = 5
WINDOW: Final = timedelta(minutes=5)
MOST: Final = 30
HOUR: Final = timedelta(hours=1)
TOLD_AT: Final = 10


def verify(person: Person, code: str, address: str, now: datetime, *, recovery: bool = False) -> FactorProof:
    """That the code is right, fresh and unused; it is used up by this. Call it outside a transaction.

    Raises Refused: `second_factor_required`, `second_factor_wrong`, `second_factor_used`, which are written and count,
    but for no code at all; `throttled`, which isn't.
    """
    if not code.strip():
        raise refuse(RefusalCode.SECOND_FACTOR_REQUIRED)
    with transaction.atomic():
        # One after another: however many are sent at once, no more than the bound are looked at.
        Person.objects.select_for_update(no_key=True).get(pk=person.pk)
        failures = _failures(person, now)
        outcome = _throttled(failures, address, now, recovery) or second_factor.check(
            person, code, now, recovery=recovery
        )
        if isinstance(outcome, Refused) and outcome.refusal.code is not RefusalCode.THROTTLED:
            _note(person, outcome, address, len(failures) + 1, now)
    if isinstance(outcome, Refused):
        raise outcome
    return outcome


def _failures(person: Person, now: datetime) -> list[AuditEvent]:
    """Of the last hour, the newest first, no more than matter."""
    rows = AuditEvent.objects.filter(subject=_subject(person), tag=AuditTag.FACTOR_REFUSED)
    return [row for row in rows.order_by("-seq")[:MOST] if row.at > now - HOUR]


def _throttled(failures: list[AuditEvent], address: str, now: datetime, recovery: bool) -> Refused | None:
    here = [row.at for row in failures if row.at > now - WINDOW and row.data["address"] == address]
    if len(here) >= FREE:
        return _wait(here[FREE - 1] + WINDOW, now)
    if len(failures) >= MOST and not recovery:
        return _wait(failures[-1].at + HOUR, now)
    return None


def _wait(until: datetime, now: datetime) -> Refused:
    return refuse(RefusalCode.THROTTLED, seconds=int((until - now).total_seconds()) + 1)


def _note(person: Person, refused: Refused, address: str, count: int, now: datetime) -> None:
    if count > MOST:
        # Only of recovery codes: enough of them is on record for the hour, and no guess comes near one.
        return
    said = {"refusal": str(refused.refusal.code), "message": refused.refusal.message, "address": address}
    audit.append(AuditTag.FACTOR_REFUSED, actor=person, subject=_subject(person), now=now, data=said)
    topic = _subject(person)
    if count < TOLD_AT or Notice.objects.filter(topic=topic, created_at__gt=now - HOUR).exists():
        return
    notices.queue(
        [person],
        topic=topic,
        subject="Somebody who knows your password types wrong codes",
        body=f"{count} wrong codes within an hour at the login, the last from {address}. If that wasn't you, your password is "
        "known to somebody: tell an administrator. Where you are logged in, your codes work as ever.",
        path="/profile/",
        now=now,
    )


def _subject(person: Person) -> str:
    return f"half-login:{person.pk}"
