"""More time under a grant that runs: how much, how often, and never after the end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from breakglass.domain.grants import LONGEST, GrantState, Term, state_at
from breakglass.domain.refusals import Refusal, RefusalCode, refusal

# What is decided in the very last moment would be written after the end: that is too late.
MARGIN = timedelta(seconds=1)


@dataclass(frozen=True)
class ExtensionFacts:
    """`allowed` by the playbook, `given` so far, `longest_minutes` of one plea; `pending` is the label of an open one."""

    term: Term
    allowed: int
    given: int
    longest_minutes: int
    pending: str = ""


def longest(facts: ExtensionFacts, now: datetime) -> int:
    """The most minutes that may be asked for; 0 where none."""
    if _objection(facts, now) is not None:
        return 0
    return _room(facts)


def objection(facts: ExtensionFacts, minutes: int, now: datetime) -> Refusal | None:
    """Why the grant can't be made so much longer at `now`, or None."""
    no = _objection(facts, now)
    if no is not None:
        return no
    most = _room(facts)
    if not 1 <= minutes <= most:
        return refusal(RefusalCode.DURATION_OUT_OF_BOUNDS, minutes=minutes, longest=most)
    return None


def _objection(facts: ExtensionFacts, now: datetime) -> Refusal | None:
    state = state_at(facts.term, now + MARGIN)
    if state is GrantState.ARMED:
        return refusal(RefusalCode.NO_MORE_TIME, why="its clock hasn't begun")
    if state is not GrantState.ACTIVE:
        shown = state_at(facts.term, now)
        shown = GrantState.EXPIRED if shown is GrantState.ACTIVE else shown
        return refusal(
            RefusalCode.GRANT_ENDED, asset="these assets", state=str(shown), url="the playbook's page"
        )
    if facts.pending:
        return refusal(RefusalCode.EXTENSION_PENDING, request=facts.pending)
    if facts.given >= facts.allowed:
        times = {1: "once", 2: "twice"}.get(facts.given, f"{facts.given} times")
        why = f"it was made longer {times} already" if facts.given else "its playbook doesn't allow it"
        return refusal(RefusalCode.NO_MORE_TIME, why=why)
    if _room(facts) < 1:
        hours = int(LONGEST.total_seconds()) // 3600
        return refusal(RefusalCode.NO_MORE_TIME, why=f"it has its {hours} hours, and no grant has more")
    return None


def _room(facts: ExtensionFacts) -> int:
    left = int((LONGEST - facts.term.duration).total_seconds()) // 60
    return max(0, min(facts.longest_minutes, left))
