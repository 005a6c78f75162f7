"""The people, machines and playbooks that every test meets, made by the real services.

The people are those of the demo. A code of a person is good once, as everywhere: `cast.code(ada, now)` for each
use, with `now` moved on by 30 s or more in between.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from breakglass.demo import totp
from breakglass.demo.cast import PEOPLE, Player
from breakglass.models import AccessRequest, Asset, AuditHead, Grant, Incident, Person, PlaybookVersion
from breakglass.services import approvals, assets, incidents, people, playbooks, requests, second_factor
from playbooks.schema import PlaybookSpec
from tests.support.clock import NOON
from tests.support.snapshot import Snapshot

PLAYERS: dict[str, Player] = {player.username: player for player in PEOPLE}
ENCODING, PUBLIC = serialization.Encoding, serialization.PublicFormat


_made: dict[datetime, Snapshot] = {}


@dataclass
class Cast:
    """Everybody. `cast.rita` and so on are `Person` rows."""

    people: dict[str, Person] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Person:
        try:
            return self.people[name]
        except KeyError:
            raise AttributeError(f"nobody called {name} is in the cast") from None

    @staticmethod
    def code(person: Person | str, now: datetime) -> str:
        """What the person's authenticator app shows at `now`."""
        name = person if isinstance(person, str) else person.username
        return totp.code(PLAYERS[name].totp_secret, now)

    @staticmethod
    def wrong_code(person: Person | str, now: datetime) -> str:
        """Six digits that are not the person's code around `now`."""
        return f"{(int(Cast.code(person, now)) + 111_111) % 1_000_000:06d}"

    @staticmethod
    def password(person: Person | str) -> str:
        return PLAYERS[person if isinstance(person, str) else person.username].password


def everybody(now: datetime) -> Cast:
    """The whole cast in the database, each with a second factor. The same rows again where the moment is the same."""
    if AuditHead.objects.get().seq or Person.objects.exists():
        return Cast({player.username: enter(player, now) for player in PEOPLE})
    if now in _made:
        _made[now].put_back()
        return Cast({person.username: person for person in Person.objects.all()})
    cast = Cast({player.username: enter(player, now) for player in PEOPLE})
    if now == NOON:
        _made[now] = Snapshot()
    return cast


def enter(player: Player, now: datetime) -> Person:
    person = people.create(
        username=player.username,
        full_name=player.name,
        email=player.email,
        password=player.password,
        groups=player.groups,
        by=None,
        now=now,
    )
    second_factor.enrol_known(person, player.totp_secret, now)
    return person


def new_key() -> tuple[str, str]:
    """A fresh Ed25519 key: (private key in OpenSSH's format, public line)."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        ENCODING.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return private.decode(), key.public_key().public_bytes(ENCODING.OpenSSH, PUBLIC.OpenSSH).decode()


def machine(
    now: datetime,
    name: str = "hist-01",
    *,
    kind: str = "historian",
    host: str = "127.0.0.1",
    port: int = 22,
    host_keys: Sequence[str] | None = None,
    logins: Sequence[assets.LoginForm] | None = None,
) -> Asset:
    """A registered asset; by default its login `operator` goes by certificate."""
    form = assets.AssetForm(
        name=name,
        title=f"{kind} {name}",
        kind=kind,
        host=host,
        port=port,
        host_keys=host_keys or [new_key()[1]],
        logins=logins or [assets.LoginForm("operator", "certificate")],
        owner="Plant operations",
    )
    return assets.register(form, by=None, now=now)


def spec(slug: str = "historian-down", **changes: Any) -> PlaybookSpec:
    """A playbook for `hist-01` with one approver; `changes` are fields of the schema."""
    fields: dict[str, Any] = {
        "schema_version": 1,
        "slug": slug,
        "title": slug.replace("-", " ").capitalize(),
        "purpose": "Get it going again",
        "owner": "Plant operations",
        "asset_class": "historian",
        "risk": "medium",
        "assets": ["hist-01"],
        "logins": ["operator"],
        "channels": ["shell", "exec"],
        "duration": {"default_minutes": 60, "max_minutes": 120},
        "clock": {"starts": "approval"},
        "approvers": {"groups": ["ot-leads"], "count": 1},
        "runbook": "Look first. Then act.\n",
    }
    return PlaybookSpec.from_plain(fields | changes)


def published(now: datetime, slug: str = "historian-down", **changes: Any) -> PlaybookVersion:
    """The playbook of `spec`, published. Its assets must be registered."""
    playbooks.publish([spec(slug, **changes)], now)
    return PlaybookVersion.objects.get(slug=slug, retired_at=None)


def incident(person: Person, now: datetime, title: str = "Trends have stopped") -> Incident:
    return incidents.open_incident(person, title, now)


def asked(
    person: Person,
    version: PlaybookVersion,
    now: datetime,
    *,
    case: Incident | None = None,
    assets: Sequence[str] = ("hist-01",),
    login: str | None = None,
    minutes: int | None = None,
    reason: str = "No data since 02:55",
) -> AccessRequest:
    """A pending request of `person`."""
    chosen = case or incident(person, now)
    form = requests.SubmitForm(version.slug, chosen.pk, tuple(assets), reason, login=login, minutes=minutes)
    return requests.submit(person, form, now)


def approved(request: AccessRequest, approvers: Sequence[Person], now: datetime) -> Grant:
    """The grant of `request` after these people said yes at `now`."""
    for person in approvers:
        approvals.approve(request.pk, person, Cast.code(person, now), "go ahead", now)
    return Grant.objects.select_related("person", "playbook", "request").get(request=request)


def blob_of(public_line: str) -> bytes:
    return base64.b64decode(public_line.split()[1])
