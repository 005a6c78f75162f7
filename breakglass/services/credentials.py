"""The way from the gateway into an asset: certificates of the broker's own CA, or vaulted secrets.

No person sees any of it. The user CA's key is derived from the master key; certificates follow OpenSSH's
PROTOCOL.certkeys.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
)
from django.db import transaction

from breakglass.domain.audit import AuditTag
from breakglass.domain.grants import GrantState, state_at
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Asset, AssetLogin, Grant, Person
from breakglass.services import audit, vault
from breakglass.services.assets import secret_purpose

SKEW = timedelta(seconds=60)


@dataclass(frozen=True)
class UpstreamCredential:
    """How to log in at the asset. The secret parts are left out of its `repr`.

    `password` is set for the method password; `private_key` (OpenSSH PEM) for key and certificate; `certificate` (one
    line, as in a -cert.pub file) for certificate.
    """

    username: str
    method: str
    host_keys: tuple[tuple[str, bytes], ...]
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    certificate: str | None = field(default=None, repr=False)


def user_ca_public_key() -> str:
    """The line for `TrustedUserCAKeys` on assets."""
    return (
        _user_ca().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        + " breakglass-user-ca"
    )


def for_upstream(
    grant_id: UUID, asset_id: UUID, login: str, ends_at: datetime, now: datetime
) -> UpstreamCredential:
    """The credential for one session; its use is audited. A certificate ends with the grant at the latest.

    The vault opens for a running grant only, and for its assets and logins only. Raises Refused `grant_ended`,
    `no_grant`, `login_not_in_grant`; `upstream_refused` when no credential is stored or the stored one doesn't open.
    """
    with transaction.atomic():
        grant = Grant.objects.select_related("person").get(pk=grant_id)
        asset = _asset_of(grant, asset_id, login, now)
        row = AssetLogin.objects.select_related("asset").filter(asset=asset, name=login).first()
        if row is None:
            raise refuse(RefusalCode.UPSTREAM_REFUSED, asset=asset.name, login=login)
        secret = _open(row)
        serial = secrets.randbits(63)
        audit.append(
            AuditTag.CREDENTIAL_USED,
            actor=grant.person,
            subject=row.asset,
            now=now,
            data={"login": login, "method": row.method, "grant": grant_id, "serial": str(serial)},
        )
    host_keys = tuple((key.type, bytes(key.blob)) for key in row.asset.host_keys.all())
    if row.method == AssetLogin.Method.CERTIFICATE:
        until = min(ends_at, grant.ends_at or ends_at)
        private_key, certificate = _certify(grant.person, grant_id, login, serial, until, now)
        return UpstreamCredential(
            login, row.method, host_keys, private_key=private_key, certificate=certificate
        )
    if row.method == AssetLogin.Method.PASSWORD:
        return UpstreamCredential(login, row.method, host_keys, password=secret)
    return UpstreamCredential(login, row.method, host_keys, private_key=secret)


def _asset_of(grant: Grant, asset_id: UUID, login: str, now: datetime) -> Asset:
    asset = grant.assets.filter(pk=asset_id).first()
    if asset is None:
        raise refuse(RefusalCode.NO_GRANT, asset="that asset", url="the playbook's page")
    state = state_at(grant.term, now)
    if state is not GrantState.ACTIVE:
        shown = "not begun" if state is GrantState.ARMED else str(state)
        raise refuse(RefusalCode.GRANT_ENDED, asset=asset.name, state=shown, url="the playbook's page")
    if login not in grant.logins:
        raise refuse(RefusalCode.LOGIN_NOT_IN_GRANT, login=login, choices=", ".join(grant.logins))
    return asset


def _open(row: AssetLogin) -> str:
    """The stored secret; empty where a certificate is made instead."""
    if row.method == AssetLogin.Method.CERTIFICATE:
        return ""
    try:
        return vault.decrypt(bytes(row.secret), secret_purpose(row.asset, row.name)).decode()
    except vault.VaultError as error:
        raise refuse(RefusalCode.UPSTREAM_REFUSED, asset=row.asset.name, login=row.name) from error


def _user_ca() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(vault.derive("ca:user"))


def _certify(
    person: Person, grant_id: UUID, login: str, serial: int, ends_at: datetime, now: datetime
) -> tuple[str, str]:
    key = Ed25519PrivateKey.generate()
    certificate = (
        SSHCertificateBuilder()
        .public_key(key.public_key())
        .serial(serial)
        .type(SSHCertificateType.USER)
        .key_id(f"breakglass {person.username} grant {grant_id}".encode())
        .valid_principals([login.encode()])
        .valid_after(int((now - SKEW).timestamp()))
        .valid_before(int(ends_at.timestamp()))
        .add_extension(b"permit-pty", b"")
        .add_extension(b"permit-port-forwarding", b"")
        .sign(_user_ca())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return pem, certificate.public_bytes().decode()
