"""The ssh commands that lead in, ready to copy."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings

from breakglass.models import Grant, Person
from breakglass.services import vault
from breakglass.services.keys import fingerprint
from breakglass.web.cards import Card

# As sessions.gateway.hostkey has it; the pages of the control plane import nothing of the data plane.
HOST_KEY = "gateway:host-key"


@dataclass(frozen=True)
class Way:
    """`more` are the same asset's other logins; `place` is LOGIN@ASSET."""

    says: str
    command: str
    place: str
    more: tuple[Way, ...] = ()


def ways_in(grant: Grant, person: Person, card: Card, options: str = "") -> list[Way]:
    """A command for each asset, with ssh's `options`; the login is named where there is a choice."""
    config = settings.BREAKGLASS
    tail = " COMMAND" if card.exec_only else ""

    def way(asset: str, login: str, *, named: bool) -> Way:
        who = f"{person.username}+{login}@{asset}" if named else f"{person.username}+{asset}"
        command = f"ssh -p {config.gateway_port}{options} {who}@{config.gateway_host}{tail}"
        return Way(f"{asset} as {login}", command, f"{login}@{asset}")

    ways = []
    for asset in grant.assets.all():
        first, *others = grant.logins
        more = tuple(way(asset.name, login, named=True) for login in others)
        ways.append(replace(way(asset.name, first, named=False), more=more))
    return ways


def gateway_host_key() -> str:
    """The fingerprint that ssh shows the first time: of the key that every gateway derives from the master key."""
    public = Ed25519PrivateKey.from_private_bytes(vault.derive(HOST_KEY)).public_key()
    kind, encoded = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode().split()
    return f"{kind} {fingerprint(base64.b64decode(encoded))}"
