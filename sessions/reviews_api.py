"""Reviews in the REST face: what is due, and signing one."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema

from breakglass import clock
from breakglass.api.auth import demand, person_of
from breakglass.api.errors import answers
from breakglass.api.inputs import Filter, Input
from breakglass.api.paging import Page, Paging, page, page_of
from breakglass.domain.permissions import Verb
from sessions import queries, services
from sessions.models import Review
from sessions.services import claims
from sessions.states import ReviewState, review_state_at

router = Router(tags=["reviews"])


class ReviewOut(Schema):
    """The judgement on one grant; `state` is computed from the clock. Where a supervisor decided alone (`needs_second`) two
    distinct reviewers sign, and it is signed once both have. While somebody has claimed it nobody else signs."""

    id: int
    state: Literal["due", "overdue", "signed"]
    grant: UUID
    request: str
    person: str
    playbook: str
    incident: str
    opened_at: datetime
    due_at: datetime
    reviewer: str | None
    verdict: str
    note: str
    signed_at: datetime | None
    needs_second: bool
    second_reviewer: str | None
    second_verdict: str
    second_note: str
    second_signed_at: datetime | None
    claimed_by: str | None
    claimed_until: datetime | None


class ReviewQuery(Filter):
    """`mine`: only those that you could sign."""

    state: Literal["due", "overdue", "signed"] | None = None
    mine: bool = False


class SignIn(Input):
    """With any verdict but `in_order` a note is needed. `otp` is a fresh code of your second factor."""

    verdict: str = Field(default="", max_length=12)
    note: str = Field(default="", max_length=4000)
    otp: str = Field(default="", max_length=64)


class ClaimIn(Input):
    """`over`: take it from whoever has it; they are told."""

    over: bool = False


@router.get("/reviews", response=answers(Page[ReviewOut]))
def list_reviews(request: HttpRequest, paging: Query[Paging], only: Query[ReviewQuery]) -> dict[str, Any]:
    """Reviews, the earliest due first."""
    person, now = person_of(request), clock.now()
    demand(person, Verb.LIST_REVIEWS)
    if only.mine:
        rows = [row for row in queries.reviews_to_sign(person) if only.state in (None, _state(row, now))]
        return page_of(rows, paging, lambda row: _review(row, now))
    found = queries.reviews()
    if only.state == "signed":
        found = found.filter(state=ReviewState.SIGNED)
    elif only.state == "due":
        found = found.filter(state=ReviewState.DUE, due_at__gt=now)
    elif only.state == "overdue":
        found = found.filter(state=ReviewState.DUE, due_at__lte=now)
    return page(found, paging, lambda row: _review(row, now))


@router.get("/reviews/{int:number}", response=answers(ReviewOut))
def get_review(request: HttpRequest, number: int) -> dict[str, Any]:
    """One review."""
    return _review(queries.review_for(person_of(request), number), clock.now())


@router.post("/reviews/{int:number}/sign", response=answers(ReviewOut))
def sign_review(request: HttpRequest, number: int, body: SignIn) -> dict[str, Any]:
    """Judge: `in_order`, `questions` or `violation`. Once, by somebody who neither asked nor approved, with a fresh second
    factor."""
    person, now = person_of(request), clock.now()
    services.sign_review(number, person, body.verdict, body.note, body.otp, now)
    return _review(queries.review_for(person, number), now)


@router.post("/reviews/{int:number}/claim", response=answers(ReviewOut))
def claim_review(request: HttpRequest, number: int, body: ClaimIn | None = None) -> dict[str, Any]:
    """Have it for yourself for a while, so that two don't do the same work. It lapses by itself; claim again to have it
    longer."""
    person, now = person_of(request), clock.now()
    return _review(claims.claim(number, person, now, over=bool(body and body.over)), now)


@router.post("/reviews/{int:number}/release", response=answers(ReviewOut))
def release_review(request: HttpRequest, number: int) -> dict[str, Any]:
    """Give your claim back. Where you have none nothing changes."""
    person, now = person_of(request), clock.now()
    return _review(claims.release(number, person, now), now)


def _state(row: Review, now: datetime) -> str:
    return str(review_state_at(ReviewState(row.state), row.due_at, now))


def _review(row: Review, now: datetime) -> dict[str, Any]:
    grant, claim = row.grant, claims.of(row, now)
    return {
        "id": row.pk,
        "state": _state(row, now),
        "grant": grant.pk,
        "request": grant.request.label,
        "person": grant.person.username,
        "playbook": grant.playbook.slug,
        "incident": grant.incident.label,
        "opened_at": row.opened_at,
        "due_at": row.due_at,
        "reviewer": row.reviewer.username if row.reviewer else None,
        "verdict": row.verdict,
        "note": row.note,
        "signed_at": row.signed_at,
        "needs_second": row.needs_second,
        "second_reviewer": row.second_reviewer.username if row.second_reviewer else None,
        "second_verdict": row.second_verdict,
        "second_note": row.second_note,
        "second_signed_at": row.second_signed_at,
        "claimed_by": claim.person.username if claim else None,
        "claimed_until": claim.until if claim else None,
    }
