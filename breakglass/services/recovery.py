"""Enrolment codes from administrators, and the way back for who lost every second factor: two administrators.

One administrator, with a fresh factor, lets a person who has no factor enrol one. Where a person has factors that are
lost, one administrator asks with a reason, a second confirms: the old factors go, web logins end, and the second one
is shown the enrolment code to hand over. Neither of the two is the person. The person and all administrators are told.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.sessions.models import Session
from django.db import IntegrityError, transaction
from django_otp_webauthn.models import WebAuthnCredential

from breakglass import doorbell
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import ADMINISTRATORS, Verb, may
from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.domain.text import one_line
from breakglass.models import FactorRecovery, Person, RecoveryCodes, TotpFactor
from breakglass.queries import actor_of, people_in, refuse_unless
from breakglass.services import audit, enrolment, notices, second_factor, step_up
from breakglass.services.enrolment import IssuedEnrolment
from breakglass.services.step_up import Answer

LIFE = timedelta(hours=24)
"""A first word that nobody confirmed counts for so long."""


def issue_code(person_id: UUID, by: Person, answer: Answer, now: datetime) -> IssuedEnrolment:
    """An enrolment code for a person who has no second factor, by an administrator with a fresh one of their own.

    Raises Refused: `not_allowed` also for oneself, `not_found`, `bad_input` where the person has a factor.
    """
    person = _person(person_id, by)
    _refuse_self(person, by)
    _refuse_factor(person)
    proof = step_up.verify(by, "enrolment code", person.pk, answer, now)
    with transaction.atomic():
        Person.objects.select_for_update(no_key=True).get(pk=person.pk)
        _refuse_factor(person)
        issued = enrolment.mint(person, by, now, factor=proof.name)
        _tell(person, "An enrolment code was issued", f"{by.get_full_name()} issued it.", now)
    return issued


def issue_by_operator(person: Person, now: datetime) -> IssuedEnrolment:
    """An enrolment code from the operator's shell: for the first administrator, and where no other one could act.

    Raises Refused `not_allowed` while an active administrator other than the person has a second factor.
    """
    others = [one for one in people_in([ADMINISTRATORS]) if one.pk != person.pk and one.is_active]
    if any(second_factor.has_factor(one) for one in others):
        raise refuse(
            RefusalCode.NOT_ALLOWED,
            verb="issue enrolment codes at the shell",
            who="an administrator: page People",
        )
    with transaction.atomic():
        Person.objects.select_for_update(no_key=True).get(pk=person.pk)
        removed = _remove_factors(person, None, now)
        issued = enrolment.mint(person, None, now)
        if removed:
            _tell(person, "Second factors were removed", "The operator did it at the shell.", now)
    return issued


def ask(person_id: UUID, by: Person, reason: str, answer: Answer, now: datetime) -> FactorRecovery:
    """The first word: this person lost every second factor. Nothing changes until a second administrator confirms.

    Raises Refused (audited): `recovery_takes_two` for oneself, `bad_input` without a reason, where there is nothing to
    recover or a recovery is open already.
    """
    person = _person(person_id, by)
    reason = one_line(reason, 300)
    try:
        _refuse_same(person, by)
        if not reason:
            raise refuse(
                RefusalCode.BAD_INPUT, problem="Say how you know that it is them.", needs=("reason",)
            )
        if not (second_factor.has_factor(person) or _remnants(person)):
            raise refuse(RefusalCode.BAD_INPUT, problem="They have no factor: issue an enrolment code.")
        proof = step_up.verify(by, "ask recovery", person.pk, answer, now)
        with transaction.atomic():
            return _ask(person, by, reason, proof.name, now)
    except Refused as refused:
        audit.record_refusal(AuditTag.RECOVERY_REFUSED, refused, actor=by, subject=person, now=now)
        raise


def confirm(recovery_id: UUID, by: Person, answer: Answer, now: datetime) -> IssuedEnrolment:
    """The second word. The person's factors are gone, their web logins over, and a code lets them enrol anew.

    Raises Refused (audited): `recovery_takes_two` for who asked and for the person, `not_found` where it is decided.
    """
    recovery = _open(recovery_id, by)
    person = recovery.person
    try:
        _refuse_same(person, by)
        if recovery.asked_by_id == by.pk:
            raise refuse(RefusalCode.RECOVERY_TAKES_TWO, problem="you asked for it")
        proof = step_up.verify(by, "confirm recovery", recovery.pk, answer, now)
        with transaction.atomic():
            Person.objects.select_for_update(no_key=True).get(pk=person.pk)
            _refuse_gone(recovery, now)
            _decide(recovery, by, proof.name, True, now)
            _remove_factors(person, by, now)
            issued = enrolment.mint(person, by, now, factor=proof.name, recovery=recovery.pk)
            data = {"recovery": recovery.pk, "factor": proof.name, "asked_by": recovery.asked_by.username}
            audit.append(AuditTag.RECOVERY_CONFIRMED, actor=by, subject=person, now=now, data=data)
            words = f"{recovery.asked_by.get_full_name()} asked, {by.get_full_name()} confirmed: {recovery.reason}"
            _tell(person, "Second factors were removed", words, now)
    except Refused as refused:
        audit.record_refusal(AuditTag.RECOVERY_REFUSED, refused, actor=by, subject=person, now=now)
        raise
    return issued


def decline(recovery_id: UUID, by: Person, now: datetime) -> None:
    """Any administrator, or the person whose factors they are, says no; who asked may take it back so."""
    recovery = _open(recovery_id, by)
    with transaction.atomic():
        _decide(recovery, by, "", False, now)
        data = {"recovery": recovery.pk}
        audit.append(AuditTag.RECOVERY_DECLINED, actor=by, subject=recovery.person, now=now, data=data)


def _ask(person: Person, by: Person, reason: str, factor: str, now: datetime) -> FactorRecovery:
    stale = FactorRecovery.objects.filter(person=person, decided_at=None, asked_at__lt=now - LIFE)
    stale.update(decided_at=now)
    try:
        with transaction.atomic():
            made = FactorRecovery.objects.create(
                person=person, reason=reason, asked_by=by, asked_at=now, asked_factor=factor
            )
    except IntegrityError:
        raise refuse(RefusalCode.BAD_INPUT, problem="A recovery is open for them already.") from None
    data = {"recovery": made.pk, "reason": reason, "factor": factor}
    audit.append(AuditTag.RECOVERY_ASKED, actor=by, subject=person, now=now, data=data)
    words = f"{by.get_full_name()} asks: {reason}\nAnother administrator confirms or declines it."
    _tell(person, "A recovery of second factors was asked for", words, now)
    return made


def _decide(recovery: FactorRecovery, by: Person, factor: str, confirmed: bool, now: datetime) -> None:
    """A compare-and-set: of two at once one decides."""
    # Who asked may take it back, which the table calls undecided by another: its own word stands in asked_by.
    decided_by = None if by.pk == recovery.asked_by_id else by
    still_open = FactorRecovery.objects.filter(pk=recovery.pk, decided_at=None)
    if not still_open.update(
        decided_by=decided_by, decided_at=now, decided_factor=factor, confirmed=confirmed
    ):
        raise refuse(RefusalCode.NOT_FOUND, what="open recovery")


def _remove_factors(person: Person, by: Person | None, now: datetime) -> int:
    """Every factor of the person, and every web login of theirs."""
    kinds = [
        *(("app", row) for row in TotpFactor.objects.filter(user=person)),
        *(("passkey", row) for row in WebAuthnCredential.objects.filter(user=person)),
    ]
    for kind, row in kinds:
        data = {"kind": kind, "name": row.name}
        row.delete()
        audit.append(AuditTag.FACTOR_REMOVED, actor=by, subject=person, now=now, data=data)
    RecoveryCodes.objects.filter(user=person).delete()
    _end_logins(person)
    doorbell.ring("sessions", why="person")
    return len(kinds)


def _end_logins(person: Person) -> None:
    """Their browsers are logged out. Without their device no login counts anyway; this forgets it too."""
    for row in list(Session.objects.all()):
        if row.get_decoded().get("_auth_user_id") == str(person.pk):
            row.delete()


def _tell(person: Person, subject: str, body: str, now: datetime) -> None:
    notices.queue(
        [person, *people_in([ADMINISTRATORS])],
        topic=f"factors:{person.pk}",
        subject=f"{subject}: {person.username}",
        body=f"{body}\nIf that isn't right, an administrator can disable the person.",
        path="/profile/",
        now=now,
    )


def _person(person_id: UUID, by: Person) -> Person:
    refuse_unless(by, Verb.MANAGE_PEOPLE)
    person = Person.objects.filter(pk=person_id, is_active=True).first()
    if person is None:
        raise refuse(RefusalCode.NOT_FOUND, what="person")
    return person


def _open(recovery_id: UUID, by: Person) -> FactorRecovery:
    rows = FactorRecovery.objects.select_related("person", "asked_by")
    recovery = rows.filter(pk=recovery_id, decided_at=None).first()
    if recovery is None or recovery.person_id != by.pk:
        refuse_unless(by, Verb.MANAGE_PEOPLE)
    if recovery is None:
        raise refuse(RefusalCode.NOT_FOUND, what="open recovery")
    return recovery


def _remnants(person: Person) -> bool:
    """A passkey that was barred as a copy is no factor any more, but still theirs."""
    return bool(WebAuthnCredential.objects.filter(user=person).exists())


def _refuse_self(person: Person, by: Person) -> None:
    if person.pk == by.pk:
        raise refuse(RefusalCode.NOT_ALLOWED, verb="issue a code for yourself", who="another administrator")


def _refuse_same(person: Person, by: Person) -> None:
    if person.pk == by.pk:
        raise refuse(RefusalCode.RECOVERY_TAKES_TWO, problem="you are the person")


def _refuse_gone(recovery: FactorRecovery, now: datetime) -> None:
    """The first word counts while whoever gave it may still give it, and for a day."""
    asked_by = recovery.asked_by
    if not may(actor_of(Person.objects.get(pk=asked_by.pk)), Verb.MANAGE_PEOPLE):
        problem = f"{asked_by.get_full_name()}, who asked, may not ask for it any more"
        raise refuse(RefusalCode.RECOVERY_TAKES_TWO, problem=problem)
    if now - recovery.asked_at > LIFE:
        raise refuse(
            RefusalCode.RECOVERY_TAKES_TWO, problem="it was asked for more than a day ago; ask again"
        )


def _refuse_factor(person: Person) -> None:
    # A passkey that was barred as a copy is a sign of an attack: one administrator isn't enough then either.
    if second_factor.has_factor(person) or _remnants(person):
        problem = f"{person.username} has a second factor. When it is lost, ask for a recovery: it takes two of you."
        raise refuse(RefusalCode.BAD_INPUT, problem=problem)
