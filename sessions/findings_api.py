"""Findings in the REST face: beside a review while it is open; listed, followed up, closed and opened again after it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from breakglass import clock
from breakglass.api.auth import demand, person_of
from breakglass.api.errors import answers
from breakglass.api.inputs import Filter, Input
from breakglass.api.naming import find
from breakglass.api.paging import Page, Paging, page
from breakglass.domain import permissions
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Person
from breakglass.queries import actor_of
from sessions import queries, queries_reviews, shapes
from sessions.models import Finding, SSHSession
from sessions.services import findings
from sessions.services.findings import FindingForm
from sessions.states import ReviewState

router = Router(tags=["reviews"])


class FindingOut(Schema):
    """What a reviewer saw: in a session at a second of its recording (`at`), or of all of the access where both are None.
    `open`: of a signed review, and not closed yet."""

    id: int
    review: int
    category: str
    severity: Literal["low", "medium", "high", "critical"]
    text: str
    session: UUID | None
    session_label: str | None
    at: float | None
    author: str
    created_at: datetime
    open: bool
    owner: str
    due_at: datetime | None
    closed_at: datetime | None
    closed_by: str | None
    closing_note: str


class FindingIn(Input):
    """`session`: its id or label, with `at`, a second of its recording; without them it is about all of the access."""

    category: str = Field(default="", max_length=20)
    severity: str = Field(default="", max_length=10)
    text: str = Field(default="", max_length=4000)
    session: str | None = Field(default=None, max_length=64)
    at: float | None = None


class FollowIn(Input):
    """Who sees to it, and until when."""

    owner: str = Field(default="", max_length=200)
    due_at: datetime | None = None


class NoteIn(Input):
    """How it was seen to, or why it is open again."""

    note: str = Field(default="", max_length=4000)


class FindingQuery(Filter):
    """`state`: `late` are open ones whose day is over. `word`: part of the text, of who sees to it, or of the person's
    name."""

    state: Literal["open", "late", "closed", "all"] = "open"
    severity: Literal["", "low", "medium", "high", "critical"] = ""
    category: str = Field(default="", max_length=20)
    word: str = Field(default="", max_length=60)


@router.get("/findings", response=answers(Page[FindingOut]))
def list_findings(request: HttpRequest, paging: Query[Paging], only: Query[FindingQuery]) -> dict[str, Any]:
    """Findings of signed reviews: the severest first among the open ones, then the earliest due; closed ones newest
    first."""
    demand(person_of(request), Verb.LIST_REVIEWS)
    found = queries_reviews.findings(
        state="open" if only.state == "late" else only.state,
        severity=only.severity,
        category=only.category,
        word=only.word,
        late_at=clock.now() if only.state == "late" else None,
    )
    return page(found, paging, _finding)


@router.get("/findings/{int:number}", response=answers(FindingOut))
def get_finding(request: HttpRequest, number: int) -> dict[str, Any]:
    """One finding that wasn't taken back."""
    return _seen(person_of(request), number)


@router.post("/findings/{int:number}/follow", response=answers(FindingOut))
def follow_finding(request: HttpRequest, number: int, body: FollowIn) -> dict[str, Any]:
    """Say who sees to it, until when. By somebody who neither asked nor approved."""
    person = person_of(request)
    findings.follow_up(number, person, body.owner, shapes.aware(body.due_at), clock.now())
    return _seen(person, number)


@router.post("/findings/{int:number}/close", response=answers(FindingOut))
def close_finding(request: HttpRequest, number: int, body: NoteIn) -> dict[str, Any]:
    """It is seen to: say how."""
    person = person_of(request)
    findings.close(number, person, body.note, clock.now())
    return _seen(person, number)


@router.post("/findings/{int:number}/reopen", response=answers(FindingOut))
def reopen_finding(request: HttpRequest, number: int, body: NoteIn) -> dict[str, Any]:
    """It wasn't seen to after all: say why."""
    person = person_of(request)
    findings.reopen(number, person, body.note, clock.now())
    return _seen(person, number)


@router.post("/findings/{int:number}/withdraw", response=answers(FindingOut))
def withdraw_finding(request: HttpRequest, number: int) -> dict[str, Any]:
    """Take your own back, before the review is signed. That it was there stays in the audit trail."""
    return _finding(findings.withdraw(number, person_of(request), clock.now()))


@router.get("/reviews/{int:number}/findings", response=answers(Page[FindingOut]))
def list_findings_of_review(request: HttpRequest, number: int, paging: Query[Paging]) -> dict[str, Any]:
    """What was written down beside one review, in the order of its sessions."""
    review = queries.review_for(person_of(request), number)
    return page(queries_reviews.findings_of(review), paging, _finding)


@router.post("/reviews/{int:number}/findings", response=answers(FindingOut, 201))
def add_finding(request: HttpRequest, number: int, body: FindingIn) -> Status[dict[str, Any]]:
    """Write a finding down beside a review that you could sign."""
    person = person_of(request)
    review = findings.judged_by(number, person)
    session = None
    if body.session is not None:
        session = find(SSHSession.objects.filter(grant=review.grant_id), body.session, "session", "S-").pk
    form = FindingForm(body.category, body.severity, body.text, session, body.at)
    made = findings.add(review.pk, person, form, clock.now())
    return Status(201, _finding(made))


def _seen(person: Person, number: int) -> dict[str, Any]:
    row = queries_reviews.finding_for(number)
    if row is None or not permissions.may(actor_of(person), Verb.LIST_REVIEWS):
        raise refuse(RefusalCode.NOT_FOUND, what="finding")
    return _finding(row)


def _finding(row: Finding) -> dict[str, Any]:
    signed = row.review.state == ReviewState.SIGNED
    return {
        "id": row.pk,
        "review": row.review_id,
        "category": row.category,
        "severity": row.severity,
        "text": row.text,
        "session": row.session_id,
        "session_label": row.session.label if row.session else None,
        "at": row.at_seconds,
        "author": row.author.username,
        "created_at": row.created_at,
        "open": signed and row.closed_at is None and row.withdrawn_at is None,
        "owner": row.owner,
        "due_at": row.due_at,
        "closed_at": row.closed_at,
        "closed_by": row.closed_by.username if row.closed_by else None,
        "closing_note": row.closing_note,
    }
