"""The data plane's part of the REST face: sessions, their recordings and commands.

`breakglass.api.face` joins `router` by the name in the settings; breakglass imports nothing from here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Field, Query, Router, Schema

from breakglass import clock
from breakglass.api.auth import demand, person_of
from breakglass.api.errors import PROBLEMS, Problem, answers
from breakglass.api.inputs import Filter, Input
from breakglass.api.naming import find
from breakglass.api.paging import Page, Paging, page
from breakglass.api.receipts import ReceiptOut
from breakglass.domain.permissions import Verb
from breakglass.models import Person
from sessions import (
    chat_api,
    evidence_api,
    findings_api,
    queries,
    recording_api,
    reviews_api,
    services,
    shapes,
    text_api,
)
from sessions.models import FileOperation, SSHSession
from sessions.queries import SessionFilter
from sessions.streaming import stream

router = Router()
router.add_router("", chat_api.router)
router.add_router("", evidence_api.router)
router.add_router("", findings_api.router)
router.add_router("", recording_api.router)
router.add_router("", reviews_api.router)
router.add_router("", text_api.router)

CAST = "application/x-asciicast"
BYTES = "application/octet-stream"


class SessionOut(Schema):
    """A gateway connection under a grant. `upstream_host_key` is the asset's key as it was checked then; `receipt` is
    there once it has ended. `escort_needed`: what the person sends passes only while one of `escort_groups` watches;
    `escort_missing_at`: it is held since then, because none does. `chat_messages`: how much was said beside it."""

    id: UUID
    label: str
    state: Literal["opening", "live", "ending", "ended"]
    end_reason: str
    person: str
    asset: str
    login: str
    playbook: str
    digest: str
    incident: str
    request: str
    grant: UUID
    decision_id: UUID
    factor: str
    client_address: str
    asset_address: str
    upstream_host_key: str
    channel_kinds: list[str]
    bytes_in: int
    bytes_out: int
    opened_at: datetime
    kill_requested_at: datetime | None
    frozen_at: datetime | None
    frozen_by: str | None
    freeze_reason: str
    escort_needed: bool
    escort_groups: list[str]
    escort_missing_at: datetime | None
    chat_messages: int
    ended_at: datetime | None
    recording: Literal["open", "sealed", "recovered", "deleted"]
    recording_sha256: str
    recording_seconds: float
    approved_by: list[str]
    receipt: ReceiptOut | None


class FileOut(Schema):
    """One thing done to a file by sftp, scp or rsync. `bytes` and `sha256` are of what was moved, in the order in which
    it was moved; `sha256` is empty where bytes were moved out of order, or none were. `target` is the other path of a
    rename, link or copy, or the name that old scp sent. `kept`: a copy can be had at `files/{label}/content`."""

    label: str
    channel: int
    number: int
    verb: str
    path: str
    target: str
    direction: Literal["up", "down", "none"]
    bytes: int
    sha256: str
    outcome: str
    kept: bool
    started_at: datetime
    ended_at: datetime


class SessionQuery(Filter):
    """`since` and `until` bound the opening; `open`: only sessions that haven't ended."""

    person: str = Field(default="", max_length=31)
    asset: str = Field(default="", max_length=63)
    playbook: str = Field(default="", max_length=64)
    incident: str = Field(default="", max_length=64)
    since: datetime | None = None
    until: datetime | None = None
    open: bool = False


class KillIn(Input):
    """`otp`: a one-time code, where the playbook asks for a second factor to end a session."""

    reason: str = Field(default="", max_length=300)
    otp: str = Field(default="", max_length=40)


class FreezeIn(Input):
    """`reason`: told to the person."""

    reason: str = Field(default="", max_length=300)


@router.get("/sessions", response=answers(Page[SessionOut]), tags=["sessions"])
def list_sessions(request: HttpRequest, paging: Query[Paging], only: Query[SessionQuery]) -> dict[str, Any]:
    """Sessions, newest first: your own, those under playbooks that you approve, or all for reviewers, auditors and
    administrators."""
    wanted = SessionFilter(
        person=only.person,
        asset=only.asset,
        playbook=only.playbook,
        incident=only.incident,
        since=shapes.aware(only.since),
        until=shapes.aware(only.until),
        open_only=only.open,
    )
    return page(queries.sessions_for(person_of(request), wanted), paging, shapes.session)


@router.get("/sessions/{ref}", response=answers(SessionOut), tags=["sessions"])
def get_session(request: HttpRequest, ref: str) -> dict[str, Any]:
    """One session, by id or label."""
    return shapes.session(_seen(person_of(request), ref))


@router.get(
    "/sessions/{ref}/recording.cast",
    response={200: str, PROBLEMS: Problem},
    tags=["sessions"],
    openapi_extra={
        "responses": {200: {"description": "asciicast v2", "content": {CAST: {"schema": {"type": "string"}}}}}
    },
)
def get_recording(request: HttpRequest, ref: str) -> StreamingHttpResponse:
    """The recording as asciicast v2, once its seal was checked. The download is audited."""
    person = person_of(request)
    seen = _seen(person, ref)
    pieces = services.open_replay(seen.pk, person, clock.now(), download=True)
    response = stream(request, pieces, CAST)
    response["Content-Disposition"] = f'attachment; filename="{seen.label}.cast"'
    response["Cache-Control"] = "no-store"
    return response


@router.get("/sessions/{ref}/files", response=answers(Page[FileOut]), tags=["sessions"])
def list_files(request: HttpRequest, ref: str, paging: Query[Paging]) -> dict[str, Any]:
    """What was done to files in the session, in order. Needs the right to replay it."""
    person = person_of(request)
    seen = _seen(person, ref)
    demand(person, Verb.REPLAY_SESSION, queries.thing_of_session(seen))
    return page(queries.file_operations(seen), paging, _file)


@router.get(
    "/sessions/{ref}/files/{label}/content",
    response={200: str, PROBLEMS: Problem},
    tags=["sessions"],
    openapi_extra={
        "responses": {
            200: {
                "description": "The bytes as they were moved",
                "content": {BYTES: {"schema": {"type": "string"}}},
            }
        }
    },
)
def get_file_content(request: HttpRequest, ref: str, label: str) -> StreamingHttpResponse:
    """The kept copy of what was moved, where the playbook keeps copies. The download is audited."""
    person = person_of(request)
    seen = _seen(person, ref)
    _, pieces = services.open_kept_copy(seen.pk, label, person, clock.now())
    response = stream(request, pieces, BYTES)
    response["Content-Disposition"] = f'attachment; filename="{seen.label}-{label}.bin"'
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


@router.post("/sessions/{ref}/kill", response=answers(SessionOut), tags=["sessions"])
def kill_session(request: HttpRequest, ref: str, body: KillIn) -> dict[str, Any]:
    """End this one session now; its neighbours and the grant live on."""
    person = person_of(request)
    done = services.kill(_seen(person, ref).pk, person, body.reason, clock.now(), body.otp)
    return shapes.session(_seen(person, str(done.pk)))


@router.post("/sessions/{ref}/freeze", response=answers(SessionOut), tags=["sessions"])
def freeze_session(request: HttpRequest, ref: str, body: FreezeIn | None = None) -> dict[str, Any]:
    """Hold what the person sends; output goes on. They are told who did it, and the reason. The grant, and their other
    sessions, are not touched."""
    person = person_of(request)
    done = services.freeze(_seen(person, ref).pk, person, body.reason if body else "", clock.now())
    return shapes.session(_seen(person, str(done.pk)))


@router.post("/sessions/{ref}/unfreeze", response=answers(SessionOut), tags=["sessions"])
def unfreeze_session(request: HttpRequest, ref: str) -> dict[str, Any]:
    """Let it go on: what the person sent meanwhile is passed on, once. Nobody unfreezes their own session."""
    person = person_of(request)
    done = services.unfreeze(_seen(person, ref).pk, person, clock.now())
    return shapes.session(_seen(person, str(done.pk)))


def _seen(person: Person, ref: str) -> SSHSession:
    found = find(SSHSession.objects.only("pk"), ref, "session", "S-")
    return queries.session_for(person, found.pk)


def _file(row: FileOperation) -> dict[str, Any]:
    return {
        "label": row.label,
        "channel": row.channel,
        "number": row.number,
        "verb": row.verb,
        "path": row.path,
        "target": row.target,
        "direction": row.direction,
        "bytes": row.bytes,
        "sha256": row.sha256,
        "outcome": row.outcome,
        "kept": bool(row.kept),
        "started_at": row.started_at,
        "ended_at": row.ended_at,
    }
