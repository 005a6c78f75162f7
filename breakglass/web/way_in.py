"""The ssh commands that lead in, ready to copy."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from django.conf import settings

from breakglass.models import Grant, Person
from breakglass.services.keys import fingerprint
from breakglass.web.cards import Card

HOST_KEY_FILE = "gateway_host_key.pub"


@dataclass(frozen=True)
class Way:
    says: str
    command: str


def ways_in(grant: Grant, person: Person, card: Card) -> list[Way]:
    """A command for each asset; with several logins, each by name."""
    config = settings.BREAKGLASS
    tail = " COMMAND" if card.exec_only else ""
    ways = []
    for asset in grant.assets.all():
        for login in grant.logins:
            who = f"{person.username}+{asset.name}" if len(grant.logins) == 1 else f"{person.username}+{login}@{asset.name}"
            says = f"{asset.name} as {login}"
            ways.append(Way(says, f"ssh -p {config.gateway_port} {who}@{config.gateway_host}{tail}"))
    return ways


def gateway_host_key() -> str:
    """The fingerprint that ssh shows the first time, where the gateway has left its public key; else empty."""
    path = settings.BREAKGLASS.data_dir / HOST_KEY_FILE
    try:
        return fingerprint_of_line(path.read_text())
    except (OSError, ValueError, IndexError):
        return ""


def fingerprint_of_line(line: str) -> str:
    kind, encoded = line.split()[:2]
    return f"{kind} {fingerprint(base64.b64decode(encoded))}"
