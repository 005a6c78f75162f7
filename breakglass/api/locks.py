"""Locks: standing refusals, for administrators."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from breakglass import clock
from breakglass.api.auth import demand, person_of
from breakglass.api.errors import answers
from breakglass.api.inputs import Filter, Input
from breakglass.api.naming import find
from breakglass.api.paging import Page, Paging, page
from breakglass.domain.permissions import Verb
from breakglass.models import Lock
from breakglass.services import locks

router = Router(tags=["locks"])

Kind = Literal["person", "asset", "playbook", "incident", "everything"]


class LockOut(Schema):
    id: UUID
    kind: Kind
    subject: str
    reason: str
    placed_by: str
    placed_at: datetime
    lifted_by: str | None
    lifted_at: datetime | None


class LockIn(Input):
    """`subject`: a user name, an asset's name, a playbook's slug or an incident's id; nothing with `everything`."""

    kind: Kind
    subject: str = Field(default="", max_length=64)
    reason: str = Field(default="", max_length=300)
    otp: str = Field(default="", max_length=64)


class LiftIn(Input):
    otp: str = Field(default="", max_length=64)


class LockFilter(Filter):
    """`standing`: only those not lifted."""

    standing: bool = True


@router.get("", response=answers(Page[LockOut]))
def list_locks(request: HttpRequest, paging: Query[Paging], only: Query[LockFilter]) -> dict[str, Any]:
    """Locks, newest first; those that stand, unless you ask for all."""
    demand(person_of(request), Verb.MANAGE_LOCKS)
    rows = _rows().filter(lifted_at=None) if only.standing else _rows()
    return page(rows, paging, _shape)


@router.post("", response=answers(LockOut, 201))
def place_lock(request: HttpRequest, body: LockIn) -> Status[dict[str, Any]]:
    """Refuse from now on, and end the live sessions under it. Needs a fresh second factor."""
    made = locks.place(person_of(request), body.kind, body.subject, body.reason, body.otp, clock.now())
    return Status(201, _shape(made))


@router.post("/{ref}/lift", response=answers(LockOut))
def lift_lock(request: HttpRequest, ref: str, body: LiftIn) -> dict[str, Any]:
    """Refuse no more. Needs a fresh second factor."""
    person = person_of(request)
    demand(person, Verb.MANAGE_LOCKS)
    found = find(_rows(), ref, "lock")
    locks.lift(person, found.pk, body.otp, clock.now())
    return _shape(find(_rows(), ref, "lock"))


def _rows() -> QuerySet[Lock]:
    return Lock.objects.select_related("placed_by", "lifted_by").order_by("-placed_at")


def _shape(row: Lock) -> dict[str, Any]:
    return {
        "id": row.pk,
        "kind": row.kind,
        "subject": row.subject_name or row.subject,
        "reason": row.reason,
        "placed_by": row.placed_by.username,
        "placed_at": row.placed_at,
        "lifted_by": row.lifted_by.username if row.lifted_by else None,
        "lifted_at": row.lifted_at,
    }
