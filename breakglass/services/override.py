"""The override: when nobody answers in time, a supervisor decides alone. A path of its own: offered, given and told aloud."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from breakglass import clock, doorbell
from breakglass.domain import overrides, policy
from breakglass.domain.approvals import Verdict
from breakglass.domain.audit import AuditTag
from breakglass.domain.grants import ENDED
from breakglass.domain.overrides import OverrideFacts
from breakglass.domain.permissions import ADMINISTRATORS, AUDITORS, SUPERVISORS, Verb, may
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refuse
from breakglass.domain.requests import RequestState
from breakglass.domain.text import plain
from breakglass.models import AccessRequest, Approval, AuditEvent, Grant, Person
from breakglass.queries import (
    actor_of,
    all_requests,
    approvers_of,
    decisions_on,
    groups_of,
    people_in,
    spec_of,
    thing_of_request,
)
from breakglass.services import approvals, audit, extensions, grants, notices, requests, second_factor
from breakglass.services.second_factor import FactorProof

MOST_REASON = 2000
# So many of a person's ended grants are looked at: whoever has more without a review is overdue with an older one.
LOOKED_AT = 200


def decide(request_id: UUID, person: Person, answer: str, reason: str, now: datetime) -> AccessRequest:
    """A supervisor says yes alone: the grant is issued, or made longer, in the same transaction, and everybody is told.

    Raises Refused (audited): `own_request` first of all, `not_allowed` for who is no supervisor, `already_decided`,
    `override_not_offered`, `override_too_early`, `override_blocked`, `request_lapsed`, `request_not_pending`,
    `reason_missing`, whatever the second factor says, and what stands against the request now.
    """
    request = _requests().filter(pk=request_id).first()
    if request is None or not may(actor_of(person), Verb.SEE_REQUEST, thing_of_request(request)):
        raise refuse(RefusalCode.NOT_FOUND, what="request")
    reason, began = plain(reason, MOST_REASON).strip(), clock.monotonic()
    try:
        _refuse_unfit(request, person, reason, now)
        proof = second_factor.verify(person, answer, now)
        with transaction.atomic():
            return _commit(request_id, person, proof, reason, now, began)
    except Refused as refused:
        audit.record_refusal(AuditTag.OVERRIDE_REFUSED, refused, actor=person, subject=request, now=now)
        raise


def objection(request: AccessRequest, person: Person, now: datetime) -> Refusal | None:
    """Why this person may not decide alone on this request now, or None."""
    actor = actor_of(person)
    if not actor.active:
        return refuse(RefusalCode.PERSON_INACTIVE, person=person.username).refusal
    found = overrides.objection(
        facts_of(request, now), person_id=person.pk, person_groups=actor.groups, now=now
    )
    if found is None or found.code in (RefusalCode.OVERRIDE_TOO_EARLY, RefusalCode.OVERRIDE_BLOCKED):
        try:
            requests.refuse_decided(request, now)
        except Refused as no:
            return no.refusal
    return found


def facts_of(request: AccessRequest, now: datetime) -> OverrideFacts:
    """What the rule asks about this request."""
    return OverrideFacts(
        label=request.label,
        requester_id=request.requester_id,
        opens_at=opens_at(request),
        never=why_never(request),
        overdue=overdue_review_of(request.requester, now),
        decisions=tuple(decisions_on(request)),
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
    requester = set(groups_of(request.requester)) | set(spec.requesters.groups)
    return overrides.why_never(
        allowed=spec.override_allowed,
        kinds=[asset.kind for asset in request.assets.all()],
        asset_class=str(spec.asset_class),
        requester_groups=requester,
    )


def overdue_review_of(person: Person, now: datetime) -> str:
    """That a review of this person's access is overdue, in words; empty where none is. A fact of the clock: no sweep
    has to have opened the review."""
    unreviewed = Grant.objects.filter(reviewed_at=None, person=person).exclude(ended_at=None)
    oldest = unreviewed.select_related("playbook", "request").order_by("ended_at")
    for grant in oldest[:LOOKED_AT]:
        due_at = (grant.ended_at or now) + timedelta(hours=spec_of(grant.playbook).review_due_hours)
        if due_at <= now:
            return f"the review of {grant.request.label} was due at {due_at:%Y-%m-%d %H:%M} UTC"
    return ""


def waiting_for(person: Person, now: datetime) -> list[AccessRequest]:
    """What only this supervisor's lone decision is left for, oldest first; empty for anybody else."""
    if SUPERVISORS not in groups_of(person):
        return []
    pending = all_requests().filter(state=RequestState.PENDING, lapses_at__gt=now).exclude(requester=person)
    found = pending.exclude(extends__state__in=ENDED).order_by("submitted_at", "number")
    return [request for request in found[:LOOKED_AT] if objection(request, person, now) is None]


def offer_due(now: datetime) -> int:
    """Tell the supervisors of what they may decide alone from now on. Once each; returns how many."""
    pending = _requests().filter(state=RequestState.PENDING, escalates_at__lte=now, lapses_at__gt=now)
    due = [request for request in pending[:500] if opens_at(request) <= now and not why_never(request)]
    return sum(_offer(request, now) for request in due)


def _offer(request: AccessRequest, now: datetime) -> bool:
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
    request_id: UUID, person: Person, proof: FactorProof, reason: str, now: datetime, began: float
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
    data = {"request": request.label, "reason": reason, "factor": proof.name}
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
    return AccessRequest.objects.select_related("playbook", "requester", "incident").order_by("submitted_at")
