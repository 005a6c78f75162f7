"""The life of a session, a recording and a review, and the closed list of why sessions end. Standard library only."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum


class SessionState(StrEnum):
    OPENING = "opening"
    LIVE = "live"
    ENDING = "ending"
    ENDED = "ended"


TRANSITIONS: dict[SessionState, frozenset[SessionState]] = {
    SessionState.OPENING: frozenset({SessionState.LIVE, SessionState.ENDING, SessionState.ENDED}),
    SessionState.LIVE: frozenset({SessionState.ENDING, SessionState.ENDED}),
    SessionState.ENDING: frozenset({SessionState.ENDED}),
    SessionState.ENDED: frozenset(),
}

OPEN_STATES = frozenset({SessionState.OPENING, SessionState.LIVE, SessionState.ENDING})


class EndReason(StrEnum):
    """Why a session ended. One each; asked-to-end (ENDING) differs from ended."""

    CLIENT_CLOSED = "client_closed"
    CLIENT_LOST = "client_lost"
    ASSET_CLOSED = "asset_closed"
    EXPIRED = "expired"
    REVOKED = "revoked"
    RELEASED = "released"
    KILLED = "killed"
    IDLE = "idle"
    LOCKED = "locked"
    NOT_AUTHORIZED = "not_authorized"
    LEASE_LOST = "lease_lost"
    CANNOT_RECORD = "cannot_record"
    UPSTREAM_FAILED = "upstream_failed"
    PROTOCOL_ERROR = "protocol_error"
    GATEWAY_STOPPED = "gateway_stopped"
    CRASHED = "crashed"


# What the person is told. A kill, a lock and a revocation read alike: no reason of somebody else's leaks (E5).
END_WORDING: dict[EndReason, str] = {
    EndReason.CLIENT_CLOSED: "you closed it",
    EndReason.CLIENT_LOST: "your connection was lost",
    EndReason.ASSET_CLOSED: "the asset closed it",
    EndReason.EXPIRED: "the time of your grant is over",
    EndReason.REVOKED: "your access was withdrawn",
    EndReason.RELEASED: "you released the grant",
    EndReason.KILLED: "your access was withdrawn",
    EndReason.IDLE: "nothing was typed for too long",
    EndReason.LOCKED: "your access was withdrawn",
    EndReason.NOT_AUTHORIZED: "your access was withdrawn",
    EndReason.LEASE_LOST: "the gateway could not confirm your grant",
    EndReason.CANNOT_RECORD: "it could no longer be recorded",
    EndReason.UPSTREAM_FAILED: "the asset could not be reached",
    EndReason.PROTOCOL_ERROR: "one side broke the protocol",
    EndReason.GATEWAY_STOPPED: "the gateway is going down",
    EndReason.CRASHED: "the gateway crashed",
}


class RecordingState(StrEnum):
    OPEN = "open"
    SEALED = "sealed"
    RECOVERED = "recovered"
    DELETED = "deleted"


class ReviewState(StrEnum):
    DUE = "due"
    SIGNED = "signed"
    OVERDUE = "overdue"


CLAIM_LASTS = timedelta(hours=2)
"""So long a reviewer has a review for themselves; then it is anybody's again, whatever became of them."""


class ReviewVerdict(StrEnum):
    IN_ORDER = "in_order"
    QUESTIONS = "questions"
    VIOLATION = "violation"


class FindingCategory(StrEnum):
    """What a finding is about. A closed list, so that findings can be counted."""

    OUTSIDE_SCOPE = "outside_scope"
    UNSAFE = "unsafe"
    SECRET_SHOWN = "secret_shown"
    LEFT_BEHIND = "left_behind"
    NOT_EXPLAINED = "not_explained"
    RUNBOOK = "runbook"
    OTHER = "other"


CATEGORY_WORDING: dict[FindingCategory, str] = {
    FindingCategory.OUTSIDE_SCOPE: "Outside the task",
    FindingCategory.UNSAFE: "A risk for the process",
    FindingCategory.SECRET_SHOWN: "A secret was shown",
    FindingCategory.LEFT_BEHIND: "Something was left behind",
    FindingCategory.NOT_EXPLAINED: "Not explained",
    FindingCategory.RUNBOOK: "The runbook needs mending",
    FindingCategory.OTHER: "Something else",
}


class Severity(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


# Days from the signature until a finding is to be seen to, unless somebody names another day.
FOLLOW_UP_DAYS: dict[Severity, int] = {
    Severity.CRITICAL: 1,
    Severity.HIGH: 3,
    Severity.MEDIUM: 14,
    Severity.LOW: 30,
}


def review_state_at(stored: ReviewState, due_at: datetime, now: datetime) -> ReviewState:
    """Overdue is a fact of the clock."""
    if stored is ReviewState.DUE and now >= due_at:
        return ReviewState.OVERDUE
    return stored


def may_become(state: SessionState, target: SessionState) -> bool:
    return target in TRANSITIONS[state]
