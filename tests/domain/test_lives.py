"""Each legal transition of a request, a grant and a session is there, and no other; ends are facts of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from breakglass.domain import grants, requests
from breakglass.domain.grants import GrantState, Term
from breakglass.domain.requests import RequestState
from sessions import states
from sessions.states import END_WORDING, EndReason, ReviewState, SessionState

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)

REQUEST_LIFE = {("pending", end) for end in ("approved", "denied", "withdrawn", "lapsed")}
GRANT_LIFE = {
    ("armed", "active"),
    *((live, end) for live in ("armed", "active") for end in ("released", "revoked", "expired")),
}
SESSION_LIFE = {
    ("opening", "live"),
    ("opening", "ending"),
    ("opening", "ended"),
    ("live", "ending"),
    ("live", "ended"),
    ("ending", "ended"),
}


@pytest.mark.parametrize(("source", "target"), product(RequestState, RequestState))
def test_a_request_moves_as_its_life_allows_and_no_other_way(
    source: RequestState, target: RequestState
) -> None:
    assert requests.may_become(source, target) is ((source.value, target.value) in REQUEST_LIFE)


@pytest.mark.parametrize(("source", "target"), product(GrantState, GrantState))
def test_a_grant_moves_as_its_life_allows_and_no_other_way(source: GrantState, target: GrantState) -> None:
    assert grants.may_become(source, target) is ((source.value, target.value) in GRANT_LIFE)


@pytest.mark.parametrize(("source", "target"), product(SessionState, SessionState))
def test_a_session_moves_as_its_life_allows_and_no_other_way(
    source: SessionState, target: SessionState
) -> None:
    assert states.may_become(source, target) is ((source.value, target.value) in SESSION_LIFE)


@pytest.mark.parametrize(
    ("stored", "offset", "expected"),
    [
        (RequestState.PENDING, -TICK, RequestState.PENDING),
        (RequestState.PENDING, timedelta(0), RequestState.LAPSED),
        (RequestState.PENDING, TICK, RequestState.LAPSED),
        *((state, HOUR, state) for state in RequestState if state is not RequestState.PENDING),
    ],
)
def test_a_pending_request_lapses_at_its_very_moment_and_a_decided_one_never(
    stored: RequestState, offset: timedelta, expected: RequestState
) -> None:
    assert requests.state_at(stored, NOON, NOON + offset) is expected


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (Term(GrantState.ACTIVE, HOUR, None, NOON + TICK), GrantState.ACTIVE),
        (Term(GrantState.ACTIVE, HOUR, None, NOON), GrantState.EXPIRED),
        (Term(GrantState.ACTIVE, HOUR, None, NOON - TICK), GrantState.EXPIRED),
        (Term(GrantState.ACTIVE, HOUR, None, None), GrantState.EXPIRED),
        (Term(GrantState.ARMED, HOUR, NOON + TICK, None), GrantState.ARMED),
        (Term(GrantState.ARMED, HOUR, NOON, None), GrantState.EXPIRED),
        (Term(GrantState.ARMED, HOUR, NOON - TICK, None), GrantState.EXPIRED),
        (Term(GrantState.ARMED, HOUR, None, None), GrantState.EXPIRED),
        # Once active, the window for the first use counts no more.
        (Term(GrantState.ACTIVE, HOUR, NOON - HOUR, NOON + TICK), GrantState.ACTIVE),
        (Term(GrantState.RELEASED, HOUR, None, NOON + HOUR), GrantState.RELEASED),
        (Term(GrantState.REVOKED, HOUR, None, NOON - HOUR), GrantState.REVOKED),
        (Term(GrantState.EXPIRED, HOUR, None, NOON + HOUR), GrantState.EXPIRED),
    ],
)
def test_a_grant_is_over_at_its_end_whatever_is_written_down(term: Term, expected: GrantState) -> None:
    assert grants.state_at(term, NOON) is expected
    assert grants.is_live(term, NOON) is (expected in {GrantState.ARMED, GrantState.ACTIVE})


@pytest.mark.parametrize("duration", [TICK, timedelta(minutes=60), timedelta(hours=4)])
def test_the_end_is_fixed_when_the_clock_starts(duration: timedelta) -> None:
    assert grants.start(duration, NOON) == NOON + duration


@pytest.mark.parametrize("duration", [timedelta(0), -TICK, timedelta(hours=4) + TICK, timedelta(days=1)])
def test_no_grant_is_longer_than_four_hours_or_shorter_than_nothing(duration: timedelta) -> None:
    with pytest.raises(ValueError, match="a grant lasts"):
        grants.start(duration, NOON)


@pytest.mark.parametrize(
    ("stored", "offset", "expected"),
    [
        (ReviewState.DUE, -TICK, ReviewState.DUE),
        (ReviewState.DUE, timedelta(0), ReviewState.OVERDUE),
        (ReviewState.SIGNED, HOUR, ReviewState.SIGNED),
    ],
)
def test_a_review_is_overdue_by_the_clock_until_it_is_signed(
    stored: ReviewState, offset: timedelta, expected: ReviewState
) -> None:
    assert states.review_state_at(stored, NOON, NOON + offset) is expected


def test_every_reason_to_end_has_its_words() -> None:
    assert set(END_WORDING) == set(EndReason)


def test_who_is_put_out_by_others_reads_one_and_the_same_reason() -> None:
    generic = {EndReason.KILLED, EndReason.LOCKED, EndReason.REVOKED, EndReason.NOT_AUTHORIZED}
    assert len({END_WORDING[reason] for reason in generic}) == 1
