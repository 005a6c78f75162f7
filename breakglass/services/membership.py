"""People who join and leave, by an administrator at the page, with a fresh factor of their own.

Who joins has no password: they choose it themselves where they type the enrolment code that was handed to them, so nobody
else ever knows it. Who leaves is disabled: out at once, everything of theirs kept, and let in again the same way. All
administrators and auditors are told, since an administrator alone can do both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import ADMINISTRATORS, AUDITORS, WHO_CAN, Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import one_line
from breakglass.models import AuditEvent, EnrolmentCode, Person
from breakglass.queries import people_in, refuse_unless
from breakglass.services import audit, enrolment, notices, people, second_factor, step_up
from breakglass.services.enrolment import IssuedEnrolment
from breakglass.services.step_up import Answer

ADD: Final = "add person"
"""What a step-up for adding one is bound to; its subject is the user name as it was typed."""
DISABLE: Final = "disable person"
ENABLE: Final = "enable person"
MOST_WRONG: Final = 30
HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Newcomer:
    """`vendor`: the company that sends them; empty for our own people."""

    username: str
    full_name: str
    email: str
    vendor: str
    groups: tuple[str, ...]


def add(new: Newcomer, by: Person, answer: Answer, now: datetime) -> IssuedEnrolment:
    """A new person, and the code with which they choose a password and enrol a second factor.

    Raises Refused: `not_allowed`, `bad_input` naming the field, and what the second factor says.
    """
    refuse_unless(by, Verb.MANAGE_PEOPLE)
    # Before the factor: a typing mistake costs no code.
    people.checked(
        new.username, full_name=new.full_name, email=new.email, vendor=new.vendor, groups=new.groups
    )
    proof = step_up.verify(by, ADD, new.username, answer, now)
    with transaction.atomic():
        person = people.create(
            username=new.username,
            full_name=new.full_name,
            email=new.email,
            password=None,
            groups=new.groups,
            by=by,
            now=now,
            vendor=new.vendor,
        )
        issued = enrolment.mint(person, by, now, factor=proof.name)
        roles = ", ".join(sorted(new.groups)) or "no group"
        _tell(person, by, f"{person.get_full_name()} was added", f"They are in: {roles}.", now)
    return issued


def disable(person_id: UUID, by: Person, reason: str, answer: Answer, now: datetime) -> None:
    """Out at once: pages, sessions, tokens. Raises Refused: `not_allowed` also for oneself, `not_found`, `bad_input`."""
    person, data = _other(person_id, by, DISABLE, reason, answer, now, is_active=True)
    with transaction.atomic():
        people.disable(person, by=by, now=now, data=data)
        # The trail has put us in a row: of two administrators who disable each other the second is out by now.
        if not Person.objects.filter(pk=by.pk, is_active=True).exists():
            raise refuse(RefusalCode.NOT_ALLOWED, verb=Verb.MANAGE_PEOPLE, who=WHO_CAN[Verb.MANAGE_PEOPLE])
        _tell(person, by, f"{person.get_full_name()} was disabled", f"Why: {data['reason']}", now)


def enable(person_id: UUID, by: Person, reason: str, answer: Answer, now: datetime) -> None:
    """They log in as before, with the factors that they have. Raises Refused as `disable`."""
    person, data = _other(person_id, by, ENABLE, reason, answer, now, is_active=False)
    with transaction.atomic():
        people.enable(person, by=by, now=now, data=data)
        _tell(person, by, f"{person.get_full_name()} may log in again", f"Why: {data['reason']}", now)


def begin(username: str, typed: str, password: str, now: datetime) -> tuple[Person, EnrolmentCode]:
    """Who was added chooses a password, by their enrolment code, which isn't used up by this.

    Raises Refused: `enrolment_code_wrong`, the same for who isn't there, is disabled, or has a password or a factor;
    `bad_input` for a password that is too easy, said only to who has the code.
    """
    person = Person.objects.filter(username=username, is_active=True).first()
    if person is None or not _new(person):
        raise refuse(RefusalCode.ENROLMENT_CODE_WRONG)
    code = enrolment.find(person, typed, now)
    if code is None:
        _note_wrong(person, now)
        raise refuse(RefusalCode.ENROLMENT_CODE_WRONG)
    try:
        validate_password(password, person)
    except ValidationError as error:
        raise refuse(RefusalCode.BAD_INPUT, problem=" ".join(error.messages), needs=("password",)) from None
    with transaction.atomic():
        locked = Person.objects.select_for_update(no_key=True).get(pk=person.pk)
        if not _new(locked):
            raise refuse(RefusalCode.ENROLMENT_CODE_WRONG)
        locked.set_password(password)
        locked.save(update_fields=("password",))
        data = {"code": code.pk}
        audit.append(AuditTag.PERSON_PASSWORD_CHOSEN, actor=locked, subject=locked, now=now, data=data)
    return locked, code


def _new(person: Person) -> bool:
    return not person.has_usable_password() and not second_factor.has_factor(person)


def _note_wrong(person: Person, now: datetime) -> None:
    """A code has 50 random bits: nobody guesses one, so nobody is locked out; strangers fill no trail either."""
    rows = AuditEvent.objects.filter(subject=f"person:{person.pk}", tag=AuditTag.ENROLMENT_CODE_REFUSED)
    if sum(row.at > now - HOUR for row in rows.order_by("-seq")[:MOST_WRONG]) < MOST_WRONG:
        refused = refuse(RefusalCode.ENROLMENT_CODE_WRONG)
        audit.record_refusal(
            AuditTag.ENROLMENT_CODE_REFUSED, refused, actor=person.username, subject=person, now=now
        )


def _other(
    person_id: UUID, by: Person, action: str, reason: str, answer: Answer, now: datetime, *, is_active: bool
) -> tuple[Person, dict[str, object]]:
    """Whom it is about, and what the trail says of why."""
    refuse_unless(by, Verb.MANAGE_PEOPLE)
    person = Person.objects.filter(pk=person_id, is_active=is_active).first()
    if person is None:
        raise refuse(RefusalCode.NOT_FOUND, what="person")
    if person.pk == by.pk:
        raise refuse(RefusalCode.NOT_ALLOWED, verb="do that to yourself", who="another administrator")
    reason = one_line(reason, 300)
    if not reason:
        raise refuse(RefusalCode.BAD_INPUT, problem="Say why.", needs=("reason",))
    proof = step_up.verify(by, action, person.pk, answer, now)
    return person, {"reason": reason, "factor": proof.name}


def _tell(person: Person, by: Person, subject: str, body: str, now: datetime) -> None:
    watchers: Iterable[Person] = people_in([ADMINISTRATORS, AUDITORS])
    notices.queue(
        [one for one in watchers if one.pk != person.pk],
        topic=f"person:{person.pk}",
        subject=f"{subject} by {by.get_full_name()}",
        body=f"{body}\nIf that isn't right, an administrator can disable {person.username} on the page People.",
        path="/",
        now=now,
    )
