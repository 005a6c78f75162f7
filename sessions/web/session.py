"""One session: what is known of it, and its recording."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_safe

from breakglass import clock
from breakglass.domain import permissions
from breakglass.domain.permissions import Verb
from breakglass.models import Person
from breakglass.queries import spec_of
from breakglass.web import live
from breakglass.web.tags import digits
from breakglass.web.who import can, person_of
from sessions import queries, services
from sessions.models import Channel, Receipt, Recording, SSHSession
from sessions.services import chat, escort
from sessions.services.recordings import NO_ROOM_TO_SEAL
from sessions.states import OPEN_STATES, RecordingState, SessionState
from sessions.web import hold
from sessions.web.beside import besides
from sessions.web.ends import asked
from sessions.web.stopping import may_stop

TEMPLATE = "gateway/parts/session_live.html"
COMMANDS = frozenset({"exec"})
FILES_SHOWN = 300
SAID_SHOWN = 300


@require_safe
def session_page(request: HttpRequest, session_id: UUID) -> HttpResponse:
    person, now = person_of(request), clock.now()
    session = queries.session_for(person, session_id)
    context = _context(session, person, now)
    html, _ = live.block(request, TEMPLATE, context)
    return render(request, "gateway/session.html", {**context, **besides(session, person), "live": html})


@require_safe
def session_live(request: HttpRequest, session_id: UUID) -> HttpResponse:
    person = person_of(request)
    return live.answer(
        request, TEMPLATE, _context(queries.session_for(person, session_id), person, clock.now())
    )


@require_safe
def session_events(request: HttpRequest, session_id: UUID) -> StreamingHttpResponse:
    session = queries.session_for(person_of(request), session_id)
    return live.stream([f"session:{session.id}", "sessions"])


@require_GET
def recording_cast(request: HttpRequest, session_id: UUID) -> StreamingHttpResponse:
    """What the player loads: checked against its seal first, and the viewing is audited."""
    pieces = services.open_replay(session_id, person_of(request), clock.now())
    return _cast(pieces)


@require_GET
def recording_download(request: HttpRequest, session_id: UUID) -> StreamingHttpResponse:
    """The same bytes as a file for `asciinema play`."""
    person = person_of(request)
    pieces = services.open_replay(session_id, person, clock.now(), download=True)
    session = queries.session_for(person, session_id)
    response = _cast(pieces)
    response["Content-Disposition"] = f'attachment; filename="{session.label}-{session.asset.name}.cast"'
    return response


@require_GET
def kept_file(request: HttpRequest, session_id: UUID, label: str) -> StreamingHttpResponse:
    """The kept copy of what was moved; the download is audited. Never shown inline: it is whatever somebody moved."""
    person = person_of(request)
    row, pieces = services.open_kept_copy(session_id, label, person, clock.now())
    session = queries.session_for(person, session_id)
    response = _cast(pieces)
    response["Content-Type"] = "application/octet-stream"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Disposition"] = f'attachment; filename="{session.label}-{row.label}.bin"'
    return response


def _cast(pieces: Iterator[bytes]) -> StreamingHttpResponse:
    response = StreamingHttpResponse(_one_by_one(pieces), content_type="application/x-asciicast")
    response["Cache-Control"] = "no-store, private"
    return response


async def _one_by_one(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Each piece is read and decrypted off the event loop, when the browser has taken the one before."""
    read = sync_to_async(lambda: next(pieces, None), thread_sensitive=False)
    while (piece := await read()) is not None:
        yield piece


def _context(session: SSHSession, person: Person, now: datetime) -> dict[str, Any]:
    thing = queries.thing_of_session(session)
    recording: Recording | None = getattr(session, "recording", None)
    channels = list(session.channels.all())
    may_replay = can(person, Verb.REPLAY_SESSION, thing)
    is_open = session.state in OPEN_STATES
    ready = recording is not None and recording.state in (RecordingState.SEALED, RecordingState.RECOVERED)
    receipt: Receipt | None = getattr(session, "receipt", None)
    return {
        "session": session,
        "state": _state(session),
        "recording": recording,
        "ready": ready,
        "length": digits(timedelta(seconds=recording.seconds)) if recording is not None else "",
        "waits_for_room": recording is not None and recording.problem == NO_ROOM_TO_SEAL,
        "may_replay": may_replay,
        **_done(session, channels, may_replay),
        **may_stop(session, person),
        "may_watch": is_open and session.kill_requested_at is None and can(person, Verb.WATCH_SESSION, thing),
        "waits": is_open and session.escort_needed and session.escort_missing_at is not None,
        "escorts": escort.who(session.grant.playbook) if session.escort_needed else "",
        "is_escort": is_open and escort.may_be(person, session),
        "said": [] if is_open else list(chat.messages(session)[:SAID_SHOWN]),
        "receipt": receipt,
        "asked": asked(receipt.cause) if receipt else "",
        **hold.keeping(session, person),
        "approvals": list(session.grant.request.approvals.all()),
        "files_allowed": "sftp" in {str(kind) for kind in spec_of(session.grant.playbook).channels},
        "proof": f"authenticator app ({session.factor})"
        if session.factor.startswith("totp")
        else session.factor,
        "kinds": ", ".join(queries.channel_kinds(session)) or "none yet",
        "ends_at": session.grant.ends_at if is_open else None,
        "review": getattr(session.grant, "review", None),
    }


def _done(session: SSHSession, channels: list[Channel], may_replay: bool) -> dict[str, Any]:
    """What was run and what was done to files: of what was recorded, so for whoever may replay it, as in the API."""
    if not may_replay:
        return {"who_replays": permissions.WHO_CAN[Verb.REPLAY_SESSION]}
    files = queries.file_operations(session)
    return {
        "commands": [channel for channel in channels if channel.kind in COMMANDS],
        "files": files[:FILES_SHOWN],
        "more_files": max(0, files.count() - FILES_SHOWN),
        "others": [channel for channel in channels if channel.kind not in COMMANDS],
    }


def _state(session: SSHSession) -> str:
    if session.kill_requested_at and session.state in OPEN_STATES:
        return str(SessionState.ENDING)
    if (session.frozen_at or session.escort_missing_at) and session.state in OPEN_STATES:
        return "frozen"
    return session.state
