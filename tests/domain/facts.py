"""Facts for decisions, as short as a table wants them. Everything is in order until a test changes it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from breakglass.domain import policy
from breakglass.domain.grants import GrantState, Term
from breakglass.domain.policy import ChannelKind, LockKind

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
URL = "https://breakglass.example/"


def number(n: int) -> UUID:
    return UUID(int=n)


RITA, ROB = number(1), number(2)
HIST, HMI = number(11), number(12)
INCIDENT, OTHER_INCIDENT = number(21), number(22)
FIRST, SECOND, THIRD = number(31), number(32), number(33)

PERSON = policy.PersonFacts(RITA, "rita", True, frozenset({"responders"}), True)
HIST_01 = policy.AssetFacts(HIST, "hist-01")
HMI_02 = policy.AssetFacts(HMI, "hmi-02")
OPEN = policy.IncidentFacts(INCIDENT, "INC-1", True)
PLAYBOOK = policy.PlaybookFacts(
    slug="historian-down",
    requestable=True,
    why_not="retired",
    assets=frozenset({"hist-01", "hmi-02"}),
    logins=("operator", "histadmin"),
    longest_minutes=120,
    requester_groups=frozenset({"responders"}),
)
SUBMIT = policy.Submit("historian-down", ("hist-01",), None, 60, "No data since 02:55")


def submit_facts(**changes: Any) -> policy.SubmitFacts:
    return replace(policy.SubmitFacts(PERSON, PLAYBOOK, OPEN, (HIST_01,), ()), **changes)


def active(ends_at: datetime | None = NOON + HOUR) -> Term:
    return Term(GrantState.ACTIVE, HOUR, None, ends_at)


def armed(use_by: datetime | None = NOON + HOUR) -> Term:
    return Term(GrantState.ARMED, HOUR, use_by, None)


def ended(state: GrantState, ends_at: datetime = NOON + HOUR) -> Term:
    return Term(state, HOUR, None, ends_at)


def grant(**changes: Any) -> policy.GrantFacts:
    whole = policy.GrantFacts(
        id=FIRST,
        person_id=RITA,
        term=active(),
        playbook="historian-down",
        incident=OPEN,
        assets=frozenset({HIST}),
        logins=("operator", "histadmin"),
        channels=frozenset({ChannelKind.SHELL}),
        forward_to=(("127.0.0.1", 8080),),
        idle_seconds=600,
        files=policy.FileRules(("/srv/backup",), 10**9, keep_contents=True),
    )
    return replace(whole, **changes)


def access_facts(*grants: policy.GrantFacts, **changes: Any) -> policy.AccessFacts:
    """`grants` of the person; or all of it by keyword."""
    return replace(policy.AccessFacts(PERSON, HIST_01, grants, (), URL), **changes)


def lock(kind: LockKind, subject: object = "") -> policy.LockFacts:
    return policy.LockFacts(kind, str(subject), "suspicious")
