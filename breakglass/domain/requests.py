"""The life of an access request: pending -> approved, denied, withdrawn or lapsed."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum


class RequestState(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"


TRANSITIONS: dict[RequestState, frozenset[RequestState]] = {
    RequestState.PENDING: frozenset(
        {RequestState.APPROVED, RequestState.DENIED, RequestState.WITHDRAWN, RequestState.LAPSED}
    ),
    RequestState.APPROVED: frozenset(),
    RequestState.DENIED: frozenset(),
    RequestState.WITHDRAWN: frozenset(),
    RequestState.LAPSED: frozenset(),
}


def may_become(state: RequestState, target: RequestState) -> bool:
    return target in TRANSITIONS[state]


def state_at(stored: RequestState, lapses_at: datetime, now: datetime) -> RequestState:
    """What the request is at `now`, whether or not a task has written it down."""
    if stored is RequestState.PENDING and now >= lapses_at:
        return RequestState.LAPSED
    return stored
