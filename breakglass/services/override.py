"""The override: when nobody answers in time, a supervisor decides alone. A path of its own: offered, given and told aloud."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from breakglass import clock, doorbell, passes
from breakglass.domain import overrides, policy
from breakglass.domain.approvals import Decision, Verdict
from breakglass.domain.audit import AuditTag
from breakglass.domain.grants import ENDED
from breakglass.domain.overrides import OverrideFacts
from breakglass.domain.permissions import ADMINISTRATORS, AUDITORS, SUPERVISORS, Verb, may
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refusal, refuse
from breakglass.domain.requests import RequestState
from breakglass.domain.text import plain
from breakglass.models import AccessRequest, Approval, AuditEvent, Grant, Person
from breakglass.queries import (
    actor_of,
    all_requests,
    approvers_of,
    inbox_of,
    people_in,
    person_lock,
    spec_of,
    thing_of_request,
)
from breakglass.services import approvals, audit, extensions, grants, matching, notices, requests, step_up
from breakglass.services.step_up import Answer, FactorProof

MOST_REASON = 2000
ACTION = "override"
LOOKED_AT = 500
# No playbook asks for a review sooner.
SOONEST_REVIEW = timedelta(hours=1)


def decide(
    request_id: UUID, person: Person, answer: Answer, reason: str, now: datetime, *, number: int | None = None
) -> AccessRequest:
    """A supervisor says yes alone: the grant is issued, or made longer, in the same transaction, and everybody is told.
    `number`: what they say that the requester sees, as for an approval.

    Raises Refused (audited): `own_request` first of all, `not_allowed` for who is no supervisor, `already_decided`,
    `override_not_offered`, `override_too_early`, `override_blocked`, `request_lapsed`, `request_not_pending`, `locked`,
    `reason_missing`, `match_number_wrong`, whatever the second factor says, and what stands against the request now.
    """
    request = _requests().filter(pk=request_id).first()
    if request is None or not may(actor_of(person), Verb.SEE_REQUEST, thing_of_request(request)):
        raise refuse(RefusalCode.NOT_FOUND, what="request")
    reason, began = plain(reason, MOST_REASON).strip(), clock.monotonic()
    try:
        _refuse_unfit(request, person, reason, now)
        matching.refuse_mismatch(request, person, number)
        proof = step_up.verify(person, ACTION, request_id, answer, now)
        with transaction.atomic():
            return _commit(request_id, person, proof, reason, now, began, matched=number is not None)
    except Refused as refused:
        audit.record_refusal(AuditTag.OVERRIDE_REFUSED, refused, actor=person, subject=request, now=now)
        raise


def objection(request: AccessRequest, person: Person, now: datetime) -> Refusal | None:
    """Why this person may not decide alone on this request now, or None."""
    actor = actor_of(person)
    if not actor.active:
        return refusal(RefusalCode.PERSON_INACTIVE, person=person.username)
    overdue = overdue_reviews([request.requester_id], now).get(request.requester_id, "")
    found = overrides.objection(
        facts_of(request, overdue), person_id=person.pk, person_groups=actor.groups, now=now
    )
    if found is None or found.code in (RefusalCode.OVERRIDE_TOO_EARLY, RefusalCode.OVERRIDE_BLOCKED):
        try:
            requests.refuse_decided(request, now)
        except Refused as no:
            return no.refusal
    return found or person_lock(person)


def facts_of(request: AccessRequest, overdue: str) -> OverrideFacts:
    """What the rule asks about this request. `overdue`: of `overdue_reviews`, for its requester."""
    decisions = [Decision(row.person_id, Verdict(row.verdict)) for row in request.approvals.all()]
    return OverrideFacts(
        label=request.label,
        requester_id=request.requester_id,
        opens_at=opens_at(request),
        never=why_never(request),
        overdue=overdue,
        decisions=tuple(decisions),
    )


def opens_at(request: AccessRequest) -> datetime:
    """From when on the override of this request is offered, where it is at all."""
    return overrides.opens_at(
        submitted_at=request.submitted_at,
        escalates_at=request.escalates_at,
        lapses_at=request.lapses_at,
        minutes=spec_of(request.playbook).override_minutes,
        extends=request.extends_id is not None,
    )


def why_never(request: AccessRequest) -> str:
    """Why nobody ever decides alone on this request; empty where a supervisor may, in time."""
    spec = spec_of(request.playbook)
    return overrides.why_never(
        allowed=spec.override_allowed,
        kinds=[asset.kind for asset in request.assets.all()],
        asset_class=str(spec.asset_class),
        for_vendor=request.requester.is_vendor,
    )


def overdue_reviews(people: Collection[UUID], now: datetime) -> dict[UUID, str]:
    """Of which of these people a review of their access is overdue, in words, in one query. A fact of the clock: no sweep
    has to have opened the review."""
    found: dict[UUID, str] = {}
    unreviewed = Grant.objects.filter(person__in=people, reviewed_at=None, ended_at__lte=now - SOONEST_REVIEW)
    rows = unreviewed.select_related("playbook", "request").defer("playbook__spec").order_by("ended_at")
    for grant in rows[:LOOKED_AT]:
        due_at = (grant.ended_at or now) + timedelta(hours=spec_of(grant.playbook).review_due_hours)
        if due_at <= now:
            words = f"the review of {grant.request.label} was due at {due_at:%Y-%m-%d %H:%M} UTC"
            found.setdefault(grant.person_id, words)
    return found


def waiting_for(person: Person, now: datetime) -> list[AccessRequest]:
    """What only this supervisor's lone decision is left for, oldest first; empty for anybody else."""
    actor = actor_of(person)
    if SUPERVISORS not in actor.groups or not actor.active:
        return []
    pending = _requests().filter(state=RequestState.PENDING, escalates_at__lte=now, lapses_at__gt=now)
    pending = pending.exclude(requester=person).exclude(extends__state__in=ENDED)
    rows = list(pending.order_by("submitted_at", "number")[:LOOKED_AT])
    overdue = overdue_reviews({row.requester_id for row in rows}, now)
    return [
        row
        for row in rows
        if overrides.objection(
            facts_of(row, overdue.get(row.requester_id, "")),
            person_id=person.pk,
            person_groups=actor.groups,
            now=now,
        )
        is None
    ]


def waits_for(person: Person, now: datetime) -> list[AccessRequest]:
    """All that this person's answer is left for: what their yes would decide, and what only their lone decision would."""
    asks = inbox_of(person, now)
    known = {ask.pk for ask in asks}
    return asks + [ask for ask in waiting_for(person, now) if ask.pk not in known]


def offer_due(now: datetime) -> int:
    """Tell the supervisors of what they may decide alone from now on. Once each; returns how many."""
    pending = _requests().filter(state=RequestState.PENDING, escalates_at__lte=now, lapses_at__gt=now)
    return passes.count(partial(_offer, now=now), pending[:LOOKED_AT])


def _offer(request: AccessRequest, now: datetime) -> bool:
    if opens_at(request) > now or why_never(request):
        return False
    with transaction.atomic():
        locked = AccessRequest.objects.select_for_update(no_key=True)
        if not locked.filter(pk=request.pk, state=RequestState.PENDING).exists():
            return False
        told = AuditEvent.objects.filter(subject=audit.name_of(request), tag=AuditTag.OVERRIDE_OFFERED)
        if told.exists():
            return False
        data = {"request": request.label, "lapses_at": request.lapses_at}
        audit.append(AuditTag.OVERRIDE_OFFERED, actor=None, subject=request, now=now, data=data)
        minutes = int((now - request.submitted_at).total_seconds() // 60)
        notices.queue(
            [person for person in people_in([SUPERVISORS]) if person.pk != request.requester_id],
            topic=f"override:{request.pk}",
            subject=f"You may decide alone: {request.requester.get_full_name()}, {request.title}",
            body=f"{request.label} has waited {minutes} minutes without an answer: {request.reason}\n"
            f"A supervisor may now decide alone, until it lapses at {request.lapses_at:%H:%M} UTC. This is loud: "
            "all approvers, administrators and auditors are told, and two reviewers judge it afterwards.",
            path=f"/requests/{request.pk}/override/",
            now=now,
        )
        doorbell.ring(f"request:{request.pk}")
        doorbell.ring("inbox")
    return True


def _refuse_unfit(request: AccessRequest, person: Person, reason: str, now: datetime) -> None:
    no = objection(request, person, now)
    if no is not None:
        raise Refused(no)
    requests.refuse_decided(request, now)
    if len(reason) < policy.LEAST_REASON:
        raise refuse(RefusalCode.REASON_MISSING, least=policy.LEAST_REASON)
    approvals.refuse_standing(request, now)


def _commit(
    request_id: UUID,
    person: Person,
    proof: FactorProof,
    reason: str,
    now: datetime,
    began: float,
    *,
    matched: bool,
) -> AccessRequest:
    locked = AccessRequest.objects.select_for_update(no_key=True, of=("self",))
    request = locked.select_related("playbook", "requester", "incident").get(pk=request_id)
    longer = extensions.lock_grant(request)
    _refuse_unfit(request, person, reason, now)
    try:
        with transaction.atomic():
            Approval.objects.create(
                request=request,
                person=person,
                verdict=Verdict.APPROVED,
                comment=reason,
                factor=proof.name,
                decided_at=now,
            )
    except IntegrityError:
        raise refuse(RefusalCode.ALREADY_DECIDED) from None
    AccessRequest.objects.filter(pk=request.pk).update(is_override=True)
    request.is_override = True
    data = {"request": request.label, "reason": reason, "factor": proof.name, "matched": matched}
    waited = {"waited_seconds": int((now - request.submitted_at).total_seconds())}
    audit.append(AuditTag.OVERRIDE_GIVEN, actor=person, subject=request, now=now, data=data | waited)
    if not requests.advance(request, RequestState.APPROVED, by=person, now=now, data={"override": True}):
        requests.refuse_decided(request, now)
    if longer is not None:
        # However long the locks took to get, an end that came meanwhile has come.
        extensions.lengthen(request, longer, now + timedelta(seconds=clock.monotonic() - began))
    else:
        grants.issue(request, now)
    _tell(request, person, reason, now)
    doorbell.ring(f"request:{request.pk}")
    return request


def _tell(request: AccessRequest, person: Person, reason: str, now: datetime) -> None:
    """Everybody who could have said no, and everybody who looks after the house. The requester reads that it was alone."""
    name, path = person.get_full_name(), f"/requests/{request.pk}/"
    facts = f"{request.requester.get_full_name()}, {request.title}, {request.label}, {request.incident}"
    notices.queue(
        [*approvers_of(request), *people_in([ADMINISTRATORS, AUDITORS, SUPERVISORS])],
        topic=f"request:{request.pk}",
        subject=f"Override: {name} decided alone on {request.label}",
        body=f"{name} gave access without the approvers: {facts}.\nTheir reason: {reason}\n"
        "The grant runs. An approver or an administrator can revoke it on its page; two reviewers judge it afterwards.",
        path=path,
        now=now,
        ways=spec_of(request.playbook).notify,
    )
    notices.queue(
        [request.requester],
        topic=f"request:{request.pk}",
        subject=f"{request.label} was approved by an override",
        body=f"{request.title}: {name} decided alone. Two reviewers judge this access afterwards.",
        path=path,
        now=now,
    )


def _requests() -> QuerySet[AccessRequest]:
    """With all that the rule asks about, however many there are."""
    return all_requests().defer("playbook__spec")
