"""What happened to a request so far, top down, as a person would tell it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from breakglass.domain import grants, requests
from breakglass.domain.approvals import Verdict
from breakglass.domain.grants import GrantState
from breakglass.domain.requests import RequestState
from breakglass.models import AccessRequest, Grant


@dataclass(frozen=True)
class Step:
    kind: str
    icon: str
    says: str
    at: datetime | None = None
    quote: str = ""


def story_of(ask: AccessRequest, grant: Grant | None, now: datetime) -> list[Step]:
    asked = "asked for more time" if ask.extends_id else "asked"
    steps = [Step("", "live", f"{ask.requester.get_full_name()} {asked}", ask.submitted_at)]
    if ask.escalated_at:
        steps.append(Step("wait", "alert", "Nobody had answered: more people were woken", ask.escalated_at))
    for row in ask.approvals.all():
        yes = row.verdict == Verdict.APPROVED
        says = f"{row.person.get_full_name()} {'approved' if yes else 'denied'}"
        steps.append(
            Step("live" if yes else "stop", "done" if yes else "stop", says, row.decided_at, row.comment)
        )
        if ask.is_override and row.decided_at == ask.decided_at:
            says = f"{row.person.get_full_name()} decided alone: an override"
            steps[-1] = Step("stop", "alert", says, row.decided_at, row.comment)
    steps.sort(key=lambda step: step.at or ask.submitted_at)
    steps += _ending(ask, grant, now)
    return steps


def _ending(ask: AccessRequest, grant: Grant | None, now: datetime) -> list[Step]:
    if grant is not None:
        return _of_grant(grant, now)
    state = requests.state_at(RequestState(ask.state), ask.lapses_at, now)
    if state is RequestState.LAPSED:
        return [Step("stop", "ended", "It lapsed unanswered", ask.decided_at or ask.lapses_at)]
    if state is RequestState.WITHDRAWN:
        return [Step("", "ended", "It was withdrawn", ask.decided_at)]
    if state is RequestState.PENDING:
        return [Step("wait", "wait", "Waiting for an answer")]
    if state is RequestState.APPROVED and ask.extends_id:
        return [Step("live", "done", "The end of the access was moved", ask.decided_at)]
    return []


def _of_grant(grant: Grant, now: datetime) -> list[Step]:
    state = grants.state_at(grant.term, now)
    steps = []
    if grant.use_by is not None and grant.starts_at:
        steps.append(Step("live", "live", "First login: the clock started", grant.starts_at))
    for plea in grant.extensions.filter(state=RequestState.APPROVED).order_by("decided_at"):
        steps.append(Step("live", "done", f"{plea.label}: {plea.minutes} minutes more", plea.decided_at))
    match state:
        case GrantState.ARMED:
            steps.append(Step("wait", "wait", "Ready; the clock starts with the first login"))
        case GrantState.ACTIVE:
            steps.append(Step("live", "live", "The way in is open"))
        case GrantState.RELEASED:
            steps.append(Step("", "done", "Released", grant.ended_at))
        case GrantState.REVOKED:
            steps.append(Step("stop", "stop", "Revoked", grant.ended_at))
        case GrantState.EXPIRED if grant.ends_at is None:
            steps.append(Step("stop", "ended", "Not used in time", grant.use_by))
        case GrantState.EXPIRED:
            steps.append(Step("", "ended", "The time was up", grant.ends_at))
    return steps
