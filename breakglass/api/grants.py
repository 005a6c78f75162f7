"""Grants: the time-boxed right, and its early end."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from breakglass import clock, queries, shapes
from breakglass.api.auth import demand, person_of
from breakglass.api.errors import answers
from breakglass.api.inputs import Filter, Input
from breakglass.api.naming import find
from breakglass.api.paging import Page, Paging, page
from breakglass.api.receipts import ReceiptOut
from breakglass.api.requests import RequestDetail, detail
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Grant, Person, PersonCertificate
from breakglass.services import certificates, connect_codes, extensions, grants

router = Router(tags=["grants"])

State = Literal["armed", "active", "released", "revoked", "expired"]


class GrantOut(Schema):
    """A grant as it is now; `state` is computed from the clock. `ssh` is the way in, for its holder while it lives.

    `longest_extension`: how many more minutes may be asked for now; 0 where none. `receipts`: of its sessions' ends.
    """

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
    longest_extension: int
    ssh: list[str]
    receipts: list[ReceiptOut]


class RevokeIn(Input):
    """`otp` is a fresh code of your second factor."""

    reason: str = Field(default="", max_length=500)
    otp: str = Field(default="", max_length=64)


class ExtendIn(Input):
    """Without `minutes`: the playbook's default, or what is left to ask for."""

    reason: str = Field(default="", max_length=4000)
    minutes: int | None = Field(default=None, ge=-(2**31), lt=2**31)


class ConnectCodeIn(Input):
    """`otp` is a fresh code of your second factor."""

    otp: str = Field(default="", max_length=64)


class ConnectCodeOut(Schema):
    """`code` is shown this one time: it is the password for one login by one of the commands in `ssh`."""

    code: str
    expires_at: datetime
    ssh: list[str]


class CertificateIn(Input):
    """`public_key`: the one line of your .pub file. `source_address`: the only address that it shall work from."""

    public_key: str = Field(default="", max_length=20_000)
    otp: str = Field(default="", max_length=64)
    source_address: str = Field(default="", max_length=45)


class CertificateOut(Schema):
    """`certificate` is the one line of a -cert.pub file; ssh finds it beside the key, or by `-o CertificateFile=`.

    `serial` is text: it doesn't fit into the numbers of JavaScript.
    """

    serial: str
    certificate: str
    key_fingerprint: str
    valid_from: datetime
    valid_until: datetime
    source_address: str | None
    revoked_at: datetime | None
    ssh: list[str]


class GrantFilter(Filter):
    """`mine`: only your own; `live`: only those that run or wait for their first use."""

    mine: bool = False
    live: bool = False


@router.get("", response=answers(Page[GrantOut]))
def list_grants(request: HttpRequest, paging: Query[Paging], only: Query[GrantFilter]) -> dict[str, Any]:
    """The grants that you may see, newest first."""
    person, now = person_of(request), clock.now()
    rows = queries.visible_grants(person).prefetch_related(shapes.RECEIPTS)
    if only.mine:
        rows = rows.filter(person=person)
    if only.live:
        rows = rows.filter(queries.live_at(now))
    return page(rows, paging, lambda row: shapes.grant(row, person, now))


@router.get("/{ref}", response=answers(GrantOut))
def get_grant(request: HttpRequest, ref: str) -> dict[str, Any]:
    """One grant, by id."""
    person = person_of(request)
    return shapes.grant(_seen(person, ref), person, clock.now())


@router.post("/{ref}/release", response=answers(GrantOut))
def release_grant(request: HttpRequest, ref: str) -> dict[str, Any]:
    """You are done: your grant and its sessions end now."""
    person, now = person_of(request), clock.now()
    grants.release(_seen(person, ref).pk, person, now)
    return shapes.grant(_seen(person, ref), person, now)


@router.post("/{ref}/revoke", response=answers(GrantOut))
def revoke_grant(request: HttpRequest, ref: str, body: RevokeIn) -> dict[str, Any]:
    """End somebody's grant and its sessions now, with a reason and a fresh second factor."""
    person, now = person_of(request), clock.now()
    seen = _seen(person, ref)
    demand(person, Verb.REVOKE_GRANT, queries.thing_of_grant(seen))
    grants.revoke(seen.pk, person, body.reason, body.otp, now)
    return shapes.grant(_seen(person, ref), person, now)


@router.post("/{ref}/extend", response=answers(RequestDetail, 201))
def extend_grant(request: HttpRequest, ref: str, body: ExtendIn) -> Status[dict[str, Any]]:
    """Ask for more time, while your grant runs. The answer is a request: its approvers decide as on any other, and on
    their yes the grant's end moves."""
    person, now = person_of(request), clock.now()
    form = extensions.ExtendForm(_seen(person, ref).pk, body.reason, body.minutes)
    made = extensions.ask(person, form, now)
    return Status(201, detail(person, made.pk, now))


@router.post("/{ref}/connect-code", response=answers(ConnectCodeOut, 201))
def make_connect_code(request: HttpRequest, ref: str, body: ConnectCodeIn) -> Status[dict[str, Any]]:
    """A one-time connect code for your grant: the way in from a machine without your key, once, within 60 s."""
    person, now = person_of(request), clock.now()
    seen = _seen(person, ref)
    issued = connect_codes.issue(person, seen.pk, body.otp, now)
    ssh = shapes.grant(seen, person, now)["ssh"]
    return Status(201, {"code": issued.code, "expires_at": issued.row.expires_at, "ssh": ssh})


@router.post("/{ref}/certificate", response=answers(CertificateOut, 201))
def make_certificate(request: HttpRequest, ref: str, body: CertificateIn) -> Status[dict[str, Any]]:
    """Certify your public key for your grant: until it ends ssh gets in without a question."""
    person, now = person_of(request), clock.now()
    seen = _seen(person, ref)
    issued = certificates.issue(
        person, seen.pk, body.public_key, body.otp, now, source_address=body.source_address
    )
    ssh = shapes.grant(seen, person, now)["ssh"]
    return Status(201, _certificate(issued.row) | {"certificate": issued.line, "ssh": ssh})


@router.post("/{ref}/certificate/{serial}/revoke", response=answers(CertificateOut))
def revoke_certificate(request: HttpRequest, ref: str, serial: str) -> dict[str, Any]:
    """Your certificate opens nothing from now on, and the sessions that it opened end."""
    person, now = person_of(request), clock.now()
    seen = _seen(person, ref)
    if not (serial.isascii() and serial.isdecimal() and len(serial) < 20):
        raise refuse(RefusalCode.NOT_FOUND, what="certificate")
    if seen.person_id != person.pk:
        raise refuse(RefusalCode.GRANT_FOREIGN)
    return _certificate(certificates.revoke(person, int(serial), now)) | {"certificate": "", "ssh": []}


def _certificate(row: PersonCertificate) -> dict[str, Any]:
    return {
        "serial": str(row.serial),
        "key_fingerprint": row.key_fingerprint,
        "valid_from": row.valid_from,
        "valid_until": row.valid_until,
        "source_address": row.source_address,
        "revoked_at": row.revoked_at,
    }


def _seen(person: Person, ref: str) -> Grant:
    return queries.grant_for(person, find(Grant.objects.only("pk"), ref, "grant").pk)
