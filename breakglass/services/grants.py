"""Grants: issued once, ended once. One `advance()`: a compare-and-set and the audit row, in one transaction."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from breakglass import doorbell, later
from breakglass.domain import permissions
from breakglass.domain.audit import AuditTag
from breakglass.domain.grants import ENDED, LIVE, GrantState, may_become, start, state_at
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import plain
from breakglass.models import AccessRequest, Grant, GrantedAsset, Person
from breakglass.queries import actor_of, spec_of, thing_of_grant
from breakglass.services import audit, extensions, notices, step_up
from breakglass.services.step_up import Answer

ANY = Q()

_TAGS = {
    GrantState.ACTIVE: AuditTag.GRANT_ACTIVATED,
    GrantState.RELEASED: AuditTag.GRANT_RELEASED,
    GrantState.REVOKED: AuditTag.GRANT_REVOKED,
    GrantState.EXPIRED: AuditTag.GRANT_EXPIRED,
}


def issue(request: AccessRequest, now: datetime) -> Grant:
    """The grant of an approved request, in the caller's transaction. Its end is fixed here, or at first use."""
    spec = spec_of(request.playbook)
    armed = spec.clock.starts == "first_use"
    grant = Grant.objects.create(
        request=request,
        person=request.requester,
        playbook=request.playbook,
        incident=request.incident,
        logins=[request.login] if request.login else list(spec.logins),
        state=GrantState.ARMED if armed else GrantState.ACTIVE,
        minutes=request.minutes,
        issued_at=now,
        use_by=now + timedelta(minutes=spec.clock.use_within_minutes or 0) if armed else None,
        starts_at=None if armed else now,
        ends_at=None if armed else start(request.duration, now),
    )
    for asset in request.assets.all():
        GrantedAsset.objects.create(grant=grant, asset=asset)
    data = {
        "request": request.label,
        "playbook": request.playbook.slug,
        "digest": request.playbook.digest,
        "assets": [asset.name for asset in request.assets.all()],
        "ends_at": grant.ends_at,
        "use_by": grant.use_by,
    }
    audit.append(AuditTag.GRANT_ISSUED, actor=None, subject=grant, now=now, data=data)
    _schedule_end(grant.pk, grant.ends_at or grant.use_by)
    return grant


def advance(
    grant: Grant,
    target: GrantState,
    *,
    by: Person | None,
    now: datetime,
    data: dict[str, Any] | None = None,
    only: Q = ANY,
    **fields: Any,
) -> bool:
    """Move the grant to `target` if nobody was first; True when this call did it. The audit row commits with it.

    `only`: and if this is true of the row at that moment.
    """
    source = GrantState(grant.state)
    if not may_become(source, target):
        return False
    if target in ENDED:
        fields.setdefault("ended_at", now)
        fields.setdefault("ended_by", by)
    with transaction.atomic():
        if not Grant.objects.filter(only, pk=grant.pk, state=source).update(state=target, **fields):
            return False
        audit.append(_TAGS[target], actor=by, subject=grant, now=now, data=data)
        doorbell.ring(f"grant:{grant.pk}", state=str(target))
        doorbell.ring(f"request:{grant.request_id}")
        doorbell.ring("sessions", grant=str(grant.pk))
        if target in ENDED:
            later.ask("sessions.grant_ended", str(grant.pk))
    grant.state = target
    for name, value in fields.items():
        setattr(grant, name, value)
    return True


def activate(grant_id: UUID, now: datetime) -> Grant:
    """First use of an armed grant: its clock starts. A grant that runs already is left as it is.

    Raises Refused `grant_use_window_over` when it was not used in time, `grant_ended` when it is over.
    """
    grant = Grant.objects.select_related("person", "playbook").get(pk=grant_id)
    if grant.state == GrantState.ARMED and state_at(grant.term, now) is GrantState.ARMED:
        ends_at = start(timedelta(minutes=grant.minutes), now)
        if advance(
            grant,
            GrantState.ACTIVE,
            by=grant.person,
            now=now,
            data={"ends_at": ends_at},
            starts_at=now,
            ends_at=ends_at,
        ):
            _schedule_end(grant.pk, ends_at)
        grant.refresh_from_db()
    state = state_at(grant.term, now)
    if state is not GrantState.ACTIVE:
        code = (
            RefusalCode.GRANT_USE_WINDOW_OVER if grant.state == GrantState.ARMED else RefusalCode.GRANT_ENDED
        )
        raise refuse(code, asset="this asset", state=str(state), url="the playbook's page")
    return grant


def release(grant_id: UUID, person: Person, now: datetime) -> Grant:
    """The holder is done. Raises Refused `not_found`, `grant_foreign`, `grant_ended`."""
    grant = _get(grant_id)
    if grant.person_id != person.pk:
        raise refuse(RefusalCode.GRANT_FOREIGN)
    ended = _end(grant_id, GrantState.RELEASED, person, now, note="")
    extensions.withdraw_moot(now, grant_id)
    return ended


def revoke(grant_id: UUID, person: Person, reason: str, answer: Answer, now: datetime) -> Grant:
    """One of the playbook's approvers or an administrator ends it, with a fresh second factor and a reason."""
    grant = _get(grant_id)
    thing = thing_of_grant(grant)
    if not permissions.may(actor_of(person), Verb.REVOKE_GRANT, thing):
        raise refuse(
            RefusalCode.NOT_ALLOWED, verb=Verb.REVOKE_GRANT, who=permissions.WHO_CAN[Verb.REVOKE_GRANT]
        )
    if not reason.strip():
        raise refuse(RefusalCode.BAD_INPUT, problem="Say why the grant is revoked.", needs=("reason",))
    _refuse_ended(grant, now)
    step_up.verify(person, "revoke", grant_id, answer, now)
    ended = _end(grant_id, GrantState.REVOKED, person, now, note=plain(reason, 500))
    extensions.withdraw_moot(now, grant_id)
    return ended


def revoke_for_incident(incident_id: UUID, person: Person, now: datetime) -> int:
    """End every live grant of an incident that is being closed, in the caller's transaction."""
    return sum(
        advance(grant, GrantState.REVOKED, by=person, now=now, end_note="incident closed")
        for grant in lock_live(incident_id)
    )


def lock_live(incident_id: UUID) -> list[Grant]:
    """The row locks of an incident's live grants, taken before the trail's: in one order nobody waits in a ring."""
    live = Grant.objects.select_for_update(no_key=True).filter(incident_id=incident_id, state__in=LIVE)
    return list(live.order_by("pk"))


def over(now: datetime) -> Q:
    """The grants that the clock has ended but nobody has written down yet."""
    return Q(state=GrantState.ACTIVE, ends_at__lte=now) | Q(state=GrantState.ARMED, use_by__lte=now)


def expire_due(now: datetime) -> int:
    """Write down what the clock has ended already. Idempotent; returns how many."""
    due = Grant.objects.filter(over(now)).select_related("person", "playbook")
    return sum(_expire(grant, now) for grant in due[:500])


def expire(grant_id: UUID, now: datetime) -> bool:
    """As `expire_due`, for one grant. False when it isn't over yet or is ended already."""
    grant = Grant.objects.select_related("person", "playbook").filter(pk=grant_id).first()
    return grant is not None and _expire(grant, now)


def _expire(grant: Grant, now: datetime) -> bool:
    if state_at(grant.term, now) is not GrantState.EXPIRED or grant.state == GrantState.EXPIRED:
        return False
    # However late this is written, it ended when its time was over.
    ended_at = grant.use_by if grant.state == GrantState.ARMED else grant.ends_at
    with transaction.atomic():
        if not advance(
            grant,
            GrantState.EXPIRED,
            by=None,
            now=now,
            data={"ended": ended_at},
            only=over(now),  # it may have been made longer since it was read
            ended_at=ended_at,
        ):
            return False
        notices.queue(
            [grant.person],
            topic=f"grant:{grant.pk}",
            subject=f"Your access under {grant.playbook.title} is over",
            body="The time of your grant is over and your sessions were ended. A review follows.",
            path=f"/requests/{grant.request_id}/",
            now=now,
        )
    return True


def _end(grant_id: UUID, target: GrantState, person: Person, now: datetime, note: str) -> Grant:
    """Under the row's lock: a first use at the same moment comes before or after it, never instead of it."""
    with transaction.atomic():
        locked = Grant.objects.select_for_update(no_key=True, of=("self",))
        grant = locked.select_related("person", "playbook", "request").get(pk=grant_id)
        _refuse_ended(grant, now)
        data = {"reason": note} if note else None
        advance(grant, target, by=person, now=now, data=data, end_note=note)
    return grant


def held(grant_id: UUID, person: Person, now: datetime) -> Grant:
    """The person's own grant while it lives. Raises Refused `not_found`, `grant_foreign`, `grant_ended`."""
    grant = _get(grant_id)
    if grant.person_id != person.pk:
        raise refuse(RefusalCode.GRANT_FOREIGN)
    _refuse_ended(grant, now)
    return grant


def _refuse_ended(grant: Grant, now: datetime) -> None:
    state = state_at(grant.term, now)
    if state in ENDED:
        raise refuse(
            RefusalCode.GRANT_ENDED, asset="these assets", state=str(state), url="the playbook's page"
        )


def _get(grant_id: UUID) -> Grant:
    grant = Grant.objects.select_related("person", "playbook", "request").filter(pk=grant_id).first()
    if grant is None:
        raise refuse(RefusalCode.NOT_FOUND, what="grant")
    return grant


def _schedule_end(grant_id: UUID, at: datetime | None) -> None:
    later.ask("breakglass.end_grant", str(grant_id), eta=at)
