"""Grants: the time-boxed right, and its early end."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from ninja import Field, Query, Router, Schema

from breakglass import clock, queries
from breakglass.api.auth import demand, person_of
from breakglass.api.errors import answers
from breakglass.api.inputs import Filter, Input
from breakglass.api.naming import find
from breakglass.api.paging import Page, Paging, page
from breakglass.domain.grants import LIVE, state_at
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Grant, Person
from breakglass.services import grants

router = Router(tags=["grants"])

State = Literal["armed", "active", "released", "revoked", "expired"]


class GrantOut(Schema):
    """A grant as it is now; `state` is computed from the clock. `ssh` is the way in, for its holder while it lives."""

    id: UUID
    request: str
    request_id: UUID
    state: State
    person: str
    playbook: str
    digest: str
    incident: str
    assets: list[str]
    logins: list[str]
    channels: list[str]
    minutes: int
    issued_at: datetime
    use_by: datetime | None
    starts_at: datetime | None
    ends_at: datetime | None
    ended_at: datetime | None
    end_note: str
    ssh: list[str]


class RevokeIn(Input):
    """`otp` is a fresh code of your second factor."""

    reason: str = Field(default="", max_length=500)
    otp: str = Field(default="", max_length=64)


class GrantFilter(Filter):
    """`mine`: only your own; `live`: only those that run or wait for their first use."""

    mine: bool = False
    live: bool = False


@router.get("", response=answers(Page[GrantOut]))
def list_grants(request: HttpRequest, paging: Query[Paging], only: Query[GrantFilter]) -> dict[str, Any]:
    """The grants that you may see, newest first."""
    person, now = person_of(request), clock.now()
    rows = queries.visible_grants(person)
    if only.mine:
        rows = rows.filter(person=person)
    if only.live:
        rows = rows.filter(queries.live_at(now))
    return page(rows, paging, lambda row: _shape(row, person, now))


@router.get("/{ref}", response=answers(GrantOut))
def get_grant(request: HttpRequest, ref: str) -> dict[str, Any]:
    """One grant, by id."""
    person = person_of(request)
    return _shape(_seen(person, ref), person, clock.now())


@router.post("/{ref}/release", response=answers(GrantOut))
def release_grant(request: HttpRequest, ref: str) -> dict[str, Any]:
    """You are done: your grant and its sessions end now."""
    person, now = person_of(request), clock.now()
    grants.release(_seen(person, ref).pk, person, now)
    return _shape(_seen(person, ref), person, now)


@router.post("/{ref}/revoke", response=answers(GrantOut))
def revoke_grant(request: HttpRequest, ref: str, body: RevokeIn) -> dict[str, Any]:
    """End somebody's grant and its sessions now, with a reason and a fresh second factor."""
    person, now = person_of(request), clock.now()
    seen = _seen(person, ref)
    demand(person, Verb.REVOKE_GRANT, queries.thing_of_grant(seen))
    grants.revoke(seen.pk, person, body.reason, body.otp, now)
    return _shape(_seen(person, ref), person, now)


@router.post("/{ref}/extend", response=answers(GrantOut))
def extend_grant(request: HttpRequest, ref: str) -> dict[str, Any]:
    """Not offered yet: ask for access again before this grant ends. The two may overlap."""
    _seen(person_of(request), ref)
    raise refuse(
        RefusalCode.NOT_OFFERED,
        what="Extending a grant",
        help="Ask for access again before it ends: two grants may overlap.",
    )


def _seen(person: Person, ref: str) -> Grant:
    return queries.grant_for(person, find(Grant.objects.only("pk"), ref, "grant").pk)


def _shape(row: Grant, person: Person, now: datetime) -> dict[str, Any]:
    state = state_at(row.term, now)
    assets = sorted(asset.name for asset in row.assets.all())
    holds = row.person_id == person.pk and state in LIVE
    return {
        "id": row.pk,
        "request": row.request.label,
        "request_id": row.request_id,
        "state": str(state),
        "person": row.person.username,
        "playbook": row.playbook.slug,
        "digest": row.playbook.digest,
        "incident": row.incident.label,
        "assets": assets,
        "logins": row.logins,
        "channels": [str(kind) for kind in queries.spec_of(row.playbook).channels],
        "minutes": row.minutes,
        "issued_at": row.issued_at,
        "use_by": row.use_by,
        "starts_at": row.starts_at,
        "ends_at": row.ends_at,
        "ended_at": row.ended_at,
        "end_note": row.end_note,
        "ssh": [_way_in(row, login, asset) for asset in assets for login in row.logins] if holds else [],
    }


def _way_in(row: Grant, login: str, asset: str) -> str:
    config = settings.BREAKGLASS
    return f"ssh -p {config.gateway_port} {row.person.username}+{login}@{asset}@{config.gateway_host}"
