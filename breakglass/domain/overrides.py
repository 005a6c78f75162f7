"""The override: when nobody answers, a supervisor may decide alone. Pure; the exception is its own, louder path (law 2)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from breakglass.domain.approvals import Decision
from breakglass.domain.permissions import SUPERVISORS
from breakglass.domain.refusals import Refusal, RefusalCode, refusal

# Whatever a playbook says: an error in it opens none of these.
NEVER = {
    "directory": "domain controllers",
    "domain-controller": "domain controllers",
    "safety": "safety systems",
    "sis": "safety systems",
}


@dataclass(frozen=True)
class OverrideFacts:
    """What the rule asks about a pending request. `never`: why not, whatever the time; empty where it may be.

    `overdue`: a review of the requester's access that is overdue; empty where none is.
    """

    label: str
    requester_id: UUID
    opens_at: datetime
    never: str
    overdue: str
    decisions: tuple[Decision, ...] = ()


def why_never(*, allowed: bool, kinds: Iterable[str], asset_class: str, for_vendor: bool) -> str:
    """Why nobody ever decides alone on such a request; empty where the playbook allows it and nothing forbids it.

    `kinds` are of the assets; `for_vendor`: another company sends the requester.
    """
    for kind in (asset_class, *kinds):
        if kind.lower() in NEVER:
            return f"it is never offered for {NEVER[kind.lower()]}"
    if for_vendor:
        return "it is never offered for vendors"
    return "" if allowed else "the playbook doesn't allow it"


def opens_at(
    *, submitted_at: datetime, escalates_at: datetime, lapses_at: datetime, minutes: int, extends: bool
) -> datetime:
    """From when on the override is offered. A plea for more time that lapses sooner offers it half-way from waking
    more people to lapsing."""
    usual = submitted_at + timedelta(minutes=minutes)
    return min(usual, escalates_at + (lapses_at - escalates_at) / 2) if extends else usual


def objection(
    facts: OverrideFacts, *, person_id: UUID, person_groups: Collection[str], now: datetime
) -> Refusal | None:
    """Why this person may not decide alone now, or None. Their own request comes first."""
    if person_id == facts.requester_id:
        return refusal(RefusalCode.OWN_REQUEST, who=SUPERVISORS)
    if SUPERVISORS not in person_groups:
        return refusal(RefusalCode.NOT_ALLOWED, verb="decide on this alone", who="one of the supervisors")
    if any(decision.person_id == person_id for decision in facts.decisions):
        return refusal(RefusalCode.ALREADY_DECIDED)
    if facts.never:
        return refusal(RefusalCode.OVERRIDE_NOT_OFFERED, why=facts.never)
    if now < facts.opens_at:
        return refusal(RefusalCode.OVERRIDE_TOO_EARLY, at=f"{facts.opens_at:%H:%M:%S}")
    if facts.overdue:
        return refusal(RefusalCode.OVERRIDE_BLOCKED, overdue=facts.overdue)
    return None
