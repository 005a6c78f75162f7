"""Four eyes and quorum, as pure arithmetic."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.domain.approvals import Decision, Rule, Verdict, objection, outcome
from breakglass.domain.refusals import RefusalCode

RITA, ADA, BEN, SAM = (uuid4() for _ in range(4))
LEADS = frozenset({"ot-leads", "it-leads"})
YES, NO = Verdict.APPROVED, Verdict.DENIED


def _objection(person: UUID, groups: set[str], decisions: list[Decision] | None = None) -> RefusalCode | None:
    found = objection(
        Rule(LEADS, 2),
        requester_id=RITA,
        person_id=person,
        person_groups=frozenset(groups),
        decisions=decisions or [],
    )
    return found.code if found else None


@pytest.mark.parametrize(
    "groups", [{"ot-leads"}, {"it-leads"}, {"ot-leads", "it-leads"}, {"it-leads", "reviewers"}]
)
def test_anybody_of_any_named_group_may_decide(groups: set[str]) -> None:
    assert _objection(ADA, groups) is None


@pytest.mark.parametrize("groups", [set(), {"administrators"}, {"supervisors", "reviewers"}, {"OT-LEADS"}])
def test_nobody_outside_the_named_groups_may_decide(groups: set[str]) -> None:
    assert _objection(ADA, groups) is RefusalCode.NOT_AN_APPROVER


@pytest.mark.parametrize("groups", [set(), {"ot-leads"}])
def test_nobody_decides_on_their_own_request_and_that_is_said_first(groups: set[str]) -> None:
    assert _objection(RITA, groups, [Decision(RITA, YES)]) is RefusalCode.OWN_REQUEST


@pytest.mark.parametrize("verdict", Verdict)
def test_nobody_decides_twice(verdict: Verdict) -> None:
    assert _objection(ADA, {"ot-leads"}, [Decision(ADA, verdict)]) is RefusalCode.ALREADY_DECIDED
    assert _objection(BEN, {"ot-leads"}, [Decision(ADA, verdict)]) is None


def test_the_refusal_says_who_was_asked() -> None:
    found = objection(Rule(LEADS, 1), requester_id=RITA, person_id=RITA, person_groups=LEADS, decisions=[])
    assert found is not None
    assert "it-leads, ot-leads" in found.help


@pytest.mark.parametrize(
    ("count", "decisions", "expected"),
    [
        (1, [], None),
        (1, [(ADA, YES)], YES),
        (2, [(ADA, YES)], None),
        (2, [(ADA, YES), (BEN, YES)], YES),
        (2, [(ADA, YES), (ADA, YES)], None),
        (3, [(ADA, YES), (BEN, YES)], None),
        (1, [(RITA, YES)], None),
        (2, [(ADA, YES), (RITA, YES)], None),
        (1, [(ADA, NO)], NO),
        (2, [(ADA, YES), (BEN, NO)], NO),
        (2, [(ADA, YES), (BEN, YES), (SAM, NO)], NO),
        (1, [(RITA, NO)], None),
        # A rule that asks for nobody still asks for somebody.
        (0, [], None),
        (-1, [], None),
        (0, [(ADA, YES)], YES),
    ],
)
def test_what_the_decisions_add_up_to(
    count: int, decisions: list[tuple[UUID, Verdict]], expected: Verdict | None
) -> None:
    given_ = [Decision(person, verdict) for person, verdict in decisions]
    assert outcome(Rule(LEADS, count), requester_id=RITA, decisions=given_) is expected


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from([RITA, ADA, BEN, SAM]), st.sampled_from(Verdict)), max_size=8),
)
def test_it_takes_that_many_distinct_others_and_no_denial(
    count: int, given_: list[tuple[UUID, Verdict]]
) -> None:
    decisions = [Decision(person, verdict) for person, verdict in given_]
    found = outcome(Rule(LEADS, count), requester_id=RITA, decisions=decisions)
    others = [decision for decision in decisions if decision.person_id != RITA]
    if found is YES:
        assert len({decision.person_id for decision in others}) >= count
        assert all(decision.verdict is YES for decision in others)
    if any(decision.verdict is NO for decision in others):
        assert found is NO
