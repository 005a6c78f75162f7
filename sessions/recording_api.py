"""The REST face of how recordings are kept: where, how long, and by whom they are held."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Router, Schema

from breakglass import clock
from breakglass.api.auth import demand, person_of
from breakglass.api.errors import answers
from breakglass.api.inputs import Input
from breakglass.api.naming import find
from breakglass.domain.permissions import Verb
from breakglass.models import Person
from sessions import queries, services
from sessions.models import Recording, SSHSession

router = Router(tags=["sessions"])


class RecordingOut(Schema):
    """How a session's recording is kept. `keep_until` null: for ever; `stored_at`: when the object store was seen to
    hold it whole; `problem`: why it isn't stored yet, or its files still wait to be deleted."""

    session: UUID
    label: str
    state: Literal["open", "sealed", "recovered", "deleted"]
    sha256: str
    bytes: int
    sealed_at: datetime | None
    stored_at: datetime | None
    local_removed_at: datetime | None
    problem: str
    keep_until: datetime | None
    held_at: datetime | None
    held_by: str | None
    hold_reason: str
    deleted_at: datetime | None


class HoldIn(Input):
    """`reason`: on record."""

    reason: str = Field(default="", max_length=300)


@router.get("/sessions/{ref}/recording", response=answers(RecordingOut))
def get_recording_state(request: HttpRequest, ref: str) -> dict[str, Any]:
    """Where the recording is, how long it is kept, and who holds it. For reviewers and auditors."""
    person = person_of(request)
    session = _seen(person, ref)
    demand(person, Verb.LIST_SESSIONS)
    return _shape(session.recording)


@router.post("/sessions/{ref}/hold", response=answers(RecordingOut))
def hold_recording(request: HttpRequest, ref: str, body: HoldIn) -> dict[str, Any]:
    """Keep the recording, whatever its time says, until the hold is lifted. For auditors."""
    person = person_of(request)
    return _shape(services.hold(_seen(person, ref).pk, person, body.reason, clock.now()))


@router.post("/sessions/{ref}/unhold", response=answers(RecordingOut))
def unhold_recording(request: HttpRequest, ref: str, body: HoldIn) -> dict[str, Any]:
    """Lift the hold: where its time is over, the recording is deleted within the hour. For auditors."""
    person = person_of(request)
    return _shape(services.unhold(_seen(person, ref).pk, person, body.reason, clock.now()))


def _seen(person: Person, ref: str) -> SSHSession:
    return queries.session_for(person, find(SSHSession.objects.only("pk"), ref, "session", "S-").pk)


def _shape(row: Recording) -> dict[str, Any]:
    return {
        "session": row.session_id,
        "label": row.session.label,
        "state": row.state,
        "sha256": row.sha256,
        "bytes": row.bytes,
        "sealed_at": row.sealed_at,
        "stored_at": row.stored_at,
        "local_removed_at": row.local_removed_at,
        "problem": row.store_problem,
        "keep_until": row.keep_until,
        "held_at": row.held_at,
        "held_by": row.held_by.username if row.held_by else None,
        "hold_reason": row.hold_reason,
        "deleted_at": row.deleted_at,
    }
