"""The policy decision point: `decide(ask, facts, now)`. Pure; unknown means no.

Facts are gathered by `breakglass.queries`; the answer is carried as a value, so that no screen and no
gateway decides a second time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from breakglass.domain.grants import LIVE, GrantState, Term, state_at
from breakglass.domain.refusals import Refusal, RefusalCode, refusal

LEAST_REASON = 10
MOST_REASON = 2000


class ChannelKind(StrEnum):
    SHELL = "shell"
    EXEC = "exec"
    SFTP = "sftp"
    FORWARD = "forward"


class LockKind(StrEnum):
    PERSON = "person"
    ASSET = "asset"
    PLAYBOOK = "playbook"
    INCIDENT = "incident"
    EVERYTHING = "everything"


Destination = tuple[str, int]


@dataclass(frozen=True)
class FileRules:
    """What a session may do with files. Without roots: whatever the login may. `max_bytes` counts each way alone."""

    roots: tuple[str, ...] = ()
    max_bytes: int | None = None
    keep_contents: bool = False


@dataclass(frozen=True)
class PersonFacts:
    id: UUID
    username: str
    active: bool
    groups: frozenset[str]
    has_second_factor: bool


@dataclass(frozen=True)
class AssetFacts:
    id: UUID
    name: str
    active: bool = True


@dataclass(frozen=True)
class IncidentFacts:
    id: UUID
    label: str
    open: bool


@dataclass(frozen=True)
class LockFacts:
    """A standing refusal. `subject` is the id or slug it is about; empty for everything."""

    kind: LockKind
    subject: str
    reason: str


@dataclass(frozen=True)
class PlaybookFacts:
    slug: str
    requestable: bool
    why_not: str
    assets: frozenset[str]
    logins: tuple[str, ...]
    longest_minutes: int
    requester_groups: frozenset[str]


@dataclass(frozen=True)
class GrantFacts:
    id: UUID
    person_id: UUID
    term: Term
    playbook: str
    incident: IncidentFacts
    assets: frozenset[UUID]
    logins: tuple[str, ...]
    channels: frozenset[ChannelKind]
    forward_to: tuple[Destination, ...]
    idle_seconds: int
    hold_until_expiry: bool = False
    files: FileRules = FileRules()


@dataclass(frozen=True)
class SubmitFacts:
    person: PersonFacts
    playbook: PlaybookFacts | None
    incident: IncidentFacts | None
    assets: tuple[AssetFacts, ...]
    locks: tuple[LockFacts, ...]


@dataclass(frozen=True)
class AccessFacts:
    """`grants` are the person's own; `request_url` is where access is asked for."""

    person: PersonFacts
    asset: AssetFacts | None
    grants: tuple[GrantFacts, ...]
    locks: tuple[LockFacts, ...]
    request_url: str


@dataclass(frozen=True)
class Submit:
    """May this person ask for this access?"""

    playbook: str
    assets: tuple[str, ...]
    login: str | None
    minutes: int
    reason: str


@dataclass(frozen=True)
class Connect:
    """May this person get into this asset now? Without a login the grant's first one is meant.

    `grant_id`: by this very grant and no other, as a certificate or a connect code of it says.
    """

    asset: str
    login: str | None = None
    grant_id: UUID | None = None


@dataclass(frozen=True)
class Continue:
    """May this session, under this grant and to this login, go on?"""

    asset: str
    login: str
    grant_id: UUID


@dataclass(frozen=True)
class Obligations:
    """What the enforcement point must hold to. `ends_at` is None only where `activate` is True.

    `lasts` is the grant's stated duration: whatever clocks say, it isn't held for longer.
    """

    grant_id: UUID
    asset_id: UUID
    login: str
    channels: frozenset[ChannelKind]
    forward_to: tuple[Destination, ...]
    ends_at: datetime | None
    idle_seconds: int
    activate: bool = False
    record: bool = True
    hold_until_expiry: bool = False
    files: FileRules = FileRules()
    lasts: timedelta | None = None


@dataclass(frozen=True)
class Allow:
    obligations: Obligations | None = None


@dataclass(frozen=True)
class Needs:
    """Not yet: these steps are missing."""

    steps: tuple[str, ...]
    refusal: Refusal


@dataclass(frozen=True)
class Deny:
    refusal: Refusal


Decision = Allow | Needs | Deny
Ask = Submit | Connect | Continue
Facts = SubmitFacts | AccessFacts


def decide(ask: Ask, facts: Facts, now: datetime) -> Decision:
    """The one decision. Total: whatever isn't known to be allowed is denied."""
    match ask, facts:
        case Submit(), SubmitFacts():
            return _decide_submit(ask, facts)
        case ((Connect() | Continue()), AccessFacts()):
            return _decide_access(ask, facts, now)
    return Deny(refusal(RefusalCode.NOT_ALLOWED, verb="do that", who="an administrator"))


def allows_channel(
    obligations: Obligations, kind: ChannelKind, destination: Destination | None = None
) -> Refusal | None:
    """Why this channel may not open under these obligations, or None. Needs no facts: it is asked for every channel."""
    if kind not in obligations.channels:
        allowed = ", ".join(sorted(obligations.channels)) or "nothing"
        return refusal(RefusalCode.CHANNEL_NOT_ALLOWED, channel=str(kind), allowed=allowed)
    if kind is ChannelKind.FORWARD and destination not in obligations.forward_to:
        named = ", ".join(f"{host}:{port}" for host, port in obligations.forward_to) or "nothing"
        shown = f"{destination[0]}:{destination[1]}" if destination else "nowhere"
        return refusal(RefusalCode.FORWARD_NOT_ALLOWED, destination=shown, allowed=named)
    return None


def inside(path: str, roots: Collection[str], *, strictly: bool = False) -> bool:
    """Whether an absolute path, without `.`, `..` and symbolic links in it, is one of the roots or below one.

    `strictly`: below one, for what would remove or replace the root itself. No roots hold nothing.
    """
    below = any(path.startswith(root.rstrip("/") + "/") for root in roots)
    return below or (not strictly and path in roots)


def _decide_submit(ask: Submit, facts: SubmitFacts) -> Decision:
    checks = (
        _person_objection(facts.person),
        _playbook_objection(ask, facts),
        _scope_objection(ask, facts),
        _incident_objection(facts.incident),
        _lock_objection(
            facts.locks,
            _Subjects(
                person=str(facts.person.id),
                assets=frozenset(str(asset.id) for asset in facts.assets),
                playbook=ask.playbook,
                incident=str(facts.incident.id) if facts.incident else "",
            ),
        ),
    )
    for objection in checks:
        if objection is not None:
            return Deny(objection)
    if len(ask.reason.strip()) < LEAST_REASON:
        return Deny(refusal(RefusalCode.REASON_MISSING, least=LEAST_REASON))
    if len(ask.reason) > MOST_REASON:
        problem = f"Say it in {MOST_REASON} characters or fewer."
        return Deny(refusal(RefusalCode.BAD_INPUT, problem=problem, needs=("reason",)))
    if not facts.person.has_second_factor:
        return Needs(("second_factor",), refusal(RefusalCode.SECOND_FACTOR_REQUIRED))
    return Allow()


def _decide_access(ask: Connect | Continue, facts: AccessFacts, now: datetime) -> Decision:
    objection = _person_objection(facts.person)
    if objection is not None:
        return Deny(objection)
    if facts.asset is None or facts.asset.name != ask.asset or not facts.asset.active:
        return Deny(refusal(RefusalCode.UNKNOWN_ASSET, asset=ask.asset))
    if not facts.person.has_second_factor:
        return Needs(("second_factor",), refusal(RefusalCode.SECOND_FACTOR_REQUIRED))
    candidates = _live_grants(ask, facts, facts.asset, now)
    if isinstance(candidates, Deny):
        return candidates
    # Overlapping grants stand apart: what is against one of them doesn't end another.
    against = []
    for grant in candidates:
        login = ask.login or (grant.logins[0] if grant.logins else "")
        objection = _grant_objection(grant, facts, facts.asset, login)
        if objection is None:
            return Allow(_obligations(grant, facts.asset, login))
        against.append(objection)
    return Deny(against[0])


def _live_grants(
    ask: Connect | Continue, facts: AccessFacts, asset: AssetFacts, now: datetime
) -> list[GrantFacts] | Deny:
    """The person's live grants for this asset, the preferred first; never an empty list."""
    own = [grant for grant in facts.grants if grant.person_id == facts.person.id and asset.id in grant.assets]
    if ask.grant_id is not None:
        own = [grant for grant in own if grant.id == ask.grant_id]
    live = [grant for grant in own if state_at(grant.term, now) in LIVE]
    if live:
        fitting = [grant for grant in live if ask.login is None or ask.login in grant.logins]
        return sorted(fitting or live, key=_preference, reverse=True)
    if not own:
        return Deny(refusal(RefusalCode.NO_GRANT, asset=asset.name, url=facts.request_url))
    last = max(own, key=_ended_last)
    if last.term.state is GrantState.ARMED:
        return Deny(refusal(RefusalCode.GRANT_USE_WINDOW_OVER, asset=asset.name, url=facts.request_url))
    state = str(state_at(last.term, now))
    return Deny(refusal(RefusalCode.GRANT_ENDED, asset=asset.name, state=state, url=facts.request_url))


def _grant_objection(grant: GrantFacts, facts: AccessFacts, asset: AssetFacts, login: str) -> Refusal | None:
    """What stands against using this live grant now: its incident, a lock, the login."""
    subjects = _Subjects(
        person=str(facts.person.id),
        assets=frozenset({str(asset.id)}),
        playbook=grant.playbook,
        incident=str(grant.incident.id),
    )
    objection = _incident_objection(grant.incident) or _lock_objection(facts.locks, subjects)
    if objection is None and login not in grant.logins:
        return refusal(RefusalCode.LOGIN_NOT_IN_GRANT, login=login, choices=", ".join(grant.logins))
    return objection


def _preference(grant: GrantFacts) -> tuple[bool, float, str]:
    """A running clock before one that would start; then the latest end; the id makes it one answer."""
    ends = grant.term.ends_at.timestamp() if grant.term.ends_at else 0.0
    return (grant.term.state is GrantState.ACTIVE, ends, str(grant.id))


def _ended_last(grant: GrantFacts) -> float:
    end = grant.term.ends_at or grant.term.use_by
    return end.timestamp() if end else 0.0


def _obligations(grant: GrantFacts, asset: AssetFacts, login: str) -> Obligations:
    return Obligations(
        grant_id=grant.id,
        asset_id=asset.id,
        login=login,
        channels=grant.channels,
        forward_to=grant.forward_to,
        ends_at=grant.term.ends_at,
        idle_seconds=grant.idle_seconds,
        activate=grant.term.state is GrantState.ARMED,
        hold_until_expiry=grant.hold_until_expiry,
        files=grant.files,
        lasts=grant.term.duration,
    )


def _person_objection(person: PersonFacts) -> Refusal | None:
    return None if person.active else refusal(RefusalCode.PERSON_INACTIVE, person=person.username)


def _playbook_objection(ask: Submit, facts: SubmitFacts) -> Refusal | None:
    playbook = facts.playbook
    if playbook is None or playbook.slug != ask.playbook:
        return refusal(RefusalCode.NOT_FOUND, what="playbook")
    if not playbook.requestable:
        return refusal(RefusalCode.PLAYBOOK_RETIRED, playbook=playbook.slug, why=playbook.why_not)
    if not facts.person.groups & playbook.requester_groups:
        who = "somebody of " + ", ".join(sorted(playbook.requester_groups))
        return refusal(RefusalCode.NOT_ALLOWED, verb=f"request the playbook {playbook.slug}", who=who)
    return None


def _scope_objection(ask: Submit, facts: SubmitFacts) -> Refusal | None:
    playbook = facts.playbook
    if playbook is None:
        return refusal(RefusalCode.NOT_FOUND, what="playbook")
    choices = ", ".join(sorted(playbook.assets))
    if not ask.assets:
        return refusal(RefusalCode.BAD_INPUT, problem=f"Name at least one asset. Choose among: {choices}.")
    for name in ask.assets:
        if name not in playbook.assets:
            return refusal(
                RefusalCode.ASSET_OUTSIDE_PLAYBOOK, asset=name, playbook=playbook.slug, choices=choices
            )
    known = {asset.name for asset in facts.assets if asset.active}
    for name in ask.assets:
        if name not in known:
            return refusal(RefusalCode.UNKNOWN_ASSET, asset=name)
    if ask.login is not None and ask.login not in playbook.logins:
        return refusal(RefusalCode.LOGIN_NOT_IN_GRANT, login=ask.login, choices=", ".join(playbook.logins))
    if not 1 <= ask.minutes <= playbook.longest_minutes:
        return refusal(
            RefusalCode.DURATION_OUT_OF_BOUNDS, minutes=ask.minutes, longest=playbook.longest_minutes
        )
    return None


def _incident_objection(incident: IncidentFacts | None) -> Refusal | None:
    if incident is None:
        return refusal(RefusalCode.NOT_FOUND, what="incident")
    return None if incident.open else refusal(RefusalCode.INCIDENT_CLOSED, incident=incident.label)


@dataclass(frozen=True)
class _Subjects:
    person: str
    playbook: str
    incident: str
    assets: frozenset[str] = field(default_factory=frozenset)


def person_lock(locks: tuple[LockFacts, ...], person_id: UUID) -> Refusal | None:
    """What stands against this person's saying yes to anything, or escorting anybody: a lock on them, or on everything."""
    return _lock_objection(locks, _Subjects(person=str(person_id), playbook="", incident=""))


def _lock_objection(locks: tuple[LockFacts, ...], subjects: _Subjects) -> Refusal | None:
    for lock in locks:
        if _lock_applies(lock, subjects):
            what = "everything" if lock.kind is LockKind.EVERYTHING else f"this {lock.kind}"
            return refusal(RefusalCode.LOCKED, what=what, reason=lock.reason, who="An administrator")
    return None


def _lock_applies(lock: LockFacts, subjects: _Subjects) -> bool:
    match lock.kind:
        case LockKind.EVERYTHING:
            return True
        case LockKind.PERSON:
            return lock.subject == subjects.person
        case LockKind.ASSET:
            return lock.subject in subjects.assets
        case LockKind.PLAYBOOK:
            return lock.subject == subjects.playbook
        case LockKind.INCIDENT:
            return lock.subject == subjects.incident
    assert_never(lock.kind)
