"""All permissions, as a table of verb by role. What isn't in the table is denied."""

from __future__ import annotations

from itertools import product
from uuid import uuid4

import pytest

from breakglass.domain.permissions import WHO_CAN, Actor, Thing, Verb, may

OWNER, OTHER, DECIDER = uuid4(), uuid4(), uuid4()
THING = Thing(
    owner_id=OWNER,
    approver_groups=frozenset({"ot-leads"}),
    approver_ids=frozenset({DECIDER}),
    escort_groups=frozenset({"plant-staff"}),
)

# Who is who: (id, groups).
ROLES = {
    "owner": (OWNER, {"responders"}),
    "responder": (OTHER, {"responders"}),
    "approver": (OTHER, {"ot-leads"}),
    "decider": (DECIDER, {"ot-leads"}),
    "other approver": (OTHER, {"it-leads"}),
    "reviewer": (OTHER, {"reviewers"}),
    "auditor": (OTHER, {"auditors"}),
    "administrator": (OTHER, {"administrators"}),
    "supervisor": (OTHER, {"supervisors"}),
    "escort": (OTHER, {"plant-staff"}),
    "nobody": (OTHER, set[str]()),
    # Two hats: the rule about the person beats the role.
    "owner and reviewer": (OWNER, {"responders", "reviewers"}),
    "decider and reviewer": (DECIDER, {"ot-leads", "reviewers"}),
    "owner and approver": (OWNER, {"responders", "ot-leads"}),
    "owner and escort": (OWNER, {"responders", "plant-staff"}),
}
EVERYBODY = set(ROLES)
OWNERS = {"owner", "owner and reviewer", "owner and approver", "owner and escort"}
APPROVERS = {"approver", "decider", "decider and reviewer", "owner and approver"}
REVIEWING = {"reviewer", "owner and reviewer", "decider and reviewer"}
SEES = OWNERS | APPROVERS | REVIEWING | {"auditor", "administrator"}

ALLOWED: dict[Verb, set[str]] = {
    Verb.SEE_REQUEST: SEES | {"supervisor"},
    Verb.SEE_GRANT: SEES,
    Verb.SEE_SESSION: SEES | {"escort"},
    Verb.WATCH_SESSION: (SEES | {"escort"}) - OWNERS,
    Verb.CHAT_SESSION: SEES | {"escort"},
    Verb.WITHDRAW_REQUEST: OWNERS,
    Verb.OVERRIDE_REQUEST: {"supervisor"},
    Verb.RELEASE_GRANT: OWNERS,
    Verb.REVOKE_GRANT: APPROVERS | {"administrator"},
    Verb.KILL_SESSION: APPROVERS | {"administrator"},
    Verb.FREEZE_SESSION: APPROVERS | {"administrator"},
    Verb.UNFREEZE_SESSION: (APPROVERS | {"administrator"}) - OWNERS,
    Verb.REPLAY_SESSION: OWNERS | REVIEWING | {"auditor"},
    Verb.HOLD_RECORDING: {"auditor"},
    Verb.LIST_SESSIONS: REVIEWING | {"auditor"},
    Verb.SEE_ENDS: REVIEWING | {"auditor", "administrator"},
    Verb.SEE_TRENDS: REVIEWING | {"auditor", "administrator", "supervisor"},
    Verb.LIST_REVIEWS: REVIEWING | {"auditor"},
    Verb.EXPORT_EVIDENCE: REVIEWING | {"auditor", "administrator"},
    Verb.SIGN_REVIEW: {"reviewer"},
    Verb.FOLLOW_UP_FINDING: {"reviewer", "auditor"},
    Verb.SEE_AUDIT: {"auditor"},
    Verb.SEE_ASSETS: EVERYBODY,
    Verb.SEE_PLAYBOOKS: EVERYBODY,
    Verb.SEE_INCIDENTS: EVERYBODY,
    Verb.MANAGE_ASSETS: {"administrator"},
    Verb.MANAGE_PEOPLE: {"administrator"},
    Verb.MANAGE_LOCKS: {"administrator"},
    Verb.MANAGE_KIOSKS: {"administrator"},
    Verb.SEE_RECORDS: {"administrator"},
    Verb.OPEN_INCIDENT: EVERYBODY - {"reviewer", "auditor", "nobody"},
    Verb.CLOSE_INCIDENT: OWNERS | APPROVERS | {"administrator"},
}


def test_the_table_covers_every_verb_and_so_does_the_wording() -> None:
    assert set(ALLOWED) == set(Verb) == set(WHO_CAN)


@pytest.mark.parametrize(("verb", "role"), product(Verb, ROLES))
def test_each_role_may_do_what_the_table_says_and_nothing_else(verb: Verb, role: str) -> None:
    person, groups = ROLES[role]
    assert may(Actor(person, frozenset(groups)), verb, THING) is (role in ALLOWED[verb])


@pytest.mark.parametrize(("verb", "role"), product(Verb, ROLES))
def test_a_disabled_person_may_do_nothing(verb: Verb, role: str) -> None:
    person, groups = ROLES[role]
    assert not may(Actor(person, frozenset(groups), active=False), verb, THING)


@pytest.mark.parametrize(
    "verb", [Verb.WITHDRAW_REQUEST, Verb.RELEASE_GRANT, Verb.CLOSE_INCIDENT, Verb.REVOKE_GRANT]
)
def test_what_belongs_to_nobody_is_owned_by_nobody(verb: Verb) -> None:
    assert not may(Actor(OWNER, frozenset({"responders"})), verb, Thing())


def test_an_unknown_verb_is_denied() -> None:
    everything = frozenset({"responders", "reviewers", "auditors", "administrators", "ot-leads"})
    assert not may(Actor(OWNER, everything), "open every door", THING)  # type: ignore[arg-type]
