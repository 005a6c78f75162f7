"""Registering assets: where they are, their pinned host keys, and how the gateway gets in."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import transaction

from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Asset, AssetHostKey, AssetLogin, Person
from breakglass.models.asset import LOGIN_NAME
from breakglass.queries import refuse_unless
from breakglass.services import audit, step_up, vault
from breakglass.services.keys import fingerprint
from breakglass.services.step_up import Answer


@dataclass(frozen=True)
class LoginForm:
    """How to get in as `name`: `method` certificate, password or key; `secret` the password or OpenSSH private key."""

    name: str
    method: str
    secret: str = ""


@dataclass(frozen=True)
class AssetForm:
    """`host_keys` are lines as `ssh-keyscan` or a .pub file give them: type and base64.

    `legacy_algorithms`: the gateway may speak old, weak SSH algorithms to it.
    """

    name: str
    title: str
    kind: str
    host: str
    port: int
    host_keys: Sequence[str]
    logins: Sequence[LoginForm]
    owner: str = ""
    legacy_algorithms: bool = False


def register(form: AssetForm, *, by: Person | None, now: datetime) -> Asset:
    """A new asset with its host keys pinned. Raises Refused `bad_input`: without a host key there is no asset."""
    keys = [_host_key(line) for line in form.host_keys]
    if not keys:
        raise refuse(
            RefusalCode.BAD_INPUT,
            problem=f"{form.name} needs at least one host key (ssh-keyscan shows them).",
        )
    asset = Asset(
        name=form.name,
        title=form.title,
        kind=form.kind,
        host=form.host,
        port=form.port,
        owner=form.owner,
        legacy_algorithms=form.legacy_algorithms,
        created_at=now,
    )
    try:
        asset.full_clean()
    except ValidationError as error:
        raise refuse(RefusalCode.BAD_INPUT, problem=" ".join(error.messages)) from None
    with transaction.atomic():
        asset.save(force_insert=True)
        for kind, blob in keys:
            AssetHostKey.objects.create(asset=asset, type=kind, blob=blob, fingerprint=fingerprint(blob))
        audit.append(AuditTag.ASSET_REGISTERED, actor=by, subject=asset, now=now, data=_facts(form, keys))
        for login in form.logins:
            _store_login(asset, login, by, now)
    return asset


def move(
    asset: Asset, *, host: str, port: int, host_keys: Sequence[str], by: Person | None, now: datetime
) -> None:
    """The asset has a new address or new host keys, by an administrator's word."""
    keys = [_host_key(line) for line in host_keys]
    if not keys:
        raise refuse(RefusalCode.BAD_INPUT, problem=f"{asset.name} needs at least one host key.")
    with transaction.atomic():
        Asset.objects.filter(pk=asset.pk).update(host=host, port=port)
        asset.host_keys.all().delete()
        for kind, blob in keys:
            AssetHostKey.objects.create(asset=asset, type=kind, blob=blob, fingerprint=fingerprint(blob))
        data = {"host": host, "port": port, "host_keys": [fingerprint(blob) for _, blob in keys]}
        audit.append(AuditTag.ASSET_CHANGED, actor=by, subject=asset, now=now, data=data)


def allow_old_algorithms(asset: Asset, allowed: bool, *, by: Person, code: Answer, now: datetime) -> None:
    """Whether the gateway may speak old, weak SSH algorithms to it, by an administrator with a fresh second factor."""
    refuse_unless(by, Verb.MANAGE_ASSETS)
    step_up.verify(by, f"{'allow' if allowed else 'forbid'} old algorithms", asset.name, code, now)
    with transaction.atomic():
        Asset.objects.filter(pk=asset.pk).update(legacy_algorithms=allowed)
        data = {"legacy_algorithms": allowed}
        audit.append(AuditTag.ASSET_CHANGED, actor=by, subject=asset, now=now, data=data)
    asset.legacy_algorithms = allowed


def store_login(asset: Asset, form: LoginForm, *, by: Person | None, now: datetime) -> None:
    """Set or replace the credential of one login."""
    with transaction.atomic():
        _store_login(asset, form, by, now)


def secret_purpose(asset: Asset, login: str) -> str:
    """Binds a stored secret to its asset and login: moved to another row it doesn't open."""
    return f"asset-login:{asset.pk}:{login}"


def _store_login(asset: Asset, form: LoginForm, by: Person | None, now: datetime) -> None:
    try:
        LOGIN_NAME(form.name)
    except ValidationError as error:
        raise refuse(RefusalCode.BAD_INPUT, problem=" ".join(error.messages)) from None
    if form.method not in AssetLogin.Method.values:
        raise refuse(
            RefusalCode.BAD_INPUT, problem=f"{form.method} is no way in: certificate, password or key."
        )
    if (form.method == AssetLogin.Method.CERTIFICATE) == bool(form.secret):
        raise refuse(
            RefusalCode.BAD_INPUT, problem=f"{form.method} needs {'no' if form.secret else 'a'} secret."
        )
    secret = vault.encrypt(form.secret.encode(), secret_purpose(asset, form.name)) if form.secret else b""
    AssetLogin.objects.update_or_create(
        asset=asset, name=form.name, defaults={"method": form.method, "secret": secret, "changed_at": now}
    )
    audit.append(
        AuditTag.CREDENTIAL_STORED,
        actor=by,
        subject=asset,
        now=now,
        data={"login": form.name, "method": form.method},
    )


def _host_key(line: str) -> tuple[str, bytes]:
    words = line.split()
    try:
        kind, encoded = words[0], words[1]
        blob = base64.b64decode(encoded, validate=True)
    except (IndexError, binascii.Error):
        raise refuse(
            RefusalCode.BAD_INPUT, problem="A host key line is a type and base64, as in a .pub file."
        ) from None
    name = kind.encode()
    if blob[:4] != len(name).to_bytes(4, "big") or blob[4 : 4 + len(name)] != name:
        raise refuse(RefusalCode.BAD_INPUT, problem="The host key's type doesn't fit its content.")
    return kind, blob


def _facts(form: AssetForm, keys: Sequence[tuple[str, bytes]]) -> dict[str, object]:
    return {
        "name": form.name,
        "kind": form.kind,
        "host": form.host,
        "port": form.port,
        "host_keys": [fingerprint(blob) for _, blob in keys],
        "legacy_algorithms": form.legacy_algorithms,
    }
