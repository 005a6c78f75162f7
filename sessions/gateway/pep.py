"""The policy enforcement point: asks `decide()` and carries its answer as a value that nobody else can make.

`SessionAuthorization` is constructed in this module only (tests/test_architecture.py holds it). What has one may
relay; what it permits is settled in memory, for every channel, without a question to a database.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID, uuid4

from breakglass import clock, queries
from breakglass.domain.audit import AuditTag
from breakglass.domain.policy import (
    Allow,
    ChannelKind,
    Connect,
    Continue,
    Deny,
    Needs,
    Obligations,
    allows_channel,
    decide,
)
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refusal, refuse
from breakglass.models import Asset, Person
from breakglass.services import audit, certificates, grants, keys
from breakglass.standing import Held, Standing
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.destinations import Pin, Place, meant, pin
from sessions.gateway.names import Identity
from sessions.gateway.terms import Terms
from sessions.gateway.upstream import Destination

DEFAULT_IDLE = 600
LONGEST_RENEWAL = 8.0


@dataclass(frozen=True)
class SessionAuthorization:
    """The proof of a decision: this person, this asset and login, under this grant, until then."""

    decision_id: UUID
    person_id: UUID
    username: str
    asset_id: UUID
    destination: Destination
    obligations: Obligations
    ends_at: datetime
    deadline: float
    key: str = ""
    certificate: int | None = None
    pins: Mapping[Place, Pin] = field(default_factory=dict)

    @property
    def asset(self) -> str:
        return self.destination.asset

    @property
    def login(self) -> str:
        return self.obligations.login

    @property
    def grant_id(self) -> UUID:
        return self.obligations.grant_id

    @property
    def idle_seconds(self) -> int:
        return self.obligations.idle_seconds or DEFAULT_IDLE

    def permits(self, kind: ChannelKind, target: tuple[str, int] | None = None) -> Refusal | None:
        """Why this channel may not open, or None."""
        place = meant(target, self.pins) if target is not None else None
        why_not = allows_channel(self.obligations, kind, place)
        if why_not is not None or kind is not ChannelKind.FORWARD or place is None:
            return why_not
        pinned = self.pins.get(place) or Pin("", "it was named after this session began")
        if not pinned.why_not:
            return None
        shown = f"{place[0]}:{place[1]}"
        return refusal(RefusalCode.FORWARD_BARRED, destination=shown, why=pinned.why_not)

    def dials(self, target: Place) -> Place:
        """The address and port that the asset is asked for, where `permits` had nothing against it."""
        place = meant(target, self.pins)
        return self.pins[place].address, place[1]

    def over(self, now: datetime, monotonic: float) -> bool:
        """Whether the end has come, by whichever clock says so first: nobody gains time by setting one back."""
        return now >= self.ends_at or monotonic >= self.deadline


def authorize(identity: Identity, asset_name: str, login: str | None) -> SessionAuthorization:
    """Ask for the decision to connect, start an armed grant's clock, and make the proof. Raises Refused, audited."""
    try:
        with borrowed_db():
            made = _authorize(identity, asset_name, login)
        return _pinned(made)
    except Refused as refused:
        note_refusal(refused, actor=identity, asset=asset_name, login=login or "")
        raise


def _pinned(made: SessionAuthorization) -> SessionAuthorization:
    """With the addresses of its forwards, looked up while no database connection waits for them."""
    if ChannelKind.FORWARD not in made.obligations.channels:
        return made
    places = made.obligations.forward_to
    with borrowed_db():
        registered = dict(
            Asset.objects.filter(name__in=[host for host, _ in places]).values_list("name", "host")
        )
    return replace(made, pins=pin(places, made.destination.host, registered))


def _authorize(identity: Identity, asset_name: str, login: str | None) -> SessionAuthorization:
    now = clock.now()
    _Proofs([identity]).check(identity)  # before an armed grant's clock starts
    ask = Connect(asset_name, login, identity.grant_id)
    obligations = _allowed(decide(ask, queries.access_facts(identity.person_id, asset_name), now))
    if obligations.activate:
        grants.activate(obligations.grant_id, now)
        again = Continue(asset_name, obligations.login, obligations.grant_id)
        obligations = _allowed(decide(again, queries.access_facts(identity.person_id, asset_name), now))
    if obligations.ends_at is None:
        raise refuse(RefusalCode.GRANT_ENDED, asset=asset_name, state="not begun", url="the playbook's page")
    asset = Asset.objects.get(pk=obligations.asset_id)
    return SessionAuthorization(
        decision_id=uuid4(),
        person_id=identity.person_id,
        username=identity.username,
        asset_id=asset.pk,
        destination=Destination(asset.name, asset.host, asset.port, asset.legacy_algorithms),
        obligations=obligations,
        ends_at=obligations.ends_at,
        deadline=_deadline(obligations),
        key=identity.key,
        certificate=identity.certificate,
    )


class _Proofs:
    """What the books say today of the keys and certificates that people came in with: two questions at most. A
    connection outlives its login, so they are asked about whenever a session begins or is confirmed.
    """

    def __init__(self, shown: Collection[Identity | SessionAuthorization]) -> None:
        prints = {one.key for one in shown if one.key}
        serials = {one.certificate for one in shown if one.certificate is not None}
        self._holders = keys.holders(prints) if prints else {}
        self._revoked = certificates.revoked_among(serials) if serials else frozenset()

    def check(self, shown: Identity | SessionAuthorization) -> None:
        """Raises Refused where the proof was withdrawn. That a certificate's time is over is a matter of the login."""
        if shown.certificate is not None:
            if shown.certificate in self._revoked:
                raise refuse(RefusalCode.CERTIFICATE_REFUSED, problem="it was revoked")
            # Its key may be one that was never registered.
            if self._holders.get(shown.key, shown.person_id) != shown.person_id:
                raise refuse(RefusalCode.CERTIFICATE_REFUSED, problem="its key was removed from the profile")
        elif shown.key and self._holders.get(shown.key) != shown.person_id:
            verb = "connect with a key that was removed from your profile"
            raise refuse(RefusalCode.NOT_ALLOWED, verb=verb, who="an administrator if it wasn't you")


class Renewal:
    """One look at the database for many sessions, and the decisions out of it. Borrows a connection by itself."""

    def __init__(self, held: Collection[SessionAuthorization]) -> None:
        with borrowed_db(longest=LONGEST_RENEWAL):
            self._standing = Standing([_held(one) for one in held])
            self._proofs = _Proofs(held)
        self._now = clock.now()

    def renew(self, held: SessionAuthorization) -> SessionAuthorization:
        """The same session, decided again from today's facts. Raises Refused when it may not go on."""
        facts = self._standing.facts(_held(held))
        name = facts.asset.name if facts.asset is not None else held.asset
        obligations = _allowed(decide(Continue(name, held.login, held.grant_id), facts, self._now))
        self._proofs.check(held)
        if obligations.ends_at is None:
            raise refuse(
                RefusalCode.GRANT_ENDED, asset=held.asset, state="not begun", url="the playbook's page"
            )
        moved = (obligations.ends_at - held.ends_at).total_seconds()
        deadline = min(held.deadline + moved, _terms.last_moment(held.grant_id, obligations.lasts))
        return replace(held, obligations=obligations, ends_at=obligations.ends_at, deadline=deadline)

    def grant_state(self, held: SessionAuthorization) -> str:
        """As stored when this looked; empty where the grant is gone."""
        return self._standing.grant_state(held.grant_id)


def _held(authorization: SessionAuthorization) -> Held:
    return Held(authorization.person_id, authorization.asset_id, authorization.grant_id)


def note_refusal(
    refused: Refused,
    *,
    actor: Identity | str,
    asset: str = "",
    login: str = "",
    address: str = "",
    now: datetime | None = None,
) -> None:
    """The audit row of a refused way in, of `now`. A stranger's claim of a name is kept as a claim."""
    try:
        with borrowed_db():
            write_refusal(refused, actor=actor, asset=asset, login=login, address=address, now=now)
    except Refused:
        return  # the database is away: nothing was let in, and there is nowhere to write it


def write_refusal(
    refused: Refused,
    *,
    actor: Identity | str,
    asset: str = "",
    login: str = "",
    address: str = "",
    now: datetime | None = None,
) -> None:
    """As `note_refusal`, over a connection that the caller has borrowed."""
    who: Person | str
    if isinstance(actor, Identity):
        who = Person.objects.get(pk=actor.person_id)
        subject: Person | str = who
    elif queries.person_by_name(actor) is None:
        return  # strangers may not fill the trail with names that they make up
    else:
        who = subject = audit.STRANGER + actor
    audit.record_refusal(
        AuditTag.ACCESS_REFUSED, refused, actor=who, subject=subject, now=now or clock.now(),
        asset=asset, login=login, address=address,
    )  # fmt: skip


def _allowed(decision: Allow | Needs | Deny) -> Obligations:
    if isinstance(decision, Allow) and decision.obligations is not None and decision.obligations.record:
        return decision.obligations
    if isinstance(decision, Needs | Deny):
        raise Refused(decision.refusal)
    raise refuse(RefusalCode.NOT_ALLOWED, verb="connect", who="an administrator")


def _deadline(obligations: Obligations) -> float:
    """The first of: the grant's end by the wall clock, and its stated duration, counted from when this process first
    saw it. Both on the clock that nobody can set."""
    assert obligations.ends_at is not None
    left = (obligations.ends_at - clock.now()).total_seconds()
    return min(clock.monotonic() + left, _terms.last_moment(obligations.grant_id, obligations.lasts))


_terms = Terms()
