"""Assets: what can be reached. Addresses are for administrators; no secret is ever here."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, Query, Router, Schema

from breakglass import clock
from breakglass.api.auth import can, demand, person_of
from breakglass.api.errors import answers
from breakglass.api.inputs import Input
from breakglass.api.paging import Page, Paging, page
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Asset
from breakglass.services import assets

router = Router(tags=["assets"])


class HostKeyOut(Schema):
    type: str
    fingerprint: str


class AssetOut(Schema):
    """A machine. `address` is for administrators only; `legacy_algorithms`: spoken to with old, weak ones, a risk."""

    id: UUID
    name: str
    title: str
    kind: str
    owner: str
    active: bool
    legacy_algorithms: bool
    logins: list[str]
    host_keys: list[HostKeyOut]
    address: str | None


class LegacyIn(Input):
    """`allowed`: whether the gateway may speak old, weak SSH algorithms to it."""

    allowed: bool
    otp: str = Field(default="", max_length=64)


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


@router.post("/{name}/legacy-algorithms", response=answers(AssetOut))
def allow_legacy_algorithms(request: HttpRequest, name: str, body: LegacyIn) -> dict[str, Any]:
    """Allow or forbid old algorithms for one asset; sessions that are open go on. Needs a fresh second factor."""
    person = person_of(request)
    demand(person, Verb.MANAGE_ASSETS)
    asset = _rows().filter(name=name).first()
    if asset is None:
        raise refuse(RefusalCode.NOT_FOUND, what="asset")
    assets.allow_old_algorithms(asset, body.allowed, by=person, code=body.otp, now=clock.now())
    return _shape(asset, True)


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
        "legacy_algorithms": asset.legacy_algorithms,
        "logins": [login.name for login in asset.logins.all()],
        "host_keys": [{"type": key.type, "fingerprint": key.fingerprint} for key in asset.host_keys.all()],
        "address": f"{asset.host}:{asset.port}" if full else None,
    }
