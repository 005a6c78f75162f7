"""The REST face of what was typed and shown: the commands of a session, and searching across all of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema

from breakglass import clock
from breakglass.api.auth import demand, person_of
from breakglass.api.errors import answers
from breakglass.api.inputs import Filter
from breakglass.api.naming import find
from breakglass.api.paging import Page, Paging, page_of
from breakglass.domain.permissions import Verb
from breakglass.domain.text import one_line
from sessions import queries, shapes
from sessions.models import Channel, SSHSession, TranscriptEntry
from sessions.recording.spans import COMMAND
from sessions.services import reading, searching
from sessions.services.searching import Found, Wanted

router = Router(tags=["sessions"])


class CommandOut(Schema):
    """A channel that was opened, or refused (`refusal`), or a command that was read from the screen of one. For `exec` the
    command and the digests of its streams. `exact`: known from the protocol; else inferred from the screen, which a program
    can draw as it likes. `began` and `ended` are seconds of the recording; they and `output`, as rendered, are there once
    the recording was rendered. Digests and bytes are of whole channels: inferred commands have none."""

    number: int
    kind: str
    command: str
    destination: str
    refusal: str
    exit_status: int | None
    exit_signal: str
    bytes_in: int
    bytes_out: int
    bytes_err: int
    sha256_in: str
    sha256_out: str
    sha256_err: str
    opened_at: datetime
    closed_at: datetime | None
    exact: bool
    began: float | None
    ended: float | None
    output: str
    output_cut: bool


class HitOut(Schema):
    """A text with what was looked for. `at`: its second in the recording, where it has one."""

    kind: Literal[
        "command", "output", "screen", "file", "person", "asset", "reason", "chat", "note", "finding"
    ]
    at: float | None
    text: str


class FoundOut(Schema):
    """A session with hits; `more`: it has others."""

    session: UUID
    label: str
    person: str
    asset: str
    playbook: str
    opened_at: datetime
    hits: list[HitOut]
    more: bool


class SearchOut(Schema):
    """The newest sessions in which it was found; `more`: older ones have it, too."""

    items: list[FoundOut]
    more: bool


class SearchQuery(Filter):
    """`q`: words or their beginnings, paths, "phrases"; all must be there. `since` and `until` bound the opening."""

    q: str = Field(max_length=200)
    kind: Literal[
        "", "command", "output", "screen", "file", "person", "asset", "reason", "chat", "note", "finding"
    ] = ""
    person: str = Field(default="", max_length=31)
    asset: str = Field(default="", max_length=63)
    playbook: str = Field(default="", max_length=64)
    since: datetime | None = None
    until: datetime | None = None


@router.get("/search", response=answers(SearchOut))
def search(request: HttpRequest, only: Query[SearchQuery]) -> dict[str, Any]:
    """Search every recording that you may replay, and what is known of every session that you may see. What shows other
    people's sessions is audited."""
    wanted = Wanted(
        text=one_line(only.q, 200),
        person=only.person,
        asset=only.asset,
        playbook=only.playbook,
        kind=only.kind,
        since=shapes.aware(only.since),
        until=shapes.aware(only.until),
    )
    results = searching.search(person_of(request), wanted, clock.now())
    return {"items": [_found(one) for one in results.found], "more": results.more}


@router.get("/sessions/{ref}/commands", response=answers(Page[CommandOut]))
def list_commands(request: HttpRequest, ref: str, paging: Query[Paging]) -> dict[str, Any]:
    """What was run or opened in the session, in order; below a shell what was run in it. Needs the right to replay it."""
    person = person_of(request)
    seen = queries.session_for(person, find(SSHSession.objects.only("pk"), ref, "session", "S-").pk)
    demand(person, Verb.REPLAY_SESSION, queries.thing_of_session(seen))
    entries = list(queries.transcript_entries(seen).filter(kind=COMMAND))
    channels = list(Channel.objects.filter(session=seen).order_by("number"))
    if entries or any(channel.command for channel in channels):
        reading.note_viewed(seen, person, clock.now())
    rows: list[dict[str, Any]] = []
    for channel in channels:
        inside = [entry for entry in entries if entry.channel == channel.number]
        exact = next((entry for entry in inside if entry.exact), None)
        rows.append(_channel(channel, exact))
        rows += [_inferred(channel, entry, seen.opened_at) for entry in inside if not entry.exact]
    return page_of(rows, paging, lambda row: row)


def _channel(row: Channel, entry: TranscriptEntry | None) -> dict[str, Any]:
    return {
        "number": row.number,
        "kind": row.kind,
        "command": row.command,
        "destination": row.destination,
        "refusal": row.refusal,
        "exit_status": row.exit_status,
        "exit_signal": row.exit_signal,
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
        "bytes_err": row.bytes_err,
        "sha256_in": row.sha256_in,
        "sha256_out": row.sha256_out,
        "sha256_err": row.sha256_err,
        "opened_at": row.opened_at,
        "closed_at": row.closed_at,
        "exact": True,
        "began": entry.began if entry else None,
        "ended": entry.ended if entry else None,
        "output": entry.output if entry else "",
        "output_cut": entry.output_cut if entry else False,
    }


def _inferred(channel: Channel, entry: TranscriptEntry, opened_at: datetime) -> dict[str, Any]:
    return {
        **_channel(channel, entry),
        "command": entry.text,
        "exit_status": entry.exit_status,
        "exit_signal": "",
        **dict.fromkeys(("bytes_in", "bytes_out", "bytes_err"), 0),
        **dict.fromkeys(("sha256_in", "sha256_out", "sha256_err"), ""),
        "opened_at": opened_at + timedelta(seconds=entry.began),
        "closed_at": opened_at + timedelta(seconds=entry.ended) if entry.ended is not None else None,
        "exact": False,
    }


def _found(one: Found) -> dict[str, Any]:
    session = one.session
    return {
        "session": session.pk,
        "label": session.label,
        "person": session.person.username,
        "asset": session.asset.name,
        "playbook": session.grant.playbook.slug,
        "opened_at": session.opened_at,
        "hits": [{"kind": hit.kind, "at": hit.at, "text": hit.text} for hit in one.hits],
        "more": one.more,
    }
