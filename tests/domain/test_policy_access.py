"""Who may get in, and stay in: grants of one's own, live, one at a time; a lock or a closed incident ends it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.domain import policy
from breakglass.domain.grants import GrantState, is_live
from breakglass.domain.policy import Allow, ChannelKind, Connect, Continue, LockKind, Needs, decide
from breakglass.domain.refusals import RefusalCode as Code
from tests.domain.facts import (
    FIRST,
    HIST,
    HIST_01,
    HMI,
    HMI_02,
    HOUR,
    INCIDENT,
    NOON,
    OPEN,
    OTHER_INCIDENT,
    PERSON,
    RITA,
    ROB,
    SECOND,
    THIRD,
    TICK,
    URL,
    access_facts,
    active,
    armed,
    ended,
    grant,
    lock,
)

CONNECT = Connect("hist-01")
CONTINUE = Continue("hist-01", "operator", FIRST)


def _answer(ask: policy.Ask, facts: policy.AccessFacts) -> UUID | Code | None:
    """The grant that lets in, or why not."""
    decision = decide(ask, facts, NOON)
    if isinstance(decision, Allow):
        return decision.obligations.grant_id if decision.obligations else None
    return decision.refusal.code


def test_a_live_grant_lets_in_with_obligations_that_hold_all_of_its_bounds() -> None:
    decision = decide(CONNECT, access_facts(grant()), NOON)
    assert isinstance(decision, Allow)
    assert decision.obligations == policy.Obligations(
        grant_id=FIRST,
        asset_id=HIST,
        login="operator",
        channels=frozenset({ChannelKind.SHELL}),
        forward_to=(("127.0.0.1", 8080),),
        ends_at=NOON + HOUR,
        idle_seconds=600,
        activate=False,
        record=True,
        hold_until_expiry=False,
        files=policy.FileRules(("/srv/backup",), 10**9, keep_contents=True),
        lasts=HOUR,
    )


@pytest.mark.parametrize("ask", [CONNECT, CONTINUE])
@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"person": replace(PERSON, active=False)}, Code.PERSON_INACTIVE),
        ({"asset": None}, Code.UNKNOWN_ASSET),
        ({"asset": replace(HIST_01, active=False)}, Code.UNKNOWN_ASSET),
        ({"asset": HMI_02}, Code.UNKNOWN_ASSET),
        ({"person": replace(PERSON, has_second_factor=False)}, Code.SECOND_FACTOR_REQUIRED),
        ({"grants": ()}, Code.NO_GRANT),
        ({"grants": (grant(person_id=ROB),)}, Code.NO_GRANT),
        ({"grants": (grant(assets=frozenset({HMI})),)}, Code.NO_GRANT),
        ({"grants": (grant(assets=frozenset()),)}, Code.NO_GRANT),
        ({"grants": (grant(term=active(NOON)),)}, Code.GRANT_ENDED),
        ({"grants": (grant(term=active(None)),)}, Code.GRANT_ENDED),
        ({"grants": (grant(term=ended(GrantState.RELEASED)),)}, Code.GRANT_ENDED),
        ({"grants": (grant(term=ended(GrantState.REVOKED)),)}, Code.GRANT_ENDED),
        ({"grants": (grant(term=ended(GrantState.EXPIRED)),)}, Code.GRANT_ENDED),
        ({"grants": (grant(term=armed(NOON)),)}, Code.GRANT_USE_WINDOW_OVER),
        ({"grants": (grant(incident=replace(OPEN, open=False)),)}, Code.INCIDENT_CLOSED),
        ({"grants": (grant(logins=("histadmin",)),)}, None),
        ({"grants": (grant(logins=()),)}, Code.LOGIN_NOT_IN_GRANT),
    ],
)
def test_a_fact_that_is_missing_or_wrong_is_a_no(
    ask: Connect | Continue, facts: dict[str, Any], code: Code | None
) -> None:
    answer = _answer(ask, access_facts(**{"grants": (grant(),), **facts}))
    if code is None:  # without a login the grant's own is meant; a session's login must be in the grant
        assert answer == (FIRST if ask is CONNECT else Code.LOGIN_NOT_IN_GRANT)
    else:
        assert answer is code


def test_a_grant_lets_in_until_the_last_instant_and_not_at_its_end() -> None:
    assert _answer(CONNECT, access_facts(grant(term=active(NOON + TICK)))) == FIRST
    assert _answer(CONNECT, access_facts(grant(term=active(NOON)))) is Code.GRANT_ENDED


def test_an_armed_grant_lets_in_once_its_clock_is_started() -> None:
    decision = decide(CONNECT, access_facts(grant(term=armed())), NOON)
    assert isinstance(decision, Allow)
    assert decision.obligations is not None
    assert decision.obligations.activate
    assert decision.obligations.ends_at is None


@pytest.mark.parametrize(
    ("login", "expected"), [("operator", FIRST), ("histadmin", FIRST), ("root", Code.LOGIN_NOT_IN_GRANT)]
)
def test_only_the_logins_of_the_grant_are_let_in(login: str, expected: UUID | Code) -> None:
    assert _answer(Connect("hist-01", login), access_facts(grant())) == expected


@pytest.mark.parametrize("ask", [CONNECT, CONTINUE])
@pytest.mark.parametrize(
    ("kind", "subject", "locked"),
    [
        (LockKind.EVERYTHING, "", True),
        (LockKind.PERSON, RITA, True),
        (LockKind.PERSON, ROB, False),
        (LockKind.ASSET, HIST, True),
        (LockKind.ASSET, HMI, False),
        (LockKind.PLAYBOOK, "historian-down", True),
        (LockKind.PLAYBOOK, "hmi-failover", False),
        (LockKind.INCIDENT, INCIDENT, True),
        (LockKind.INCIDENT, OTHER_INCIDENT, False),
    ],
)
def test_a_lock_keeps_out_and_puts_out_whom_it_names_and_nobody_else(
    ask: Connect | Continue, kind: LockKind, subject: object, locked: bool
) -> None:
    answer = _answer(ask, access_facts(grant(), locks=(lock(kind, subject),)))
    assert answer == (Code.LOCKED if locked else FIRST)


# --- several grants of one person

LATER = grant(id=SECOND, term=active(NOON + 2 * HOUR), playbook="historian-triage")
OVER = grant(id=THIRD, term=ended(GrantState.REVOKED))


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        ((grant(), LATER), SECOND),  # the latest end
        ((LATER, grant()), SECOND),  # in any order
        ((grant(id=SECOND, term=armed()), grant()), FIRST),  # a running clock before one that would start
        ((OVER, grant()), FIRST),  # an ended one doesn't end another
        ((grant(), grant(id=SECOND)), SECOND),  # a tie has one answer
        ((grant(id=SECOND), grant()), SECOND),
        ((OVER, grant(id=SECOND, term=armed(NOON))), Code.GRANT_ENDED),
        ((grant(id=SECOND, person_id=ROB), OVER), Code.GRANT_ENDED),
    ],
)
def test_of_overlapping_grants_one_is_chosen(
    grants: tuple[policy.GrantFacts, ...], expected: UUID | Code
) -> None:
    assert _answer(CONNECT, access_facts(*grants)) == expected


def test_the_grant_that_holds_the_login_is_chosen() -> None:
    grants = (grant(logins=("operator",)), replace(LATER, logins=("histadmin",)))
    assert _answer(Connect("hist-01", "operator"), access_facts(*grants)) == FIRST
    assert _answer(Connect("hist-01", "histadmin"), access_facts(*grants)) == SECOND


@pytest.mark.parametrize(
    ("against", "locks"),
    [
        ({"incident": replace(OPEN, id=OTHER_INCIDENT, open=False)}, ()),
        ({"incident": replace(OPEN, id=OTHER_INCIDENT)}, (lock(LockKind.INCIDENT, OTHER_INCIDENT),)),
        ({}, (lock(LockKind.PLAYBOOK, "historian-triage"),)),
    ],
)
def test_what_is_against_one_grant_doesnt_end_another(
    against: dict[str, Any], locks: tuple[policy.LockFacts, ...]
) -> None:
    facts = access_facts(grant(), replace(LATER, **against), locks=locks)
    assert _answer(CONNECT, facts) == FIRST
    assert _answer(Continue("hist-01", "operator", FIRST), facts) == FIRST
    assert _answer(Continue("hist-01", "operator", SECOND), facts) in {Code.LOCKED, Code.INCIDENT_CLOSED}


def test_when_every_grant_has_something_against_it_the_preferred_ones_reason_is_told() -> None:
    closed = replace(OPEN, open=False)
    facts = access_facts(grant(incident=closed), LATER, locks=(lock(LockKind.PLAYBOOK, "historian-triage"),))
    assert _answer(CONNECT, facts) is Code.LOCKED


def test_a_proof_for_one_grant_leads_in_by_that_one_and_no_other() -> None:
    """As a certificate or a connect code is: the other would be preferred, and would do when the first is over."""
    later = grant(id=SECOND, term=active(NOON + 2 * HOUR))
    ask = Connect("hist-01", grant_id=FIRST)
    assert _answer(CONNECT, access_facts(grant(), later)) == SECOND
    assert _answer(ask, access_facts(grant(), later)) == FIRST
    over = grant(term=ended(GrantState.RELEASED))
    assert _answer(ask, access_facts(over, later)) is Code.GRANT_ENDED
    assert _answer(ask, access_facts(later)) is Code.NO_GRANT
    assert _answer(ask, access_facts(grant(person_id=ROB), later)) is Code.NO_GRANT
    assert _answer(ask, access_facts(grant(assets=frozenset({HMI})), later)) is Code.NO_GRANT


@pytest.mark.parametrize(
    ("term", "code"),
    [(active(NOON), Code.GRANT_ENDED), (ended(GrantState.REVOKED), Code.GRANT_ENDED)],
)
def test_a_session_lives_by_its_own_grant_and_not_by_another(term: Any, code: Code) -> None:
    assert _answer(CONTINUE, access_facts(grant(term=term), LATER)) is code
    assert _answer(CONNECT, access_facts(grant(term=term), LATER)) == SECOND


def test_a_session_under_a_grant_that_isnt_there_or_isnt_ones_own_is_over() -> None:
    assert _answer(Continue("hist-01", "operator", THIRD), access_facts(grant())) is Code.NO_GRANT
    assert _answer(CONTINUE, access_facts(grant(person_id=ROB))) is Code.NO_GRANT


def test_a_machine_with_an_old_name_inherits_nothing() -> None:
    """Grants bind to ids: the one that was granted was renamed, and another took its name."""
    newcomer = replace(HIST_01, id=HMI)
    assert _answer(CONNECT, access_facts(grant(), asset=newcomer)) is Code.NO_GRANT
    assert _answer(CONTINUE, access_facts(grant(), asset=newcomer)) is Code.NO_GRANT


def test_refusals_say_where_to_ask_and_what_the_grant_became() -> None:
    none = decide(CONNECT, access_facts(), NOON)
    over = decide(CONNECT, access_facts(OVER), NOON)
    assert not isinstance(none, Allow)
    assert not isinstance(over, Allow)
    assert URL in none.refusal.help
    assert "(revoked)" in over.refusal.message
    assert over.refusal.needs == ("grant",)


def test_who_lacks_a_second_factor_is_told_what_is_missing() -> None:
    decision = decide(CONNECT, access_facts(grant(), person=replace(PERSON, has_second_factor=False)), NOON)
    assert isinstance(decision, Needs)


# --- whatever the facts: no live grant of one's own, no way in

terms = st.sampled_from(
    [
        active(),
        active(NOON),
        active(None),
        armed(),
        armed(NOON),
        armed(None),
        *map(ended, list(GrantState)[2:]),
    ]
)
some_grants = st.lists(
    st.builds(
        grant,
        id=st.sampled_from([FIRST, SECOND, THIRD]),
        person_id=st.sampled_from([RITA, ROB]),
        term=terms,
        incident=st.sampled_from([OPEN, replace(OPEN, open=False)]),
        assets=st.sampled_from([frozenset({HIST}), frozenset({HMI}), frozenset()]),
        logins=st.sampled_from([("operator",), ("histadmin",), ()]),
    ),
    max_size=5,
    unique_by=lambda g: g.id,
)
some_locks = st.lists(
    st.sampled_from([lock(LockKind.EVERYTHING), lock(LockKind.ASSET, HMI), lock(LockKind.PERSON, RITA)]),
    max_size=2,
)
asks = st.sampled_from([CONNECT, Connect("hist-01", "operator"), Connect("hist-01", "root"), CONTINUE])


@given(asks, some_grants, some_locks, st.booleans(), st.booleans())
def test_nobody_is_let_in_without_a_live_grant_of_their_own(
    ask: Connect | Continue,
    grants: list[policy.GrantFacts],
    locks: list[policy.LockFacts],
    is_active: bool,
    factor: bool,
) -> None:
    person = replace(PERSON, active=is_active, has_second_factor=factor)
    decision = decide(ask, access_facts(*grants, locks=tuple(locks), person=person), NOON)
    if not isinstance(decision, Allow):
        return
    assert decision.obligations is not None
    used = next(g for g in grants if g.id == decision.obligations.grant_id)
    assert is_active
    assert factor
    assert used.person_id == RITA
    assert HIST in used.assets
    assert used.incident.open
    assert is_live(used.term, NOON)
    assert decision.obligations.login in used.logins
    assert ask.login in {None, decision.obligations.login}
    assert all(one == lock(LockKind.ASSET, HMI) for one in locks)
    assert not isinstance(ask, Continue) or used.id == ask.grant_id
