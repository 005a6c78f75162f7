"""Incidents: what happened. Requests belong to one; closing it ends what came of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from breakglass import clock, queries
from breakglass.api.auth import demand, person_of
from breakglass.api.errors import answers
from breakglass.api.inputs import Filter, Input
from breakglass.api.naming import find
from breakglass.api.paging import Page, Paging, page
from breakglass.domain.permissions import Verb
from breakglass.models import Incident
from breakglass.services import incidents

router = Router(tags=["incidents"])


class IncidentOut(Schema):
    id: UUID
    label: str
    title: str
    state: Literal["open", "closed"]
    opened_by: str
    opened_at: datetime
    closed_by: str | None
    closed_at: datetime | None


class IncidentIn(Input):
    title: str = Field(max_length=1000)


class IncidentFilter(Filter):
    state: Literal["open", "closed"] | None = None


@router.get("", response=answers(Page[IncidentOut]))
def list_incidents(
    request: HttpRequest, paging: Query[Paging], only: Query[IncidentFilter]
) -> dict[str, Any]:
    """Incidents, newest first."""
    demand(person_of(request), Verb.SEE_INCIDENTS)
    rows = _rows()
    if only.state is not None:
        rows = rows.filter(closed_at__isnull=only.state == "open")
    return page(rows, paging, _shape)


@router.post("", response=answers(IncidentOut, 201))
def open_incident(request: HttpRequest, body: IncidentIn) -> Status[dict[str, Any]]:
    """Open an incident: say in 5 to 160 characters what happened."""
    made = incidents.open_incident(person_of(request), body.title, clock.now())
    return Status(201, _shape(made))


@router.get("/{ref}", response=answers(IncidentOut))
def get_incident(request: HttpRequest, ref: str) -> dict[str, Any]:
    """One incident, by id or label."""
    demand(person_of(request), Verb.SEE_INCIDENTS)
    return _shape(find(_rows(), ref, "incident", "INC-"))


@router.post("/{ref}/close", response=answers(IncidentOut))
def close_incident(request: HttpRequest, ref: str) -> dict[str, Any]:
    """Close it: its pending requests are withdrawn, its live grants revoked. Not while a review is unsigned."""
    person = person_of(request)
    found = find(_rows(), ref, "incident", "INC-")
    demand(person, Verb.CLOSE_INCIDENT, queries.thing_of_incident(found))
    incidents.close(found.pk, person, clock.now())
    return _shape(find(_rows(), str(found.pk), "incident"))


def _rows() -> QuerySet[Incident]:
    return Incident.objects.select_related("opened_by", "closed_by").order_by("-number")


def _shape(row: Incident) -> dict[str, Any]:
    return {
        "id": row.pk,
        "label": row.label,
        "title": row.title,
        "state": "open" if row.is_open else "closed",
        "opened_by": row.opened_by.username,
        "opened_at": row.opened_at,
        "closed_by": row.closed_by.username if row.closed_by else None,
        "closed_at": row.closed_at,
    }
