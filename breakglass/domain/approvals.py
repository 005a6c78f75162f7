"""Quorum and four eyes: who may decide on a request, and what the decisions add up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal
from uuid import UUID

from breakglass.domain.refusals import Refusal, RefusalCode, refusal


class Verdict(StrEnum):
    APPROVED = "approved"
    DENIED = "denied"


@dataclass(frozen=True)
class Rule:
    """`count` distinct people out of any of `groups`."""

    groups: frozenset[str]
    count: int


@dataclass(frozen=True)
class Decision:
    person_id: UUID
    verdict: Verdict


def objection(
    rule: Rule,
    *,
    requester_id: UUID,
    person_id: UUID,
    person_groups: frozenset[str],
    decisions: Iterable[Decision],
) -> Refusal | None:
    """Why this person may not decide on this request, or None. Their own request comes first."""
    who = ", ".join(sorted(rule.groups))
    if person_id == requester_id:
        return refusal(RefusalCode.OWN_REQUEST, who=who)
    if not person_groups & rule.groups:
        return refusal(RefusalCode.NOT_AN_APPROVER, who=who)
    if any(decision.person_id == person_id for decision in decisions):
        return refusal(RefusalCode.ALREADY_DECIDED)
    return None


def outcome(
    rule: Rule, *, requester_id: UUID, decisions: Iterable[Decision]
) -> Literal[Verdict.APPROVED, Verdict.DENIED] | None:
    """What the decisions add up to; None while somebody must still answer. One denial is enough to deny.

    Decisions by the requester never count, whatever let them in.
    """
    counted = [decision for decision in decisions if decision.person_id != requester_id]
    if any(decision.verdict is Verdict.DENIED for decision in counted):
        return Verdict.DENIED
    approvers = {decision.person_id for decision in counted}
    return Verdict.APPROVED if len(approvers) >= max(1, rule.count) else None
