"""The override's rule: who may decide alone, on what, and when. Everything else is a no."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from breakglass.domain.approvals import Decision, Verdict
from breakglass.domain.overrides import OverrideFacts, objection, opens_at, why_never
from breakglass.domain.refusals import RefusalCode as Code
from tests.support.clock import NOON

RITA, SAM, ADA = (uuid4() for _ in range(3))
OPENS = NOON + timedelta(minutes=10)


def _facts(never: str = "", overdue: str = "", decided: tuple[UUID, ...] = ()) -> OverrideFacts:
    decisions = tuple(Decision(person, Verdict.APPROVED) for person in decided)
    return OverrideFacts("REQ-1", RITA, OPENS, never, overdue, decisions)


@pytest.mark.parametrize(
    ("person", "groups", "seconds", "facts", "expected"),
    [
        (SAM, {"supervisors"}, 0, _facts(), None),
        (SAM, {"supervisors", "ot-leads"}, 900, _facts(), None),
        # Somebody else's yes, of two that are needed, is no answer yet.
        (SAM, {"supervisors"}, 0, _facts(decided=(ADA,)), None),
        (SAM, {"supervisors"}, -1, _facts(), Code.OVERRIDE_TOO_EARLY),
        (SAM, {"supervisors"}, -600, _facts(), Code.OVERRIDE_TOO_EARLY),
        (SAM, {"supervisors"}, 0, _facts(never="the playbook doesn't allow it"), Code.OVERRIDE_NOT_OFFERED),
        (SAM, {"supervisors"}, -1, _facts(never="vendors"), Code.OVERRIDE_NOT_OFFERED),
        (SAM, {"supervisors"}, 0, _facts(overdue="REQ-0 was due"), Code.OVERRIDE_BLOCKED),
        (SAM, {"supervisors"}, 0, _facts(decided=(SAM,)), Code.ALREADY_DECIDED),
        (RITA, {"supervisors"}, 0, _facts(), Code.OWN_REQUEST),
        (RITA, set(), 0, _facts(never="x", overdue="y"), Code.OWN_REQUEST),
        *((ADA, {group}, 0, _facts(), Code.NOT_ALLOWED)
          for group in ("ot-leads", "administrators", "reviewers", "auditors", "responders", "Supervisors")),
        (ADA, set(), 0, _facts(), Code.NOT_ALLOWED),
    ],
)  # fmt: skip
def test_who_may_decide_alone_and_when(
    person: UUID, groups: set[str], seconds: int, facts: OverrideFacts, expected: Code | None
) -> None:
    found = objection(facts, person_id=person, person_groups=groups, now=OPENS + timedelta(seconds=seconds))
    assert (found.code if found else None) is expected


@pytest.mark.parametrize(
    ("allowed", "kinds", "asset_class", "for_vendor", "expected"),
    [
        (True, ["historian"], "historian", False, ""),
        (False, ["historian"], "historian", False, "the playbook doesn't allow it"),
        (True, ["server", "directory"], "server", False, "it is never offered for domain controllers"),
        (True, ["server"], "directory", False, "it is never offered for domain controllers"),
        (True, ["safety"], "server", False, "it is never offered for safety systems"),
        (True, ["SIS"], "server", False, "it is never offered for safety systems"),
        (True, ["historian"], "historian", True, "it is never offered for vendors"),
        (False, ["historian"], "historian", True, "it is never offered for vendors"),
    ],
)
def test_what_nobody_decides_on_alone(
    allowed: bool, kinds: list[str], asset_class: str, for_vendor: bool, expected: str
) -> None:
    found = why_never(allowed=allowed, kinds=kinds, asset_class=asset_class, for_vendor=for_vendor)
    assert found == expected


@pytest.mark.parametrize(
    ("lapses", "extends", "expected"), [(30, False, 10), (12, False, 10), (30, True, 10), (9, True, 6)]
)
def test_when_it_opens(lapses: int, extends: bool, expected: int) -> None:
    """More time that lapses with its grant, at 9 minutes here, is decided on before it does."""
    found = opens_at(
        submitted_at=NOON,
        escalates_at=NOON + timedelta(minutes=3),
        lapses_at=NOON + timedelta(minutes=lapses),
        minutes=10,
        extends=extends,
    )
    assert found == NOON + timedelta(minutes=expected)
