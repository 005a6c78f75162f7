"""What stands in a journal: facts as JSON, and how each kind of them is written into the database.

A kind has a version behind its slash. A newer release must still read what an older one left behind: what an entry says
may get more fields, with a default; whatever else changes gets a new version, and the old one stays.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, get_type_hints
from uuid import UUID

from django.db import transaction

from breakglass import queries
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import ADMINISTRATORS
from breakglass.domain.refusals import Refusal, RefusalCode, Refused
from breakglass.services import audit, notices, vault
from sessions import services
from sessions.gateway import pep
from sessions.models import SSHSession
from sessions.services import ChannelFacts, Cut, FileFacts, Totals
from sessions.services.marks import Marked, mark_recordings
from sessions.states import EndReason

Fact = TypeVar("Fact")
SEALED = "journal"


class Kind(StrEnum):
    CHANNEL = "channel/1"
    CHANNEL_REFUSED = "channel-refused/1"
    REFUSED = "refused/1"
    FILE = "file/1"
    ENDED = "ended/1"
    GONE = "gone/1"
    MARKED = "marked/1"
    WRONG_LOGIN = "wrong-login/1"
    DISK = "disk/1"
    AUDIT = "audit/1"


class Unreadable(Exception):
    """An entry that this release can't make sense of."""


def to_json(data: Mapping[str, Any]) -> str:
    """ASCII, one line."""
    return json.dumps(data, default=_plain, separators=(",", ":"))


def write(entries: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Into the database, in the caller's transaction: one entry, or several of files.

    Raises Unreadable for what isn't known, and what the services raise.
    """
    if len(entries) > 1:
        services.save_file_operations([_file(data) for _, data in entries])
        return
    kind, data = entries[0]
    found = _WRITERS.get(kind)
    if found is None:
        raise Unreadable(f"{kind} is no kind of entry that this release knows")
    found(data)


# From facts to JSON and back. ----------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    return str(value)


@cache
def _times(fact: Any) -> frozenset[str]:
    """The fields that are moments."""
    hints = get_type_hints(fact)
    return frozenset(name for name, hint in hints.items() if hint in (datetime, datetime | None))


def _fact(fact: Callable[..., Fact], plain: Mapping[str, Any]) -> Fact:
    times = _times(fact)
    return fact(**{name: _moment(value) if name in times else value for name, value in plain.items()})


def _moment(text: str | None) -> Any:
    return None if text is None else datetime.fromisoformat(text)


def _reading(make: Callable[[], Fact]) -> Fact:
    """What `make` makes of an entry; Unreadable where it can't."""
    try:
        return make()
    except (KeyError, TypeError, ValueError, AttributeError, vault.VaultError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _refusal(data: Mapping[str, Any]) -> Refusal:
    return Refusal(RefusalCode(data["code"]), str(data["message"]), "", 0)


# The writers. --------------------------------------------------------------------------------------------


def _channel(data: Mapping[str, Any]) -> None:
    services.save_channel(*_reading(lambda: (UUID(data["session"]), _fact(ChannelFacts, data["facts"]))))


def _channel_refused(data: Mapping[str, Any]) -> None:
    session_id, facts, why, at = _reading(
        lambda: (
            UUID(data["session"]),
            _fact(ChannelFacts, data["facts"]),
            _refusal(data),
            _moment(data["at"]),
        )
    )
    services.refuse_channel(session_id, facts, why, at)


def _refused(data: Mapping[str, Any]) -> None:
    session_id, why, more, at = _reading(
        lambda: (UUID(data["session"]), _refusal(data), dict(data["data"]), _moment(data["at"]))
    )
    session = SSHSession.objects.select_related("person").get(pk=session_id)
    facts = {"session": session.label, "refusal": str(why.code), "message": why.message, **more}
    audit.record(AuditTag.CHANNEL_REFUSED, actor=session.person, subject=session, now=at, data=facts)


def _file(data: Mapping[str, Any]) -> tuple[UUID, FileFacts]:
    return _reading(lambda: (UUID(data["session"]), _fact(FileFacts, data["facts"])))


def _ended(data: Mapping[str, Any]) -> None:
    session_id, reason, totals, at, cut = _reading(
        lambda: (
            UUID(data["session"]),
            EndReason(data["reason"]),
            _fact(Totals, data["totals"]),
            _moment(data["at"]),
            _fact(Cut, data["cut"]),
        )
    )
    services.end_session(session_id, reason, totals, at, cut)


def _gone(data: Mapping[str, Any]) -> None:
    session_id, client, target = _reading(
        lambda: (UUID(data["session"]), _moment(data["client"]), _moment(data["target"]))
    )
    services.complete_receipt(session_id, client, target)


def _marked(data: Mapping[str, Any]) -> None:
    gateway, marked, at = _reading(
        lambda: (str(data["gateway"]), [_fact(Marked, one) for one in data["marked"]], _moment(data["at"]))
    )
    mark_recordings(gateway, marked, at)


def _wrong_login(data: Mapping[str, Any]) -> None:
    refused, name, asset, address, at = _reading(
        lambda: (
            Refused(_refusal(data)),
            open_name(data["name"]),
            str(data["asset"]),
            str(data["address"]),
            _moment(data["at"]),
        )
    )
    pep.write_refusal(refused, actor=name, asset=asset, address=address, now=at)


def _audit(data: Mapping[str, Any]) -> None:
    tag, subject, more, at = _row(data)
    audit.record(tag, actor=None, subject=subject, now=at, data=more)


def _disk(data: Mapping[str, Any]) -> None:
    tag, subject, more, at = _row(data)
    with transaction.atomic():
        audit.append(tag, actor=None, subject=subject, now=at, data=more)
        if data.get("tell"):
            notices.queue(
                queries.people_in([ADMINISTRATORS]),
                topic=subject,
                subject="Alarm: the disk of the recordings is full",
                body="Sessions wait, and end when there is no room soon; new ones are refused. Free some space now.",
                path="/audit/",
                now=at,
            )


def _row(data: Mapping[str, Any]) -> tuple[AuditTag, str, dict[str, Any], datetime]:
    return _reading(
        lambda: (AuditTag(data["tag"]), str(data["subject"]), dict(data["data"]), _moment(data["at"]))
    )


# A name that somebody typed may be a password in the wrong place.


def sealed_name(name: str) -> str:
    return base64.b64encode(vault.encrypt(name.encode(errors="replace"), SEALED)).decode()


def open_name(sealed: str) -> str:
    return vault.decrypt(base64.b64decode(sealed), SEALED).decode()


_WRITERS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    Kind.CHANNEL: _channel,
    Kind.CHANNEL_REFUSED: _channel_refused,
    Kind.REFUSED: _refused,
    Kind.FILE: lambda data: services.save_file_operations([_file(data)]),
    Kind.ENDED: _ended,
    Kind.GONE: _gone,
    Kind.MARKED: _marked,
    Kind.WRONG_LOGIN: _wrong_login,
    Kind.DISK: _disk,
    Kind.AUDIT: _audit,
}
