"""Browser terminals: a ticket for one, and what the web process then shows the gateway on the person's behalf.

A browser terminal is a client of the gateway like any other: it logs in with a user certificate that the broker signs
for a key of the moment, and the gateway asks `decide()` as ever. The ticket is what a script on another page, another
browser of the same person or a log of addresses doesn't have: it is bound to the person, their web login, one grant,
one asset and one login there; it is good once, for half a minute.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db import transaction
from django.db.models import QuerySet

from breakglass import queries
from breakglass.domain.audit import AuditTag
from breakglass.domain.policy import Connect, Deny, Needs, decide
from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.models import Asset, Grant, Person
from breakglass.services import audit, certificates, grants
from sessions.models import SSHSession, TerminalTicket

LIFE = timedelta(seconds=30)
CERTIFICATE_LIFE = timedelta(seconds=60)
KEPT = timedelta(days=1)
"""A ticket's row is of no use once it is over; what was done with it is in the audit trail."""


@dataclass(frozen=True)
class WebLogin:
    """Who asks, and by which web login. `key` is what names that login: it is kept as SHA-256 only."""

    person: Person
    key: str
    address: str

    @property
    def sha256(self) -> str:
        return _hash(self.key)


@dataclass(frozen=True)
class Pass:
    """What a ticket was turned into: a key and its certificate, good for one login at once. `factor` is what the
    session's row will say, and no other's."""

    grant_id: UUID
    user: str
    asset: str
    login: str
    key: Ed25519PrivateKey
    certificate: str
    factor: str


def mint(login: WebLogin, grant_id: UUID, asset: str, at: str, factor: str, now: datetime) -> str:
    """A ticket for a terminal at `asset` as the login `at`, for a second factor that was given on this web login.

    Raises Refused (audited) for whatever would keep the person from connecting there now.
    """
    try:
        grant = grants.held(grant_id, login.person, now)
    except Refused as refused:
        _note(refused, login, None, asset, at, now)
        raise
    try:
        decision = decide(Connect(asset, at, grant_id), queries.access_facts(login.person.pk, asset), now)
        if isinstance(decision, Needs | Deny):
            raise Refused(decision.refusal)
    except Refused as refused:
        _note(refused, login, grant, asset, at, now)
        raise
    ticket = secrets.token_urlsafe(32)
    with transaction.atomic():
        row = TerminalTicket.objects.create(
            sha256=_hash(ticket),
            person=login.person,
            grant=grant,
            asset=Asset.objects.get(name=asset),
            login=at,
            web_login_sha256=login.sha256,
            client_address=login.address,
            factor=factor[:60],
            created_at=now,
            expires_at=now + LIFE,
        )
        audit.append(
            AuditTag.TERMINAL_TICKET_ISSUED, actor=login.person, subject=grant, now=now, data=_named(row)
        )
    return ticket


def redeem(ticket: str, login: WebLogin, now: datetime) -> Pass:
    """Use the ticket up, and make what the gateway wants to see. Of several at once exactly one gets it.

    Raises Refused (audited): `terminal_ticket_wrong`, whatever is wrong with it; what is against the grant now.
    """
    unused = TerminalTicket.objects.filter(
        sha256=_hash(ticket), person=login.person, web_login_sha256=login.sha256, used_at=None
    )
    try:
        return _redeem(unused.filter(expires_at__gt=now), login, now)
    except Refused as refused:
        _note(refused, login, None, "", "", now)
        raise


def purge(now: datetime) -> int:
    """Delete the rows of tickets that have been over for a day. Returns how many that were."""
    deleted, _ = TerminalTicket.objects.filter(expires_at__lt=now - KEPT).delete()
    return deleted


def session_of(opened: Pass, person: Person) -> SSHSession | None:
    """The gateway's row of the session that this pass opened."""
    rows = SSHSession.objects.select_related("grant", "asset")
    return rows.filter(person=person, grant_id=opened.grant_id, factor=opened.factor).first()


def grant_of(opened: Pass) -> Grant:
    return Grant.objects.select_related("playbook").get(pk=opened.grant_id)


def _redeem(unused: QuerySet[TerminalTicket], login: WebLogin, now: datetime) -> Pass:
    row = unused.select_related("asset", "person").first()
    if row is None:
        raise refuse(RefusalCode.TERMINAL_TICKET_WRONG)
    key = Ed25519PrivateKey.generate()
    browser = certificates.Browser(row.client_address, row.factor)
    with transaction.atomic():
        if not unused.filter(pk=row.pk).update(used_at=now):
            raise refuse(RefusalCode.TERMINAL_TICKET_WRONG)
        issued = certificates.issue_to_browser(
            login.person, row.grant_id, _line(key), browser, now, CERTIFICATE_LIFE
        )
        TerminalTicket.objects.filter(pk=row.pk).update(certificate=issued.row.serial)
        data = _named(row) | {"serial": str(issued.row.serial)}
        audit.append(AuditTag.TERMINAL_TICKET_USED, actor=login.person, subject=row.grant, now=now, data=data)
    return Pass(
        grant_id=row.grant_id,
        user=f"{row.person.username}+{row.login}@{row.asset.name}",
        asset=row.asset.name,
        login=row.login,
        key=key,
        certificate=issued.line,
        factor=f"browser, {row.factor}, certificate:{issued.row.serial}",
    )


def _named(row: TerminalTicket) -> dict[str, object]:
    return {
        "ticket": row.pk,
        "asset": row.asset.name,
        "login": row.login,
        "address": row.client_address,
        "factor": row.factor,
    }


def _note(refused: Refused, login: WebLogin, grant: Grant | None, asset: str, at: str, now: datetime) -> None:
    audit.record_refusal(
        AuditTag.TERMINAL_TICKET_REFUSED,
        refused,
        actor=login.person,
        subject=grant or login.person,
        now=now,
        asset=asset,
        login=at,
        address=login.address,
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _line(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
