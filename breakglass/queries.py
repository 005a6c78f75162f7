"""Reads: facts for the decision point, and lists for screens. Nothing here writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db.models import BooleanField, Exists, ExpressionWrapper, F, OuterRef, Prefetch, Q, QuerySet
from django_otp_webauthn.models import WebAuthnCredential

from breakglass.domain import approvals, permissions, policy
from breakglass.domain.approvals import Verdict
from breakglass.domain.grants import ENDED, GrantState
from breakglass.domain.permissions import Actor, Thing, Verb
from breakglass.domain.policy import ChannelKind, LockKind
from breakglass.domain.refusals import Refusal, RefusalCode, refuse
from breakglass.domain.requests import RequestState
from breakglass.models import (
    AccessRequest,
    Approval,
    Asset,
    Grant,
    Incident,
    Lock,
    Notice,
    Person,
    PlaybookVersion,
    SshKey,
    TotpFactor,
)
from playbooks.digest import digest_of
from playbooks.schema import PlaybookSpec

# --- playbooks


_SPECS: dict[str, PlaybookSpec] = {}


def spec_of(version: PlaybookVersion) -> PlaybookSpec:
    """The content of an immutable version. Raises ValueError when it isn't the one that the digest names (E19)."""
    known = _SPECS.get(version.digest)
    if known is not None:
        return known
    spec = PlaybookSpec.from_plain(version.spec, stored=True)
    if digest_of(spec) != version.digest:
        raise ValueError(f"the stored spec of {version} doesn't match its digest")
    _SPECS[version.digest] = spec
    return spec


def current_playbook(slug: str) -> PlaybookVersion | None:
    return PlaybookVersion.objects.filter(slug=slug, retired_at=None).first()


def current_playbooks() -> list[PlaybookVersion]:
    return list(PlaybookVersion.objects.filter(retired_at=None).order_by("title"))


def playbooks_for(person: Person) -> list[PlaybookVersion]:
    """The current playbooks that this person may request."""
    groups = groups_of(person)
    return [version for version in current_playbooks() if groups & set(spec_of(version).requesters.groups)]


def escorts_of(version: PlaybookVersion) -> frozenset[str]:
    """The groups of which one must watch a session under it; empty where none is asked for."""
    return frozenset(spec_of(version).escort or ())


def rule_of(version: PlaybookVersion) -> approvals.Rule:
    spec = spec_of(version)
    return approvals.Rule(frozenset(spec.approvers.groups), spec.approvers.count)


# --- people


def groups_of(person: Person) -> frozenset[str]:
    """The groups that count, fresh from the database: of a vendor's person none of our own roles, however they came by it."""
    rows = Person.groups.through.objects.filter(person=person).values_list("group__name", "person__vendor")
    return frozenset(name for name, vendor in rows if not vendor or name not in permissions.OUR_OWN)


def actor_of(person: Person) -> Actor:
    """The person as `permissions.may` knows them, fresh from the database."""
    active = Person.objects.filter(pk=person.pk, is_active=True).exists()
    return Actor(person.pk, groups_of(person), active)


def refuse_unless(person: Person, verb: Verb, thing: Thing = permissions.NOTHING) -> None:
    """Raises Refused `not_allowed`, saying who can."""
    if not permissions.may(actor_of(person), verb, thing):
        raise refuse(RefusalCode.NOT_ALLOWED, verb=verb, who=permissions.WHO_CAN[verb])


def person_by_name(username: str) -> Person | None:
    return Person.objects.filter(username=username).first()


def person_with_key(username: str, blob: bytes) -> tuple[Person, SshKey] | None:
    """The active person of that name, if this very key is registered for them."""
    key = (
        SshKey.objects.select_related("person")
        .filter(person__username=username, person__is_active=True, removed_at=None, blob=blob)
        .first()
    )
    return None if key is None else (key.person, key)


def people_in(groups: Iterable[str]) -> list[Person]:
    """Whoever is in one of these as `groups_of` counts."""
    names = frozenset(groups)
    ours = Q(groups__name__in=names & permissions.OUR_OWN, vendor="")
    anybody = Q(groups__name__in=names - permissions.OUR_OWN)
    return list(Person.objects.filter(ours | anybody, is_active=True).distinct())


def person_facts(person: Person) -> policy.PersonFacts:
    """Fresh from the database. Raises Person.DoesNotExist."""
    return people_facts([person.pk])[person.pk]


class PeopleFacts(dict[UUID, policy.PersonFacts]):
    """By id. Who isn't there raises Person.DoesNotExist."""

    def __missing__(self, person_id: UUID) -> policy.PersonFacts:
        raise Person.DoesNotExist(f"there is no person {person_id}")


def people_facts(ids: Collection[UUID]) -> PeopleFacts:
    """Of many people, fresh from the database, in one query."""
    app = TotpFactor.objects.filter(user=OuterRef("pk"), confirmed=True)
    passkey = WebAuthnCredential.objects.filter(user=OuterRef("pk"), confirmed=True)
    either = ExpressionWrapper(Exists(app) | Exists(passkey), output_field=BooleanField())
    rows = (
        Person.objects.filter(pk__in=ids)
        .order_by()
        .values_list("pk", "username", "is_active", either, "groups__name")
    )
    groups: dict[UUID, set[str]] = {}
    found: dict[UUID, tuple[str, bool, bool]] = {}
    for pk, username, active, has_second_factor, group in rows:
        found[pk] = (username, active, has_second_factor)
        groups.setdefault(pk, set()).update([group] if group is not None else [])
    return PeopleFacts(
        {
            pk: policy.PersonFacts(pk, username, active, frozenset(groups[pk]), has_second_factor)
            for pk, (username, active, has_second_factor) in found.items()
        }
    )


# --- facts for decisions


def submit_facts(
    person: Person,
    version: PlaybookVersion | None,
    incident_id: UUID,
    assets: Iterable[str],
    *,
    pinned: bool = False,
) -> policy.SubmitFacts:
    """What `decide(Submit)` needs. `pinned`: the version was current when it was asked for, which is what counts."""
    incident = Incident.objects.filter(pk=incident_id).first()
    return policy.SubmitFacts(
        person=person_facts(person),
        playbook=_playbook_facts(version, pinned) if version else None,
        incident=_incident_facts(incident) if incident else None,
        assets=tuple(asset_facts(asset) for asset in Asset.objects.filter(name__in=list(assets))),
        locks=lock_facts(),
    )


# A playbook's text is read once a process (`spec_of`), not with each grant.
GRANTS_FOR_FACTS = (
    Grant.objects.select_related("incident", "playbook").defer("playbook__spec").prefetch_related("assets")
)


def access_facts(person_id: UUID, asset_name: str) -> policy.AccessFacts:
    """What `decide(Connect)` and `decide(Continue)` need. Raises Person.DoesNotExist."""
    person = people_facts([person_id])[person_id]
    asset = Asset.objects.filter(name=asset_name).first()
    grants: QuerySet[Grant] = Grant.objects.none()
    if asset is not None:
        # The live ones first: an old end never crowds out a grant that runs.
        grants = GRANTS_FOR_FACTS.filter(person_id=person_id, assets=asset).order_by(
            F("ended_at").desc(nulls_first=True), "-issued_at"
        )
    return policy.AccessFacts(
        person=person,
        asset=asset_facts(asset) if asset else None,
        grants=tuple(grant_facts(grant) for grant in grants[:50]),
        locks=lock_facts(),
        request_url=f"{settings.BREAKGLASS.public_url}/",
    )


def asset_facts(asset: Asset) -> policy.AssetFacts:
    return policy.AssetFacts(asset.pk, asset.name, asset.active)


def _incident_facts(incident: Incident) -> policy.IncidentFacts:
    return policy.IncidentFacts(incident.pk, incident.label, incident.is_open)


def _playbook_facts(version: PlaybookVersion, pinned: bool) -> policy.PlaybookFacts:
    spec = spec_of(version)
    current = pinned or version.retired_at is None
    return policy.PlaybookFacts(
        slug=version.slug,
        requestable=current and not spec.template,
        why_not="a template" if spec.template else "retired",
        assets=frozenset(spec.assets),
        logins=spec.logins,
        longest_minutes=spec.duration.max_minutes,
        requester_groups=frozenset(spec.requesters.groups),
    )


def grant_facts(grant: Grant) -> policy.GrantFacts:
    spec = spec_of(grant.playbook)
    return policy.GrantFacts(
        id=grant.pk,
        person_id=grant.person_id,
        term=grant.term,
        playbook=grant.playbook.slug,
        incident=_incident_facts(grant.incident),
        assets=frozenset(asset.pk for asset in grant.assets.all()),
        logins=tuple(grant.logins),
        channels=frozenset(ChannelKind(str(kind)) for kind in spec.channels),
        forward_to=tuple((destination.host, destination.port) for destination in spec.forward_to),
        idle_seconds=spec.idle_minutes * 60,
        hold_until_expiry=spec.hold_until_expiry,
        files=_file_rules(spec),
    )


def _file_rules(spec: PlaybookSpec) -> policy.FileRules:
    if spec.files is None:
        return policy.FileRules()
    return policy.FileRules(spec.files.roots, spec.files.max_bytes, spec.files.keep_contents)


def lock_facts() -> tuple[policy.LockFacts, ...]:
    return tuple(
        policy.LockFacts(LockKind(lock.kind), lock.subject, lock.reason)
        for lock in Lock.objects.filter(lifted_at=None)
    )


def person_lock(person: Person) -> Refusal | None:
    """As `policy.person_lock`, fresh from the database."""
    return policy.person_lock(lock_facts(), person.pk)


# --- things, for permissions


def thing_of_request(request: AccessRequest) -> Thing:
    return Thing(owner_id=request.requester_id, approver_groups=rule_of(request.playbook).groups)


def thing_of_grant(grant: Grant) -> Thing:
    """Whose grant it is, who decides about it, and who decided on it (they don't review it)."""
    # As a subquery: joined, the database would read every approval there ever was.
    pleas = AccessRequest.objects.filter(Q(pk=grant.request_id) | Q(extends=grant)).order_by()
    decisions = Approval.objects.filter(request__in=pleas.values("pk")).order_by()
    approver_ids = frozenset(decisions.values_list("person_id", flat=True))
    return Thing(
        owner_id=grant.person_id,
        approver_groups=rule_of(grant.playbook).groups,
        approver_ids=approver_ids,
        escort_groups=escorts_of(grant.playbook),
    )


def thing_of_incident(incident: Incident) -> Thing:
    """Whose incident it is, and who decides about what was asked for it."""
    versions = PlaybookVersion.objects.filter(requests__incident=incident).distinct()
    groups = frozenset[str]().union(*(rule_of(version).groups for version in versions))
    return Thing(owner_id=incident.opened_by_id, approver_groups=groups)


def seen_by(actor: Actor, *, owner: str, playbook: str, escorts: bool = False) -> Q:
    """`may(SEE_GRANT)` as a condition, and SEE_REQUEST but for supervisors: one's own, those of playbooks that one
    approves, or all for whoever looks after everything; with `escorts` SEE_SESSION: also those that one escorts. `owner`
    and `playbook` are the paths to them. A test compares the two."""
    if not actor.active:
        return Q(pk__in=())
    if actor.groups & {permissions.REVIEWERS, permissions.AUDITORS, permissions.ADMINISTRATORS}:
        return Q()
    approved = [
        version.pk
        for version in PlaybookVersion.objects.all()
        if (rule_of(version).groups | (escorts_of(version) if escorts else frozenset())) & actor.groups
    ]
    return Q(**{owner: actor.id}) | Q(**{f"{playbook}__in": approved})


# --- requests and approvals


def approvers_of(request: AccessRequest) -> list[Person]:
    """Everybody who could answer: in the playbook's groups, never the requester."""
    return [
        person for person in people_in(rule_of(request.playbook).groups) if person.pk != request.requester_id
    ]


def decisions_on(request: AccessRequest) -> list[approvals.Decision]:
    rows = Approval.objects.filter(request=request).values_list("person_id", "verdict")
    return [approvals.Decision(person_id, Verdict(verdict)) for person_id, verdict in rows]


_REQUESTS = AccessRequest.objects.select_related(
    "requester", "playbook", "incident", "grant", "extends", "extends__request"
).prefetch_related("assets", Prefetch("approvals", Approval.objects.select_related("person")))


def all_requests() -> QuerySet[AccessRequest]:
    """Every request with what a page shows of it; the caller asks `permissions`."""
    return _REQUESTS.all()


def requests_of(person: Person) -> QuerySet[AccessRequest]:
    return _REQUESTS.filter(requester=person)


def visible_requests(person: Person) -> QuerySet[AccessRequest]:
    """Those that `may(SEE_REQUEST)` allows, newest first."""
    actor = actor_of(person)
    if actor.active and permissions.SUPERVISORS in actor.groups:
        return all_requests()
    return _REQUESTS.filter(seen_by(actor, owner="requester", playbook="playbook"))


def request_for(person: Person, request_id: UUID) -> AccessRequest:
    """The request, or Refused `not_found` where there is none or it isn't theirs to see."""
    request = _REQUESTS.filter(pk=request_id).first()
    if request is None or not permissions.may(actor_of(person), Verb.SEE_REQUEST, thing_of_request(request)):
        raise refuse(RefusalCode.NOT_FOUND, what="request")
    return request


def inbox_of(person: Person, now: datetime) -> list[AccessRequest]:
    """What waits for this person's decision, oldest first."""
    groups = groups_of(person)
    pending = _REQUESTS.filter(state=RequestState.PENDING, lapses_at__gt=now).exclude(requester=person)
    waiting = pending.exclude(approvals__person=person).exclude(extends__state__in=ENDED)
    waiting = waiting.order_by("submitted_at", "number")
    return [request for request in waiting if groups & rule_of(request.playbook).groups]


# --- grants, incidents, notices


_GRANTS = Grant.objects.select_related("person", "playbook", "incident", "request").prefetch_related("assets")


def live_at(now: datetime) -> Q:
    """Grants that run, or wait for their first use, at `now`."""
    return Q(state=GrantState.ACTIVE, ends_at__gt=now) | Q(state=GrantState.ARMED, use_by__gt=now)


def live_grants(person: Person, now: datetime) -> QuerySet[Grant]:
    """The person's grants that run, or wait for their first use, at `now`."""
    return _GRANTS.filter(live_at(now), person=person)


def visible_grants(person: Person) -> QuerySet[Grant]:
    """Those that `may(SEE_GRANT)` allows, newest first."""
    return _GRANTS.filter(seen_by(actor_of(person), owner="person", playbook="playbook"))


def grant_for(person: Person, grant_id: UUID) -> Grant:
    """The grant, or Refused `not_found` where there is none or it isn't theirs to see."""
    grant = _GRANTS.filter(pk=grant_id).first()
    if grant is None or not permissions.may(actor_of(person), Verb.SEE_GRANT, thing_of_grant(grant)):
        raise refuse(RefusalCode.NOT_FOUND, what="grant")
    return grant


def open_incidents() -> QuerySet[Incident]:
    return Incident.objects.filter(closed_at=None)


def unseen_notices(person: Person) -> QuerySet[Notice]:
    return Notice.objects.filter(person=person, seen_at=None)
