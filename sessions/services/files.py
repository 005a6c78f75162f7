"""File operations of sessions: written down in batches; kept copies opened for those who may replay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from breakglass import doorbell
from breakglass.domain import permissions
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import storable
from breakglass.models import Person
from breakglass.queries import actor_of
from breakglass.services import audit
from sessions.models import FileOperation
from sessions.queries import file_operation, session_for, thing_of_session
from sessions.recording import kept
from sessions.recording.keyring import KeyUnavailable
from sessions.recording.sealed import RecordingDamaged
from sessions.services import holdings, retention
from sessions.services.recording_keys import keyring
from sessions.services.remote import StoreAway


@dataclass(frozen=True)
class FileFacts:
    """One file operation as the gateway saw it, when it is over. As the fields of `FileOperation`."""

    channel: int
    number: int
    verb: str
    path: str
    target: str
    direction: FileOperation.Direction
    bytes: int
    sha256: str
    outcome: str
    kept: str
    started_at: datetime
    ended_at: datetime


def save_file_operations(rows: Sequence[tuple[UUID, FileFacts]]) -> None:
    """Write rows of any sessions down. One that is there already stays as it is."""
    made = []
    for session_id, facts in rows:
        values = asdict(facts) | {
            "path": storable(facts.path),
            "target": storable(facts.target),
            "outcome": storable(facts.outcome)[:120],
        }
        made.append(FileOperation(session_id=session_id, **values))
    FileOperation.objects.bulk_create(made, ignore_conflicts=True)
    for session_id in {session_id for session_id, _ in rows}:
        doorbell.ring(f"session:{session_id}", files=True)


def open_kept_copy(
    session_id: UUID, label: str, person: Person, now: datetime
) -> tuple[FileOperation, Iterator[bytes]]:
    """The kept copy of what the operation `label` (such as 2.1) moved, checked whole, the viewing in the audit trail.

    Raises Refused `not_found`, `not_allowed`, `recording_deleted`, `recording_unavailable`, `recording_damaged`.
    """
    session = session_for(person, session_id)
    if not permissions.may(actor_of(person), Verb.REPLAY_SESSION, thing_of_session(session)):
        who = permissions.WHO_CAN[Verb.REPLAY_SESSION]
        raise refuse(RefusalCode.NOT_ALLOWED, verb=Verb.REPLAY_SESSION, who=who)
    row = file_operation(session, label)
    if row is None or not row.kept:
        raise refuse(RefusalCode.NOT_FOUND, what="kept file")
    retention.refuse_deleted(session.recording)
    try:
        path = holdings.store().kept_path(session_id, row.channel, row.number)
        keys, found = keyring(), holdings.open_file(session.recording, path)
        pieces = kept.open_kept_source(found.path, found.source, found.newer_wrap, keys, row.sha256)
    except (StoreAway, KeyUnavailable) as error:
        raise refuse(RefusalCode.RECORDING_UNAVAILABLE, why=str(error)) from error
    except (OSError, RecordingDamaged) as error:
        retention.refuse_deleted(session.recording)  # its time was over while it was read
        where = error.place if isinstance(error, RecordingDamaged) else "the kept file can't be read"
        raise refuse(RefusalCode.RECORDING_DAMAGED, where=where) from error
    data = {"session": session.label, "path": row.path, "bytes": row.bytes, "sha256": row.sha256}
    audit.record(AuditTag.FILE_DOWNLOADED, actor=person, subject=session, now=now, data=data)
    return row, pieces
