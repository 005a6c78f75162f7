"""All permissions of people over screens and objects, on one page. Deny everything else.

Facts come as plain values; nothing here reads a database. A person's roles are the groups they are in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

RESPONDERS = "responders"
REVIEWERS = "reviewers"
AUDITORS = "auditors"
ADMINISTRATORS = "administrators"
SUPERVISORS = "supervisors"
OUR_OWN = frozenset({REVIEWERS, AUDITORS, ADMINISTRATORS, SUPERVISORS})
"""Roles that only our own people hold, never a vendor's."""


class Verb(StrEnum):
    SEE_REQUEST = "see this request"
    WITHDRAW_REQUEST = "withdraw this request"
    OVERRIDE_REQUEST = "decide on this request alone"
    SEE_GRANT = "see this grant"
    RELEASE_GRANT = "release this grant"
    REVOKE_GRANT = "revoke this grant"
    SEE_SESSION = "see this session"
    REPLAY_SESSION = "replay this session"
    HOLD_RECORDING = "hold this recording, or lift its hold"
    KILL_SESSION = "end this session"
    FREEZE_SESSION = "freeze this session"
    UNFREEZE_SESSION = "unfreeze this session"
    WATCH_SESSION = "watch this session"
    CHAT_SESSION = "write beside this session"
    LIST_SESSIONS = "list everybody's sessions"
    SEE_ENDS = "see how fast sessions end"
    SEE_TRENDS = "see the trends"
    SIGN_REVIEW = "sign this review"
    LIST_REVIEWS = "list reviews"
    FOLLOW_UP_FINDING = "follow up this finding"
    EXPORT_EVIDENCE = "export the evidence of this grant"
    SEE_AUDIT = "read the audit trail"
    SEE_ASSETS = "see the assets"
    MANAGE_ASSETS = "manage assets"
    MANAGE_LOCKS = "place or lift locks"
    MANAGE_KIOSKS = "set up or take down wallboards"
    SEE_RECORDS = "look at the records"
    MANAGE_PEOPLE = "manage people and their factors"
    OPEN_INCIDENT = "open an incident"
    SEE_INCIDENTS = "see the incidents"
    CLOSE_INCIDENT = "close this incident"
    SEE_PLAYBOOKS = "see the playbooks"


WHO_CAN: dict[Verb, str] = {
    Verb.SEE_REQUEST: "the requester, an approver, a supervisor or an auditor",
    Verb.WITHDRAW_REQUEST: "the requester",
    Verb.OVERRIDE_REQUEST: "a supervisor who didn't ask",
    Verb.SEE_GRANT: "its holder, an approver or an auditor",
    Verb.RELEASE_GRANT: "its holder",
    Verb.REVOKE_GRANT: "one of the playbook's approvers or an administrator",
    Verb.SEE_SESSION: "the person of the session, an approver, an escort, a reviewer or an auditor",
    Verb.REPLAY_SESSION: "the person of the session, a reviewer or an auditor",
    Verb.HOLD_RECORDING: "an auditor who neither asked nor approved",
    Verb.KILL_SESSION: "one of the playbook's approvers or an administrator",
    Verb.FREEZE_SESSION: "one of the playbook's approvers or an administrator",
    Verb.UNFREEZE_SESSION: "one of the playbook's approvers or an administrator, not the person of the session",
    Verb.WATCH_SESSION: "an approver, an escort, a reviewer, an auditor or an administrator",
    Verb.CHAT_SESSION: "the person of the session, or whoever may watch it",
    Verb.LIST_SESSIONS: "a reviewer or an auditor",
    Verb.SEE_ENDS: "a reviewer, an auditor or an administrator",
    Verb.SEE_TRENDS: "a reviewer, an auditor, a supervisor or an administrator",
    Verb.SIGN_REVIEW: "a reviewer who neither asked nor approved",
    Verb.LIST_REVIEWS: "a reviewer or an auditor",
    Verb.FOLLOW_UP_FINDING: "a reviewer or an auditor who neither asked nor approved",
    Verb.EXPORT_EVIDENCE: "a reviewer, an auditor or an administrator",
    Verb.SEE_AUDIT: "an auditor",
    Verb.SEE_ASSETS: "anyone who works here",
    Verb.MANAGE_ASSETS: "an administrator",
    Verb.MANAGE_LOCKS: "an administrator",
    Verb.MANAGE_KIOSKS: "an administrator",
    Verb.SEE_RECORDS: "an administrator",
    Verb.MANAGE_PEOPLE: "an administrator",
    Verb.OPEN_INCIDENT: "a responder, an approver or an administrator",
    Verb.SEE_INCIDENTS: "anyone who works here",
    Verb.CLOSE_INCIDENT: "who opened it, an approver or an administrator",
    Verb.SEE_PLAYBOOKS: "anyone who works here",
}


@dataclass(frozen=True)
class Actor:
    id: UUID
    groups: frozenset[str]
    active: bool = True


@dataclass(frozen=True)
class Thing:
    """What is acted on: whose it is, and who decides about it. Empty where the verb is about no object."""

    owner_id: UUID | None = None
    approver_groups: frozenset[str] = frozenset()
    approver_ids: frozenset[UUID] = frozenset()
    escort_groups: frozenset[str] = frozenset()


NOTHING = Thing()


def may(actor: Actor, verb: Verb, thing: Thing = NOTHING) -> bool:  # noqa: C901, PLR0912 - one page, on purpose
    """Whether the actor may do this to this thing."""
    if not actor.active:
        return False
    owns = thing.owner_id is not None and thing.owner_id == actor.id
    approves = bool(actor.groups & thing.approver_groups)
    # Who is watched is never their own escort.
    escorts = bool(actor.groups & thing.escort_groups) and not owns
    reviews = REVIEWERS in actor.groups
    audits = AUDITORS in actor.groups
    administers = ADMINISTRATORS in actor.groups
    match verb:
        case Verb.SEE_PLAYBOOKS | Verb.SEE_ASSETS | Verb.SEE_INCIDENTS:
            return True
        case Verb.SEE_REQUEST | Verb.SEE_GRANT | Verb.SEE_SESSION:
            # Supervisors are woken when nobody answers a request: they see what they were woken for.
            woken = verb is Verb.SEE_REQUEST and SUPERVISORS in actor.groups
            escorts = escorts and verb is Verb.SEE_SESSION
            return owns or approves or reviews or audits or administers or woken or escorts
        case Verb.CHAT_SESSION:
            return owns or approves or reviews or audits or administers or escorts
        case Verb.WATCH_SESSION:
            return (approves or reviews or audits or administers or escorts) and not owns
        case Verb.WITHDRAW_REQUEST | Verb.RELEASE_GRANT:
            return owns
        case Verb.OVERRIDE_REQUEST:
            return SUPERVISORS in actor.groups and not owns
        case Verb.REVOKE_GRANT | Verb.KILL_SESSION | Verb.FREEZE_SESSION:
            return approves or administers
        case Verb.UNFREEZE_SESSION:
            return (approves or administers) and not owns
        case Verb.REPLAY_SESSION:
            return owns or reviews or audits
        case Verb.LIST_SESSIONS | Verb.LIST_REVIEWS:
            return reviews or audits
        case Verb.SEE_ENDS | Verb.EXPORT_EVIDENCE:
            return reviews or audits or administers
        case Verb.SEE_TRENDS:
            return reviews or audits or administers or SUPERVISORS in actor.groups
        case Verb.SIGN_REVIEW:
            return reviews and not owns and actor.id not in thing.approver_ids
        case Verb.FOLLOW_UP_FINDING:
            # Who is judged by it neither closes nor postpones it.
            return (reviews or audits) and not owns and actor.id not in thing.approver_ids
        case Verb.SEE_AUDIT:
            return audits
        case Verb.HOLD_RECORDING:
            # Who may be judged by a recording neither keeps nor gives it up.
            return audits and not owns and actor.id not in thing.approver_ids
        case Verb.MANAGE_ASSETS | Verb.MANAGE_LOCKS | Verb.MANAGE_PEOPLE | Verb.MANAGE_KIOSKS:
            return administers
        case Verb.SEE_RECORDS:
            return administers
        case Verb.OPEN_INCIDENT:
            # Approvers' groups are the playbooks' to name; those who look afterwards start nothing.
            return bool(actor.groups - {REVIEWERS, AUDITORS})
        case Verb.CLOSE_INCIDENT:
            return owns or approves or administers
    return False
