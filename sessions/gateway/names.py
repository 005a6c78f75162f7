"""What people type before the `@` of the gateway, read strictly before anything is looked up; and who they proved to be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from breakglass.domain.refusals import RefusalCode, refuse

PERSON = re.compile(r"[a-z][a-z0-9._-]{0,30}", re.ASCII)
LOGIN = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,31}", re.ASCII)
ASSET = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True)
class Address:
    """PERSON, PERSON+ASSET or PERSON+LOGIN@ASSET. Without an asset the console is meant."""

    person: str
    asset: str | None = None
    login: str | None = None


@dataclass(frozen=True)
class Identity:
    """Whom a verified proof stands for. `person_id` is immutable; `key` is the key's fingerprint, where there is one.

    `grant_id`: the only grant that it may use, where a certificate (of that serial) or a connect code was the proof.
    """

    person_id: UUID
    username: str
    key: str
    grant_id: UUID | None = None
    certificate: int | None = None


def parse(name: str) -> Address:
    """The parts of a user name. Raises Refused `bad_name`: no folding, trimming or guessing of look-alikes."""
    person, plus, rest = name.partition("+")
    if not PERSON.fullmatch(person):
        raise refuse(RefusalCode.BAD_NAME)
    if not plus:
        return Address(person)
    login, at, asset = rest.rpartition("@")
    if not ASSET.fullmatch(asset) or (at and not LOGIN.fullmatch(login)):
        raise refuse(RefusalCode.BAD_NAME)
    return Address(person, asset, login if at else None)
