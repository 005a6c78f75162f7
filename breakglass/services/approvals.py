"""Decisions on requests: distinct people, never the requester, each with a second factor given for this one."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction

from breakglass import clock, doorbell
from breakglass.domain import approvals, policy
from breakglass.domain.approvals import Verdict
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import Verb, may
from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.domain.requests import RequestState
from breakglass.domain.text import plain
from breakglass.models import AccessRequest, Approval, Grant, Person
from breakglass.queries import (
    actor_of,
    approvers_of,
    decisions_on,
    lock_facts,
    person_facts,
    person_lock,
    rule_of,
    submit_facts,
    thing_of_request,
)
from breakglass.services import audit, extensions, grants, matching, notices, requests, step_up
from breakglass.services.step_up import Answer, FactorProof

MOST_COMMENT = 2000


def approve(
    request_id: UUID,
    person: Person,
    answer: Answer,
    comment: str,
    now: datetime,
    *,
    number: int | None = None,
) -> AccessRequest:
    """Say yes. When the playbook's quorum is reached the grant is issued, or made longer, in the same transaction.

    Raises Refused (audited): `own_request` first of all, then `not_an_approver`, `already_decided`,
    `request_lapsed`, `request_not_pending`, `locked`, whatever the second factor says, and what stands against the request now.
    `number`: what the approver says that the requester sees; a wrong one is `match_number_wrong` and uses no factor up.
    """
    return _decide(request_id, person, answer, comment, Verdict.APPROVED, now, number)


def deny(request_id: UUID, person: Person, answer: Answer, comment: str, now: datetime) -> AccessRequest:
    """Say no, with a comment: one no is enough. Raises Refused as `approve`."""
    return _decide(request_id, person, answer, comment, Verdict.DENIED, now)


def take_back(request_id: UUID, person: Person, now: datetime) -> AccessRequest:
    """Their own yes, while the request still waits for others: as if it hadn't been given, but for the trail. They may
    decide anew, with another second factor.

    Raises Refused `not_found`, `bad_input` where they gave none, `request_lapsed`, `request_not_pending`: what was
    approved is taken back by revoking its grant.
    """
    found = AccessRequest.objects.select_related("playbook").filter(pk=request_id).first()
    if found is None or not may(actor_of(person), Verb.SEE_REQUEST, thing_of_request(found)):
        raise refuse(RefusalCode.NOT_FOUND, what="request")
    with transaction.atomic():
        locked = AccessRequest.objects.select_for_update(no_key=True, of=("self",))
        request = locked.select_related("playbook", "requester", "incident").get(pk=request_id)
        requests.refuse_decided(request, now)
        own = Approval.objects.filter(request=request, person=person, verdict=Verdict.APPROVED).first()
        if own is None:
            raise refuse(RefusalCode.BAD_INPUT, problem="There is no yes of yours to take back.")
        data = {"request": request.label, "given_at": own.decided_at, "factor": own.factor}
        own.delete()
        audit.append(AuditTag.APPROVAL_TAKEN_BACK, actor=person, subject=request, now=now, data=data)
        doorbell.ring(f"request:{request.pk}")
        doorbell.ring("inbox")
    return request


def _decide(
    request_id: UUID,
    person: Person,
    answer: Answer,
    comment: str,
    verdict: Verdict,
    now: datetime,
    number: int | None = None,
) -> AccessRequest:
    request = (
        AccessRequest.objects.select_related("playbook", "requester", "incident")
        .filter(pk=request_id)
        .first()
    )
    if request is None or not may(actor_of(person), Verb.SEE_REQUEST, thing_of_request(request)):
        raise refuse(RefusalCode.NOT_FOUND, what="request")
    comment, began = plain(comment, MOST_COMMENT), clock.monotonic()
    try:
        _refuse_unfit(request, person, verdict, comment, now)
        matching.refuse_mismatch(request, person, number)
        action = "approve" if verdict is Verdict.APPROVED else "deny"
        proof = step_up.verify(person, action, request_id, answer, now)
        with transaction.atomic():
            return _commit(
                request_id, person, proof, comment, verdict, now, began, matched=number is not None
            )
    except Refused as refused:
        audit.record_refusal(
            AuditTag.APPROVAL_REFUSED, refused, actor=person, subject=request, now=now, verdict=str(verdict)
        )
        raise


def _refuse_unfit(
    request: AccessRequest, person: Person, verdict: Verdict, comment: str, now: datetime
) -> None:
    facts = person_facts(person)
    if not facts.active:
        raise refuse(RefusalCode.PERSON_INACTIVE, person=person.username)
    objection = approvals.objection(
        rule_of(request.playbook),
        requester_id=request.requester_id,
        person_id=person.pk,
        person_groups=facts.groups,
        decisions=decisions_on(request),
    )
    if objection is not None:
        raise Refused(objection)
    requests.refuse_decided(request, now)
    if verdict is Verdict.DENIED and not comment:
        raise refuse(RefusalCode.BAD_INPUT, problem="Say why: the requester reads it.", needs=("comment",))
    if verdict is Verdict.APPROVED:
        # Whoever is locked out, or comes from a vendor, may still say no.
        if person.is_vendor:
            raise refuse(RefusalCode.NOT_ALLOWED, verb="give a vendor's consent", who="one of our own people")
        locked = person_lock(person)
        if locked is not None:
            raise Refused(locked)
        refuse_standing(request, now)


def refuse_standing(request: AccessRequest, now: datetime) -> None:
    """What was fine when it was asked may be locked, closed or disabled now. The pinned version is what counts."""
    if request.extends_id is not None:
        extensions.refuse_unfit(request, now)
    assets = tuple(request.assets.values_list("name", flat=True))
    ask = policy.Submit(request.playbook.slug, assets, request.login or None, request.minutes, request.reason)
    facts = submit_facts(request.requester, request.playbook, request.incident_id, assets, pinned=True)
    decision = policy.decide(ask, facts, now)
    if not isinstance(decision, policy.Allow):
        raise Refused(decision.refusal)


def _commit(
    request_id: UUID,
    person: Person,
    proof: FactorProof,
    comment: str,
    verdict: Verdict,
    now: datetime,
    began: float,
    *,
    matched: bool,
) -> AccessRequest:
    request = (
        AccessRequest.objects.select_for_update(no_key=True, of=("self",))
        .select_related("playbook", "requester", "incident")
        .get(pk=request_id)
    )
    longer = extensions.lock_grant(request)
    _refuse_unfit(request, person, verdict, comment, now)
    try:
        with transaction.atomic():
            Approval.objects.create(
                request=request,
                person=person,
                verdict=verdict,
                comment=comment,
                factor=proof.name,
                decided_at=now,
            )
    except IntegrityError:
        raise refuse(RefusalCode.ALREADY_DECIDED) from None
    tag = AuditTag.APPROVAL_GIVEN if verdict is Verdict.APPROVED else AuditTag.APPROVAL_DENIED
    data = {"request": request.label, "comment": comment, "factor": proof.name, "matched": matched}
    audit.append(tag, actor=person, subject=request, now=now, data=data)
    # However long the locks took to get, an end that came meanwhile has come.
    waited = timedelta(seconds=clock.monotonic() - began)
    _tally(request, person, now, longer, now + waited)
    doorbell.ring(f"request:{request.pk}")
    return request


def _standing(request: AccessRequest) -> list[approvals.Decision]:
    """The decisions of whoever could decide today: a yes of an account that was disabled or locked since, or of a vendor's
    person, makes no grant."""
    locks = lock_facts()
    able = {person.pk: person.is_vendor for person in approvers_of(request)}
    return [
        decision
        for decision in decisions_on(request)
        if decision.person_id in able
        and (
            decision.verdict is Verdict.DENIED
            or (not able[decision.person_id] and policy.person_lock(locks, decision.person_id) is None)
        )
    ]


def _tally(
    request: AccessRequest, person: Person, now: datetime, longer: Grant | None, moment: datetime
) -> None:
    outcome = approvals.outcome(
        rule_of(request.playbook), requester_id=request.requester_id, decisions=_standing(request)
    )
    if outcome is None:
        return
    target = RequestState.APPROVED if outcome is Verdict.APPROVED else RequestState.DENIED
    if not requests.advance(request, target, by=person, now=now):
        requests.refuse_decided(request, now)
    if target is RequestState.APPROVED and longer is not None:
        extensions.lengthen(request, longer, moment)
    elif target is RequestState.APPROVED:
        grants.issue(request, now)
    notices.queue(
        [request.requester],
        topic=f"request:{request.pk}",
        subject=f"{request.label} was {target}",
        body=f"{request.title}: {target} by {person.get_full_name()}.",
        path=f"/requests/{request.pk}/",
        now=now,
    )
