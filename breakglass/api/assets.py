"""Assets: what can be reached. Addresses are for administrators; no secret is ever here."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Query, Router, Schema

from breakglass.api.auth import can, demand, person_of
from breakglass.api.errors import answers
from breakglass.api.paging import Page, Paging, page
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Asset

router = Router(tags=["assets"])


class HostKeyOut(Schema):
    type: str
    fingerprint: str


class AssetOut(Schema):
    """A machine. `address` is shown to administrators only."""

    id: UUID
    name: str
    title: str
    kind: str
    owner: str
    active: bool
    logins: list[str]
    host_keys: list[HostKeyOut]
    address: str | None


@router.get("", response=answers(Page[AssetOut]))
def list_assets(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    """Every registered asset, by name."""
    person = person_of(request)
    demand(person, Verb.SEE_ASSETS)
    full = can(person, Verb.MANAGE_ASSETS)
    return page(_rows(), paging, lambda asset: _shape(asset, full))


@router.get("/{name}", response=answers(AssetOut))
def get_asset(request: HttpRequest, name: str) -> dict[str, Any]:
    """One asset, by its name."""
    person = person_of(request)
    demand(person, Verb.SEE_ASSETS)
    asset = _rows().filter(name=name).first()
    if asset is None:
        raise refuse(RefusalCode.NOT_FOUND, what="asset")
    return _shape(asset, can(person, Verb.MANAGE_ASSETS))


def _rows() -> QuerySet[Asset]:
    return Asset.objects.prefetch_related("logins", "host_keys").order_by("name")


def _shape(asset: Asset, full: bool) -> dict[str, Any]:
    return {
        "id": asset.pk,
        "name": asset.name,
        "title": asset.title,
        "kind": asset.kind,
        "owner": asset.owner,
        "active": asset.active,
        "logins": [login.name for login in asset.logins.all()],
        "host_keys": [{"type": key.type, "fingerprint": key.fingerprint} for key in asset.host_keys.all()],
        "address": f"{asset.host}:{asset.port}" if full else None,
    }
