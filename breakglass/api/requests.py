"""Access requests: asked for, decided, taken back."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from breakglass import clock, queries, shapes
from breakglass.api.auth import demand, person_of
from breakglass.api.errors import answers
from breakglass.api.inputs import Filter, Input
from breakglass.api.naming import find
from breakglass.api.paging import Page, Paging, page, page_of
from breakglass.domain.permissions import Verb
from breakglass.domain.requests import RequestState
from breakglass.models import AccessRequest, Incident, Person
from breakglass.services import approvals, override, requests
from breakglass.unusual import unusual_facts

router = Router(tags=["requests"])

State = Literal["pending", "approved", "denied", "withdrawn", "lapsed"]


class IncidentRef(Schema):
    id: UUID
    label: str
    title: str


class ApprovalOut(Schema):
    person: str
    verdict: Literal["approved", "denied"]
    comment: str
    decided_at: datetime


class RequestOut(Schema):
    """A request as it is now; `state` is computed from the clock. `approvers` says whose consent it needs.

    `extends` is the grant that it asks more time for; None where it asks for access. `override`: a supervisor decided it
    alone.
    """

    id: UUID
    label: str
    state: State
    requester: str
    playbook: str
    playbook_version: int
    digest: str
    incident: IncidentRef
    assets: list[str]
    login: str | None
    minutes: int
    reason: str
    submitted_at: datetime
    escalates_at: datetime
    lapses_at: datetime
    decided_at: datetime | None
    approver_groups: list[str]
    approvals_needed: int
    approvals: list[ApprovalOut]
    grant: UUID | None
    extends: UUID | None
    override: bool


class RequestDetail(RequestOut):
    """With `unusual`: what an approver should notice, empty for everybody else; and with `match_number`: the two digits
    that its requester tells the approver, None for everybody else."""

    unusual: list[str]
    match_number: int | None


class RequestIn(Input):
    """`incident` is an open incident's id or label. Without `login` any of the playbook's; without `minutes` its default."""

    playbook: str = Field(max_length=64)
    incident: str = Field(max_length=64)
    assets: list[str] = Field(max_length=20)
    reason: str = Field(max_length=4000)
    login: str | None = Field(default=None, max_length=32)
    minutes: int | None = Field(default=None, ge=-(2**31), lt=2**31)


class DecisionIn(Input):
    """`otp` is a fresh code of your second factor. A denial needs a comment. With `number`, the two digits that the
    requester sees, an approval counts only where they fit."""

    otp: str = Field(default="", max_length=64)
    number: int | None = Field(default=None, ge=0, le=99)
    comment: str = Field(default="", max_length=4000)


class OverrideIn(Input):
    """`otp` is a fresh code of your second factor. The reason is told to everybody. With `number`, the two digits that the
    requester sees, it counts only where they fit."""

    otp: str = Field(default="", max_length=64)
    number: int | None = Field(default=None, ge=0, le=99)
    reason: str = Field(default="", max_length=2000)


class RequestFilter(Filter):
    """`waiting`: only what waits for your decision."""

    state: State | None = None
    waiting: bool = False


@router.get("", response=answers(Page[RequestOut]))
def list_requests(request: HttpRequest, paging: Query[Paging], only: Query[RequestFilter]) -> dict[str, Any]:
    """The requests that you may see, newest first: your own, those you may decide on, or all for reviewers, auditors
    and administrators."""
    person, now = person_of(request), clock.now()
    if only.waiting:
        waiting = [
            row
            for row in queries.inbox_of(person, now)
            if only.state in (None, shapes.request_state(row, now))
        ]
        return page_of(waiting, paging, lambda row: shapes.request(row, now))
    rows = queries.visible_requests(person)
    if only.state is not None:
        rows = rows.filter(_in_state(RequestState(only.state), now))
    return page(rows, paging, lambda row: shapes.request(row, now))


@router.post("", response=answers(RequestDetail, 201))
def submit_request(request: HttpRequest, body: RequestIn) -> Status[dict[str, Any]]:
    """Ask for access under a playbook. Its approvers are told."""
    person, now = person_of(request), clock.now()
    incident = find(Incident.objects.all(), body.incident, "incident", "INC-")
    form = requests.SubmitForm(
        playbook=body.playbook,
        incident_id=incident.pk,
        assets=tuple(body.assets),
        reason=body.reason,
        login=body.login,
        minutes=body.minutes,
    )
    made = requests.submit(person, form, now)
    return Status(201, detail(person, made.pk, now))


@router.get("/{ref}", response=answers(RequestDetail))
def get_request(request: HttpRequest, ref: str) -> dict[str, Any]:
    """One request, by id or label."""
    return detail(person_of(request), _id(ref), clock.now())


@router.post("/{ref}/approve", response=answers(RequestDetail))
def approve_request(request: HttpRequest, ref: str, body: DecisionIn) -> dict[str, Any]:
    """Say yes, with a fresh second factor. The last yes that the playbook needs makes the grant."""
    person, now = person_of(request), clock.now()
    done = approvals.approve(_id(ref), person, body.otp, body.comment, now, number=body.number)
    return detail(person, done.pk, now)


@router.post("/{ref}/deny", response=answers(RequestDetail))
def deny_request(request: HttpRequest, ref: str, body: DecisionIn) -> dict[str, Any]:
    """Say no, with a comment and a fresh second factor. One no is enough."""
    person, now = person_of(request), clock.now()
    done = approvals.deny(_id(ref), person, body.otp, body.comment, now)
    return detail(person, done.pk, now)


@router.post("/{ref}/take-back", response=answers(RequestDetail))
def take_back_approval(request: HttpRequest, ref: str) -> dict[str, Any]:
    """Take your own yes back while the request still waits for others. What is approved already is ended by revoking its
    grant."""
    person, now = person_of(request), clock.now()
    done = approvals.take_back(_id(ref), person, now)
    return detail(person, done.pk, now)


@router.post("/{ref}/override", response=answers(RequestDetail))
def override_request(request: HttpRequest, ref: str, body: OverrideIn) -> dict[str, Any]:
    """Decide alone, as a supervisor, once nobody has answered for as long as the playbook says. Everybody is told, and two
    reviewers judge it."""
    person, now = person_of(request), clock.now()
    done = override.decide(_id(ref), person, body.otp, body.reason, now, number=body.number)
    return detail(person, done.pk, now)


@router.post("/{ref}/withdraw", response=answers(RequestDetail))
def withdraw_request(request: HttpRequest, ref: str) -> dict[str, Any]:
    """Take your own request back."""
    person, now = person_of(request), clock.now()
    found = queries.request_for(person, _id(ref))
    demand(person, Verb.WITHDRAW_REQUEST, queries.thing_of_request(found))
    done = requests.withdraw(found.pk, person, now)
    return detail(person, done.pk, now)


def _in_state(state: RequestState, now: datetime) -> Q:
    """`shapes.request_state` as a condition."""
    if state is RequestState.PENDING:
        return Q(state=state, lapses_at__gt=now)
    if state is RequestState.LAPSED:
        return Q(state=state) | Q(state=RequestState.PENDING, lapses_at__lte=now)
    return Q(state=state)


def detail(person: Person, request_id: UUID, now: datetime) -> dict[str, Any]:
    """The request as this person sees it."""
    row = queries.request_for(person, request_id)
    decides = (
        row.requester_id != person.pk and queries.groups_of(person) & queries.rule_of(row.playbook).groups
    )
    own = {"match_number": row.match_number if row.requester_id == person.pk else None}
    return shapes.request(row, now) | own | {"unusual": unusual_facts(row) if decides else []}


def _id(ref: str) -> UUID:
    found: UUID = find(AccessRequest.objects.only("pk"), ref, "request", "REQ-").pk
    return found
