"""What may be asked for: every refusal can be reached, and unknown means no."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from breakglass.domain import policy
from breakglass.domain.policy import Allow, Deny, LockKind, Needs, Submit, decide
from breakglass.domain.refusals import RefusalCode as Code
from tests.domain.facts import (
    HIST,
    HIST_01,
    HMI,
    HMI_02,
    INCIDENT,
    NOON,
    OPEN,
    OTHER_INCIDENT,
    PERSON,
    PLAYBOOK,
    RITA,
    ROB,
    SUBMIT,
    access_facts,
    lock,
    submit_facts,
)


def _code(ask: Submit, facts: policy.SubmitFacts) -> Code | None:
    decision = decide(ask, facts, NOON)
    return None if isinstance(decision, Allow) else decision.refusal.code


def test_a_request_in_order_may_be_made_and_grants_nothing_by_itself() -> None:
    assert decide(SUBMIT, submit_facts(), NOON) == Allow(None)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"person": replace(PERSON, active=False)}, Code.PERSON_INACTIVE),
        ({"playbook": None}, Code.NOT_FOUND),
        ({"playbook": replace(PLAYBOOK, slug="hmi-failover")}, Code.NOT_FOUND),
        ({"playbook": replace(PLAYBOOK, requestable=False)}, Code.PLAYBOOK_RETIRED),
        ({"person": replace(PERSON, groups=frozenset())}, Code.NOT_ALLOWED),
        ({"person": replace(PERSON, groups=frozenset({"administrators"}))}, Code.NOT_ALLOWED),
        ({"playbook": replace(PLAYBOOK, requester_groups=frozenset())}, Code.NOT_ALLOWED),
        ({"assets": ()}, Code.UNKNOWN_ASSET),
        ({"assets": (HMI_02,)}, Code.UNKNOWN_ASSET),
        ({"assets": (replace(HIST_01, active=False),)}, Code.UNKNOWN_ASSET),
        ({"incident": None}, Code.NOT_FOUND),
        ({"incident": replace(OPEN, open=False)}, Code.INCIDENT_CLOSED),
        ({"playbook": replace(PLAYBOOK, longest_minutes=59)}, Code.DURATION_OUT_OF_BOUNDS),
        ({"person": replace(PERSON, has_second_factor=False)}, Code.SECOND_FACTOR_REQUIRED),
    ],
)
def test_a_fact_that_is_missing_or_wrong_is_a_no(facts: dict[str, Any], code: Code) -> None:
    assert _code(SUBMIT, submit_facts(**facts)) is code


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        ({"playbook": "another"}, Code.NOT_FOUND),
        ({"assets": ()}, Code.BAD_INPUT),
        ({"assets": ("plc-09",)}, Code.ASSET_OUTSIDE_PLAYBOOK),
        ({"assets": ("hist-01", "plc-09")}, Code.ASSET_OUTSIDE_PLAYBOOK),
        ({"assets": ("*",)}, Code.ASSET_OUTSIDE_PLAYBOOK),
        ({"assets": ("hist-01", "hmi-02")}, Code.UNKNOWN_ASSET),
        ({"login": "root"}, Code.LOGIN_NOT_IN_GRANT),
        ({"login": ""}, Code.LOGIN_NOT_IN_GRANT),
        ({"minutes": 0}, Code.DURATION_OUT_OF_BOUNDS),
        ({"minutes": -5}, Code.DURATION_OUT_OF_BOUNDS),
        ({"minutes": 121}, Code.DURATION_OUT_OF_BOUNDS),
        ({"minutes": 120}, None),
        ({"minutes": 1}, None),
        ({"reason": ""}, Code.REASON_MISSING),
        ({"reason": "   urgent!    "}, Code.REASON_MISSING),
        ({"reason": "x" * 10}, None),
        ({"reason": "x" * 2000}, None),
        ({"reason": "x" * 2001}, Code.BAD_INPUT),
        ({"login": "histadmin"}, None),
    ],
)
def test_an_ask_beyond_the_playbook_is_a_no(ask: dict[str, Any], code: Code | None) -> None:
    assert _code(replace(SUBMIT, **ask), submit_facts()) is code


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
        # A subject counts only under its own kind.
        (LockKind.PERSON, HIST, False),
        (LockKind.ASSET, "historian-down", False),
    ],
)
def test_a_lock_stands_against_what_it_names_and_nothing_else(
    kind: LockKind, subject: object, locked: bool
) -> None:
    assert _code(SUBMIT, submit_facts(locks=(lock(kind, subject),))) is (Code.LOCKED if locked else None)


def test_the_lock_that_applies_is_found_behind_those_that_dont() -> None:
    locks = (lock(LockKind.PERSON, ROB), lock(LockKind.ASSET, HMI), lock(LockKind.ASSET, HIST))
    assert _code(SUBMIT, submit_facts(locks=locks)) is Code.LOCKED


def test_a_locked_asset_among_several_stops_the_whole_request() -> None:
    ask = replace(SUBMIT, assets=("hist-01", "hmi-02"))
    facts = submit_facts(assets=(HIST_01, HMI_02), locks=(lock(LockKind.ASSET, HMI),))
    assert _code(ask, facts) is Code.LOCKED


def test_who_lacks_a_second_factor_is_told_what_is_missing() -> None:
    decision = decide(SUBMIT, submit_facts(person=replace(PERSON, has_second_factor=False)), NOON)
    assert isinstance(decision, Needs)
    assert decision.steps == ("second_factor",)


def test_urgency_skips_no_check() -> None:
    """E7: whatever the reason says, the answer is the same."""
    ask = replace(SUBMIT, assets=("plc-09",), reason="URGENT: plant down, life at risk, let me in now")
    assert _code(ask, submit_facts()) is Code.ASSET_OUTSIDE_PLAYBOOK


@pytest.mark.parametrize(
    ("ask", "facts"),
    [
        (SUBMIT, access_facts()),
        (policy.Connect("hist-01"), submit_facts()),
        ("let me in", submit_facts()),
        (None, None),
    ],
)
def test_a_question_that_nobody_knows_is_a_no(ask: Any, facts: Any) -> None:
    decision = decide(ask, facts, NOON)
    assert isinstance(decision, Deny)
    assert decision.refusal.code is Code.NOT_ALLOWED
