"""Access requests: submitted, withdrawn, escalated, lapsed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from datetime import datetime, timedelta
from math import ceil
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from breakglass import doorbell, later
from breakglass.domain import policy
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import SUPERVISORS
from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.domain.requests import RequestState, may_become, state_at
from breakglass.domain.text import plain
from breakglass.models import (
    AccessRequest,
    Asset,
    AuditHead,
    Grant,
    Incident,
    Person,
    PlaybookVersion,
    RequestedAsset,
)
from breakglass.queries import approvers_of, current_playbook, people_in, spec_of, submit_facts
from breakglass.services import audit, matching, notices

HOUR = timedelta(hours=1)
_TAGS = {
    RequestState.APPROVED: AuditTag.REQUEST_APPROVED,
    RequestState.DENIED: AuditTag.REQUEST_DENIED,
    RequestState.WITHDRAWN: AuditTag.REQUEST_WITHDRAWN,
    RequestState.LAPSED: AuditTag.REQUEST_LAPSED,
}


@dataclass(frozen=True)
class SubmitForm:
    """What a responder says. No minutes: the playbook's default. No login: any of the playbook's."""

    playbook: str
    incident_id: UUID
    assets: tuple[str, ...]
    reason: str
    login: str | None = None
    minutes: int | None = None


@dataclass(frozen=True)
class Plea:
    """What becomes a row, once the decision point has nothing against it. `extends`: more time under that grant."""

    playbook: PlaybookVersion
    incident_id: UUID
    assets: tuple[Asset, ...]
    login: str
    minutes: int
    reason: str
    escalates_at: datetime
    lapses_at: datetime
    extends: Grant | None = None


def submit(person: Person, form: SubmitForm, now: datetime) -> AccessRequest:
    """Ask for access. The decision point looks first; approvers are told. Raises Refused, which is audited."""
    form = _tamed(form)
    try:
        with transaction.atomic():
            return _submit(person, form, now)
    except Refused as refused:
        subject = f"playbook:{form.playbook}"
        audit.record_refusal(AuditTag.REQUEST_REFUSED, refused, actor=person, subject=subject, now=now)
        raise


def withdraw(request_id: UUID, person: Person, now: datetime) -> AccessRequest:
    """The requester takes it back. Raises Refused `not_found` for another's, `request_not_pending`."""
    request = AccessRequest.objects.filter(pk=request_id, requester=person).first()
    if request is None:
        raise refuse(RefusalCode.NOT_FOUND, what="request")
    refuse_decided(request, now)
    if not advance(request, RequestState.WITHDRAWN, by=person, now=now):
        request.refresh_from_db()
        refuse_decided(request, now)
    return request


def withdraw_for_incident(incident_id: UUID, person: Person, now: datetime) -> int:
    """Take back every pending request of an incident that is being closed, in the caller's transaction.

    One whose time is over has lapsed: closing doesn't change what the clock did.
    """
    count = 0
    for request in lock_pending(incident_id):
        if state_at(RequestState.PENDING, request.lapses_at, now) is RequestState.LAPSED:
            _lapse(request, now)
        else:
            count += advance(request, RequestState.WITHDRAWN, by=person, now=now)
    return count


def lock_pending(incident_id: UUID) -> list[AccessRequest]:
    """The row locks of an incident's pending requests, taken before the trail's: see `grants.lock_live`."""
    pending = AccessRequest.objects.select_for_update(no_key=True, of=("self",)).filter(
        incident_id=incident_id, state=RequestState.PENDING
    )
    return list(pending.select_related("requester", "playbook").order_by("pk"))


def lapse_due(now: datetime) -> int:
    """Write down which unanswered requests the clock has ended. Idempotent; returns how many."""
    due = AccessRequest.objects.filter(state=RequestState.PENDING, lapses_at__lte=now)
    return sum(_lapse(request, now) for request in due.select_related("requester", "playbook")[:500])


def escalate_due(now: datetime) -> int:
    """Wake more people for requests that nobody has answered. Once each; returns how many."""
    due = AccessRequest.objects.filter(
        state=RequestState.PENDING, escalated_at=None, escalates_at__lte=now, lapses_at__gt=now
    )
    return sum(_escalate(request, now) for request in due.select_related("requester", "playbook")[:500])


def advance(
    request: AccessRequest,
    target: RequestState,
    *,
    by: Person | None,
    now: datetime,
    data: dict[str, Any] | None = None,
) -> bool:
    """Move a pending request to `target` if nobody was first; True when this call did it."""
    source = RequestState(request.state)
    if not may_become(source, target):
        return False
    with transaction.atomic():
        moved = AccessRequest.objects.filter(pk=request.pk, state=source).update(state=target, decided_at=now)
        if not moved:
            return False
        audit.append(
            _TAGS[target], actor=by, subject=request, now=now, data={"request": request.label, **(data or {})}
        )
        doorbell.ring(f"request:{request.pk}", state=str(target))
        doorbell.ring("inbox")
    request.state, request.decided_at = target, now
    return True


def refuse_decided(request: AccessRequest, now: datetime) -> None:
    """Raises Refused unless the request is pending at `now`."""
    state = state_at(RequestState(request.state), request.lapses_at, now)
    if state is RequestState.LAPSED:
        raise refuse(RefusalCode.REQUEST_LAPSED)
    if state is not RequestState.PENDING:
        raise refuse(RefusalCode.REQUEST_NOT_PENDING, state=str(state))


def _tamed(form: SubmitForm) -> SubmitForm:
    """Names are cut to more than any real one has, so that a wrong one stays wrong."""
    return replace(
        form,
        playbook=plain(form.playbook, 100),
        assets=tuple(dict.fromkeys(plain(name, 100) for name in form.assets)),
        reason=plain(form.reason, policy.MOST_REASON + 1),
        login=plain(form.login, 100) if form.login else None,
    )


def _submit(person: Person, form: SubmitForm, now: datetime) -> AccessRequest:
    # Who closes the incident waits for us, or we see that it is closed.
    Incident.objects.select_for_update(no_key=True).filter(pk=form.incident_id).first()
    version = current_playbook(form.playbook)
    minutes = form.minutes
    if minutes is None:
        minutes = spec_of(version).duration.default_minutes if version else 0
    ask = policy.Submit(form.playbook, form.assets, form.login, minutes, form.reason)
    decision = policy.decide(ask, submit_facts(person, version, form.incident_id, ask.assets), now)
    if not isinstance(decision, policy.Allow):
        raise Refused(decision.refusal)
    if version is None:
        raise refuse(RefusalCode.NOT_FOUND, what="playbook")
    # The head row's lock makes the number unique without gaps; the audit row takes it anyway.
    AuditHead.objects.select_for_update().get(id=1)
    spec = spec_of(version)
    plea = Plea(
        playbook=version,
        incident_id=form.incident_id,
        assets=tuple(Asset.objects.filter(name__in=ask.assets)),
        login=ask.login or "",
        minutes=ask.minutes,
        reason=form.reason,
        escalates_at=now + timedelta(minutes=spec.escalate_minutes),
        lapses_at=now + timedelta(minutes=spec.lapse_minutes),
    )
    return enter(person, plea, now)


def enter(person: Person, plea: Plea, now: datetime) -> AccessRequest:
    """Write it down and tell the approvers, in the caller's transaction, which holds the trail's head already."""
    _refuse_too_many(person, now)
    latest = AccessRequest.objects.aggregate(latest=Max("number"))["latest"] or 0
    fields = {
        field.name: getattr(plea, field.name) for field in dataclass_fields(plea) if field.name != "assets"
    }
    request = AccessRequest.objects.create(
        number=latest + 1, requester=person, submitted_at=now, match_number=matching.fresh(), **fields
    )
    for asset in plea.assets:
        RequestedAsset.objects.create(request=request, asset=asset)
    data = {
        "request": request.label,
        "playbook": plea.playbook.slug,
        "digest": plea.playbook.digest,
        "incident": request.incident.label,
        "assets": sorted(asset.name for asset in plea.assets),
        "login": request.login,
        "minutes": request.minutes,
        "reason": request.reason,
    }
    if plea.extends is not None:
        data["extends"] = str(plea.extends.pk)
    audit.append(AuditTag.REQUEST_SUBMITTED, actor=person, subject=request, now=now, data=data)
    later.ask("breakglass.look_at_request", str(request.pk), eta=request.escalates_at)
    later.ask("breakglass.look_at_request", str(request.pk), eta=request.lapses_at)
    _tell_approvers(request, now)
    doorbell.ring("inbox", request=str(request.pk))
    return request


def _refuse_too_many(person: Person, now: datetime) -> None:
    """Whoever asks all the time wears the approvers out. Counted under the lock of the trail's head: no two slip by."""
    limit = settings.BREAKGLASS.requests_an_hour
    asked = AccessRequest.objects.filter(requester=person, submitted_at__gt=now - HOUR)
    latest = list(asked.order_by("-submitted_at").values_list("submitted_at", flat=True)[:limit])
    if len(latest) >= limit:
        wait = latest[-1] + HOUR - now
        raise refuse(
            RefusalCode.TOO_MANY_REQUESTS, limit=limit, minutes=max(1, ceil(wait.total_seconds() / 60))
        )


def _tell_approvers(request: AccessRequest, now: datetime) -> None:
    assets = ", ".join(asset.name for asset in request.assets.all())
    what = f"{request.minutes} more minutes" if request.extends_id else "access"
    notices.queue(
        approvers_of(request),
        topic=f"request:{request.pk}",
        subject=f"{request.requester.get_full_name()} asks for {what}: {request.playbook.title}",
        body=f"{request.label}, {request.incident}: {request.reason}\nAssets: {assets}. For {request.minutes} minutes.",
        path=f"/requests/{request.pk}/",
        now=now,
        ways=spec_of(request.playbook).notify,
    )


def _lapse(request: AccessRequest, now: datetime) -> bool:
    with transaction.atomic():
        if not advance(request, RequestState.LAPSED, by=None, now=now):
            return False
        notices.queue(
            [request.requester],
            topic=f"request:{request.pk}",
            subject=f"{request.label} lapsed: nobody answered",
            body="Your request lapsed unanswered. Send it again, or call the approvers.",
            path=f"/requests/{request.pk}/",
            now=now,
        )
    return True


def _escalate(request: AccessRequest, now: datetime) -> bool:
    with transaction.atomic():
        pending = AccessRequest.objects.filter(pk=request.pk, state=RequestState.PENDING, escalated_at=None)
        if not pending.update(escalated_at=now):
            return False
        audit.append(
            AuditTag.REQUEST_ESCALATED, actor=None, subject=request, now=now, data={"request": request.label}
        )
        notices.queue(
            [*approvers_of(request), *people_in([SUPERVISORS])],
            topic=f"request:{request.pk}",
            subject=f"Unanswered: {request.requester.get_full_name()} waits: {request.title}",
            body=f"{request.label} has had no answer: {request.reason}",
            path=f"/requests/{request.pk}/",
            now=now,
            ways=spec_of(request.playbook).notify,
        )
        doorbell.ring(f"request:{request.pk}")
        doorbell.ring("inbox")
    return True
