"""More time under a grant that runs: asked for like access, approved by the same rule, never after the end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F

from breakglass import doorbell, later
from breakglass.domain import extensions, policy
from breakglass.domain.audit import AuditTag
from breakglass.domain.extensions import ExtensionFacts
from breakglass.domain.grants import ENDED, GrantState
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refuse
from breakglass.domain.requests import RequestState
from breakglass.domain.text import plain
from breakglass.models import AccessRequest, AuditHead, Grant, Incident, Person
from breakglass.queries import grant_for, spec_of, submit_facts
from breakglass.services import audit, requests


@dataclass(frozen=True)
class ExtendForm:
    """What the holder says. No minutes: the playbook's default, or what is left to ask for."""

    grant_id: UUID
    reason: str
    minutes: int | None = None


def ask(person: Person, form: ExtendForm, now: datetime) -> AccessRequest:
    """Ask the same approvers for more time. Raises Refused (audited): `not_found`, `grant_foreign`, `grant_ended`,
    `no_more_time`, `extension_pending`, `duration_out_of_bounds`, and whatever stands against a request."""
    try:
        with transaction.atomic():
            return _ask(person, form, now)
    except Refused as refused:
        subject = f"grant:{form.grant_id}"
        audit.record_refusal(AuditTag.REQUEST_REFUSED, refused, actor=person, subject=subject, now=now)
        raise


def facts_of(grant: Grant, now: datetime, apart_from: AccessRequest | None = None) -> ExtensionFacts:
    """What the rule asks about this grant. `apart_from` is the plea that is being decided."""
    spec = spec_of(grant.playbook)
    pleas = AccessRequest.objects.filter(extends=grant)
    if apart_from is not None:
        pleas = pleas.exclude(pk=apart_from.pk)
    pending = pleas.filter(state=RequestState.PENDING, lapses_at__gt=now).first()
    return ExtensionFacts(
        term=grant.term,
        allowed=spec.duration.extensions,
        given=pleas.filter(state=RequestState.APPROVED).count(),
        longest_minutes=spec.duration.max_minutes,
        pending=pending.label if pending else "",
    )


def longest(grant: Grant, now: datetime) -> int:
    """The most minutes that may still be asked for under this grant; 0 where none."""
    return extensions.longest(facts_of(grant, now), now)


def objection(grant: Grant, minutes: int, now: datetime) -> Refusal | None:
    """Why this grant can't be made so much longer now, or None."""
    return extensions.objection(facts_of(grant, now), minutes, now)


def lock_grant(request: AccessRequest) -> Grant | None:
    """The row lock of the grant that a plea would make longer: after the plea's own, before the trail's."""
    if request.extends_id is None:
        return None
    locked = Grant.objects.select_for_update(no_key=True, of=("self",)).select_related("person", "playbook")
    return locked.get(pk=request.extends_id)


def refuse_unfit(request: AccessRequest, now: datetime) -> None:
    """Raises Refused when the grant can't be made longer by this plea any more."""
    assert request.extends_id is not None
    grant = Grant.objects.select_related("playbook").get(pk=request.extends_id)
    _refuse(facts_of(grant, now, apart_from=request), request.minutes, now)


def lengthen(request: AccessRequest, grant: Grant, now: datetime) -> None:
    """Move the end of the locked grant, in the caller's transaction. `now` is the moment under the lock.

    Raises Refused when it ended meanwhile: whatever was decided before, what is over stays over.
    """
    _refuse(facts_of(grant, now, apart_from=request), request.minutes, now)
    assert grant.ends_at is not None
    was, ends_at = grant.ends_at, grant.ends_at + request.duration
    running = Grant.objects.filter(pk=grant.pk, state=GrantState.ACTIVE, ends_at=was)
    if not running.update(ends_at=ends_at, minutes=F("minutes") + request.minutes):
        raise refuse(RefusalCode.GRANT_ENDED, asset="these assets", state="over", url="the playbook's page")
    grant.ends_at, grant.minutes = ends_at, grant.minutes + request.minutes
    data = {"request": request.label, "minutes": request.minutes, "was": was, "ends_at": ends_at}
    audit.append(AuditTag.GRANT_EXTENDED, actor=None, subject=grant, now=now, data=data)
    doorbell.ring(f"grant:{grant.pk}")
    doorbell.ring(f"request:{grant.request_id}")
    doorbell.ring("sessions", grant=str(grant.pk))
    later.ask("breakglass.end_grant", str(grant.pk), eta=ends_at)


def withdraw_moot(now: datetime, grant_id: UUID | None = None) -> int:
    """Take back what was asked for grants that were ended meanwhile. Idempotent; returns how many."""
    moot = AccessRequest.objects.filter(
        state=RequestState.PENDING, lapses_at__gt=now, extends__state__in=ENDED
    )
    if grant_id is not None:
        moot = moot.filter(extends=grant_id)
    data = {"reason": "its grant is over"}
    return sum(
        requests.advance(request, RequestState.WITHDRAWN, by=None, now=now, data=data)
        for request in moot.select_related("requester", "playbook")[:500]
    )


def _ask(person: Person, form: ExtendForm, now: datetime) -> AccessRequest:
    seen = grant_for(person, form.grant_id)
    if seen.person_id != person.pk:
        raise refuse(RefusalCode.GRANT_FOREIGN)
    Incident.objects.select_for_update(no_key=True).filter(pk=seen.incident_id).first()
    locked = Grant.objects.select_for_update(no_key=True, of=("self",))
    grant = locked.select_related("playbook", "request", "incident").get(pk=seen.pk)
    facts = facts_of(grant, now)
    minutes = form.minutes
    if minutes is None:
        minutes = min(spec_of(grant.playbook).duration.default_minutes, extensions.longest(facts, now) or 1)
    _refuse(facts, minutes, now)
    reason = plain(form.reason, policy.MOST_REASON + 1)
    _refuse_standing(person, grant, minutes, reason, now)
    AuditHead.objects.select_for_update().get(id=1)
    assert grant.ends_at is not None
    spec = spec_of(grant.playbook)
    # Whoever hasn't answered by the grant's end has not answered; more people are woken while there is time.
    lapses_at = min(now + timedelta(minutes=spec.lapse_minutes), grant.ends_at)
    plea = requests.Plea(
        playbook=grant.playbook,
        incident_id=grant.incident_id,
        assets=tuple(grant.assets.all()),
        login=grant.request.login,
        minutes=minutes,
        reason=reason,
        escalates_at=min(now + timedelta(minutes=spec.escalate_minutes), now + (lapses_at - now) / 2),
        lapses_at=lapses_at,
        extends=grant,
    )
    return requests.enter(person, plea, now)


def _refuse(facts: ExtensionFacts, minutes: int, now: datetime) -> None:
    no = extensions.objection(facts, minutes, now)
    if no is not None:
        raise Refused(no)


def _refuse_standing(person: Person, grant: Grant, minutes: int, reason: str, now: datetime) -> None:
    """Whatever would stand against the same access asked for now; the version that was approved is what counts."""
    assets = tuple(grant.assets.values_list("name", flat=True))
    ask = policy.Submit(grant.playbook.slug, assets, grant.request.login or None, minutes, reason)
    facts = submit_facts(person, grant.playbook, grant.incident_id, assets, pinned=True)
    decision = policy.decide(ask, facts, now)
    if not isinstance(decision, policy.Allow):
        raise Refused(decision.refusal)
