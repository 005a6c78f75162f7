"""The life of a grant, and its end as a fact of the clock.

armed -> active -> released, revoked or expired; `armed` only where the clock starts at first use.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class GrantState(StrEnum):
    ARMED = "armed"
    ACTIVE = "active"
    RELEASED = "released"
    REVOKED = "revoked"
    EXPIRED = "expired"


LIVE = frozenset({GrantState.ARMED, GrantState.ACTIVE})
ENDED = frozenset({GrantState.RELEASED, GrantState.REVOKED, GrantState.EXPIRED})

TRANSITIONS: dict[GrantState, frozenset[GrantState]] = {
    GrantState.ARMED: frozenset({GrantState.ACTIVE}) | ENDED,
    GrantState.ACTIVE: ENDED,
    GrantState.RELEASED: frozenset(),
    GrantState.REVOKED: frozenset(),
    GrantState.EXPIRED: frozenset(),
}

LONGEST = timedelta(hours=4)


@dataclass(frozen=True)
class Term:
    """The time box of a grant. `ends_at` is None only while armed; `use_by` only where it starts at first use."""

    state: GrantState
    duration: timedelta
    use_by: datetime | None
    ends_at: datetime | None


def may_become(state: GrantState, target: GrantState) -> bool:
    return target in TRANSITIONS[state]


def state_at(term: Term, now: datetime) -> GrantState:
    """What the grant is at `now`, whether or not a task has written it down. The end itself is outside."""
    if term.state is GrantState.ARMED and (term.use_by is None or now >= term.use_by):
        return GrantState.EXPIRED
    if term.state is GrantState.ACTIVE and (term.ends_at is None or now >= term.ends_at):
        return GrantState.EXPIRED
    return term.state


def is_live(term: Term, now: datetime) -> bool:
    return state_at(term, now) in LIVE


def start(duration: timedelta, now: datetime) -> datetime:
    """The absolute end of a grant whose clock starts at `now`. Raises ValueError beyond 0 to 4 hours."""
    if not timedelta(0) < duration <= LONGEST:
        raise ValueError(f"a grant lasts more than nothing and at most {LONGEST}, not {duration}")
    return now + duration
