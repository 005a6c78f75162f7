"""Reads of the data plane, for screens, the API and permissions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from breakglass.domain import permissions
from breakglass.domain.permissions import Thing, Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import storable
from breakglass.models import Approval, Grant, Person
from breakglass.queries import actor_of, seen_by, spec_of, thing_of_grant
from sessions.models import Channel, ChatMessage, FileOperation, Receipt, Review, SSHSession, TranscriptEntry
from sessions.states import OPEN_STATES, ReviewState

_SAID = ChatMessage.objects.filter(session=OuterRef("pk")).order_by().values("session")
_SESSIONS = (
    SSHSession.objects.select_related(
        "person",
        "asset",
        "grant",
        "grant__playbook",
        "grant__incident",
        "grant__request",
        "recording",
        "receipt",
        "receipt__asked_by",
        "frozen_by",
    )
    .prefetch_related(
        Prefetch("channels", Channel.objects.order_by("number")),
        Prefetch("grant__request__approvals", Approval.objects.select_related("person")),
    )
    .annotate(chat_messages=Coalesce(Subquery(_SAID.values(said=Count("pk"))), 0))
)


@dataclass(frozen=True)
class SessionFilter:
    """Which sessions to list; empty means any. `since` and `until` bound the opening."""

    person: str = ""
    asset: str = ""
    playbook: str = ""
    incident: str = ""
    since: datetime | None = None
    until: datetime | None = None
    open_only: bool = False


def thing_of_session(session: SSHSession) -> Thing:
    return thing_of_grant(session.grant)


def sessions_for(person: Person, wanted: SessionFilter) -> QuerySet[SSHSession]:
    """Newest first: one's own, those under playbooks that one approves or escorts (who may end or watch them must find
    them), and everybody's for reviewers, auditors and administrators."""
    seen = seen_by(actor_of(person), owner="person", playbook="grant__playbook", escorts=True)
    found = _SESSIONS.filter(seen)
    conditions = Q()
    if wanted.person:
        conditions &= Q(person__username=storable(wanted.person))
    if wanted.asset:
        conditions &= Q(asset__name=storable(wanted.asset))
    if wanted.playbook:
        conditions &= Q(grant__playbook__slug=storable(wanted.playbook))
    if wanted.incident:
        digits = wanted.incident.upper().removeprefix("INC-")
        number = int(digits) if digits.isdecimal() and digits.isascii() and len(digits) < 9 else -1
        conditions &= Q(grant__incident__number=number)
    if wanted.since:
        conditions &= Q(opened_at__gte=wanted.since)
    if wanted.until:
        conditions &= Q(opened_at__lte=wanted.until)
    if wanted.open_only:
        conditions &= Q(state__in=OPEN_STATES)
    return found.filter(conditions)


def every_open_session() -> QuerySet[SSHSession]:
    """Newest first, for who may see all of them; the caller has asked."""
    return _SESSIONS.filter(state__in=OPEN_STATES)


def session_for(person: Person, session_id: UUID) -> SSHSession:
    """The session, or Refused `not_found` where there is none or it isn't theirs to see."""
    session = _SESSIONS.filter(pk=session_id).first()
    if session is None or not permissions.may(actor_of(person), Verb.SEE_SESSION, thing_of_session(session)):
        raise refuse(RefusalCode.NOT_FOUND, what="session")
    return session


def file_operations(session: SSHSession) -> QuerySet[FileOperation]:
    """What was done to files in the session, in order."""
    return FileOperation.objects.filter(session=session).order_by("channel", "number")


def transcript_entries(session: SSHSession) -> QuerySet[TranscriptEntry]:
    """What was run in the session and what it showed, in order, on the recording's clock. None until the recording is
    sealed and rendered, and none after it is deleted."""
    return TranscriptEntry.objects.filter(session=session).order_by("began", "pk")


def file_operation(session: SSHSession, label: str) -> FileOperation | None:
    """The one that the recording calls `label`, such as 2.1."""
    channel, _, number = label.partition(".")
    if not all(part.isdecimal() and part.isascii() and len(part) < 10 for part in (channel, number)):
        return None
    return file_operations(session).filter(channel=int(channel), number=int(number)).first()


def kill_needs_factor(session: SSHSession) -> bool:
    """Whether the playbook asks for a second factor of whoever ends it."""
    return spec_of(session.grant.playbook).kill_needs_factor


def sessions_of_grant(grant: Grant) -> QuerySet[SSHSession]:
    return _SESSIONS.filter(grant=grant)


def receipts_of(grant: Grant) -> QuerySet[Receipt]:
    """The receipts of the sessions under a grant, in the order in which these began."""
    found = Receipt.objects.filter(session__grant=grant).select_related("session", "asked_by")
    return found.order_by("session__number")


_REVIEWS = Review.objects.select_related(
    "grant",
    "grant__person",
    "grant__playbook",
    "grant__incident",
    "grant__request",
    "reviewer",
    "second_reviewer",
    "claimed_by",
).defer("grant__playbook__spec")


def reviews() -> QuerySet[Review]:
    """All reviews, the earliest due first."""
    return _REVIEWS.all()


def reviews_to_sign(person: Person) -> QuerySet[Review]:
    """What this person could sign now, the earliest due first: `may(SIGN_REVIEW)` as a condition, and not theirs already."""
    actor = actor_of(person)
    if permissions.REVIEWERS not in actor.groups or not actor.active:
        return Review.objects.none()
    deciding = Q(request=OuterRef("grant__request")) | Q(request__extends=OuterRef("grant"))
    decided = Exists(Approval.objects.filter(deciding, person=person))
    due = _REVIEWS.filter(state=ReviewState.DUE).exclude(grant__person=person).exclude(reviewer=person)
    return due.exclude(decided)


def review_for(person: Person, review_id: int) -> Review:
    """The review, or Refused where there is none or the person lists none."""
    review = _REVIEWS.filter(pk=review_id).first()
    if review is None or not permissions.may(actor_of(person), Verb.LIST_REVIEWS):
        raise refuse(RefusalCode.NOT_FOUND, what="review")
    return review


def channel_kinds(session: SSHSession) -> Iterable[str]:
    """The kinds of channel that were carried, in order of first use."""
    return dict.fromkeys(channel.kind for channel in session.channels.all() if not channel.refusal)
