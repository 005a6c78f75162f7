"""Recordings: sealed once the session has ended, checked against the seal before each replay."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import transaction

from breakglass.domain import permissions
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import AUDITORS, Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Person
from breakglass.queries import actor_of, people_in
from breakglass.services import audit, notices
from sessions.models import Recording
from sessions.queries import channel_kinds, session_for, thing_of_session
from sessions.recording import seal
from sessions.recording.files import RecordingBusy
from sessions.recording.keyring import KeyUnavailable
from sessions.recording.recorder import NO_SPACE
from sessions.recording.recovery import recover
from sessions.recording.sealed import Manifest, RecordingDamaged, SealedFile
from sessions.recording.transcript import read_file
from sessions.services import holdings, marks, retention
from sessions.services.holdings import store
from sessions.services.recording_keys import keyring, recording_key, seal_key
from sessions.services.remote import StoreAway
from sessions.states import RecordingState, SessionState

NO_ROOM_TO_SEAL = "the disk is full; it waits to be sealed until there is room"

log = logging.getLogger(__name__)


__all__ = [
    "keyring",
    "note_viewing",
    "open_parts",
    "open_replay",
    "read_recording",
    "readable",
    "recording_key",
    "replayable",
    "seal_due",
    "seal_key",
    "seal_recording",
    "store",
]


def seal_recording(session_id: UUID, now: datetime) -> bool:
    """Seal the recording of an ended session. Idempotent; False when there was nothing to do, or not yet."""
    recording = (
        Recording.objects.select_related("session", "session__grant__playbook", "session__grant__incident")
        .filter(session_id=session_id, state=RecordingState.OPEN, session__state=SessionState.ENDED)
        .first()
    )
    if recording is None:
        return False
    place = store()
    plain, out = place.open_path(session_id), place.sealed_path(session_id)
    try:
        crashed = plain.exists() and recover(plain).crashed
        problem = _against_the_trail(recording, plain)
        manifest = seal.seal(plain, out, keyring(), seal_key(), _facts(recording) | problem)
    except RecordingBusy:
        return False
    except KeyUnavailable as error:
        _wait_for_key(recording, error)
        return False
    except FileNotFoundError:
        return _note_missing(recording, now)
    except (OSError, RecordingDamaged) as error:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            _wait_for_room(recording)
        else:
            _note_problem(recording, str(error), now)
        return False
    _commit_seal(recording, manifest, crashed, now)
    return True


def seal_due(now: datetime) -> int:
    """Seal whatever has ended and is not sealed. One bad file doesn't hold up the rest. Returns how many."""
    due = Recording.objects.filter(state=RecordingState.OPEN, session__state=SessionState.ENDED)
    # Those that had a problem come last, so that they block nobody.
    waiting = due.order_by("problem", "session__ended_at").values_list("session_id", flat=True)[:100]
    return sum(seal_recording(session_id, now) for session_id in waiting)


def open_replay(
    session_id: UUID, person: Person, now: datetime, *, download: bool = False
) -> Iterator[bytes]:
    """The asciicast, piece by piece, once its seal was checked whole and the viewing is in the audit trail.

    Raises Refused `not_found`, `not_allowed`, `recording_open`, `recording_deleted`, `recording_unavailable` (where it is
    stored, or its key, can't be reached), `recording_damaged` (auditors are alarmed).
    """
    recording = replayable(session_id, person)
    with readable(recording, person, now):
        pieces = read_recording(recording)
    note_viewing(
        recording, person, now, AuditTag.RECORDING_DOWNLOADED if download else AuditTag.RECORDING_VIEWED
    )
    return pieces


def replayable(session_id: UUID, person: Person) -> Recording:
    """The recording, sealed and theirs to replay. Refused as `open_replay` says, before the file is looked at."""
    session = session_for(person, session_id)
    if not permissions.may(actor_of(person), Verb.REPLAY_SESSION, thing_of_session(session)):
        who = permissions.WHO_CAN[Verb.REPLAY_SESSION]
        raise refuse(RefusalCode.NOT_ALLOWED, verb=Verb.REPLAY_SESSION, who=who)
    recording = session.recording
    retention.refuse_deleted(recording)
    if recording.state == RecordingState.OPEN or recording.manifest is None:
        if recording.problem and recording.problem != NO_ROOM_TO_SEAL:
            # It can't be sealed as it is: waiting won't help, the auditors know.
            raise refuse(RefusalCode.RECORDING_DAMAGED, where=recording.problem)
        raise refuse(RefusalCode.RECORDING_OPEN)
    return recording


@contextmanager
def readable(recording: Recording, person: Person, now: datetime) -> Iterator[None]:
    """What goes wrong in reading a recording, as refusals; where it isn't what was sealed the auditors are alarmed."""
    try:
        yield
    except (StoreAway, KeyUnavailable) as error:
        raise refuse(RefusalCode.RECORDING_UNAVAILABLE, why=str(error)) from error
    except (OSError, ValueError, RecordingDamaged) as error:
        retention.refuse_deleted(recording)  # its time was over while it was read
        where = error.place if isinstance(error, RecordingDamaged) else "the file can't be read"
        _alarm(recording, where, str(error), person, now)
        raise refuse(RefusalCode.RECORDING_DAMAGED, where=where) from error


def note_viewing(recording: Recording, person: Person, now: datetime, tag: AuditTag) -> None:
    """The audit row of who saw a recording."""
    session = recording.session
    data = {"session": session.label, "sha256": recording.sha256}
    audit.record(tag, actor=person, subject=session, now=now, data=data)


def read_recording(recording: Recording) -> Iterator[bytes]:
    """The asciicast, piece by piece, once its seal was checked whole, wherever it is kept. Nothing is audited.

    Raises RecordingDamaged or ValueError where it isn't what was sealed; StoreAway, KeyUnavailable, OSError.
    """
    manifest = Manifest.from_dict(recording.manifest or {})
    keys = keyring()
    found = holdings.open_file(recording, store().sealed_path(recording.session_id))
    return seal.open_source(
        found.path, found.source, found.newer_wrap, keys, seal_key().public_key(), manifest=manifest
    )


def open_parts(recording: Recording) -> SealedFile:
    """The sealed file for reading here and there, each chunk checked when it is read; the caller closes it. Raises as
    `read_recording`."""
    manifest = Manifest.from_dict(recording.manifest or {})
    keys = keyring()
    found = holdings.open_file(recording, store().sealed_path(recording.session_id))
    return seal.open_parts(
        found.path, found.source, found.newer_wrap, keys, seal_key().public_key(), manifest
    )


def _facts(recording: Recording) -> dict[str, Any]:
    session = recording.session
    grant = session.grant
    return {
        "session": str(session.pk),
        "person": session.person.username,
        "asset": session.asset.name,
        "asset_id": str(session.asset_id),
        "asset_address": session.asset_address,
        "login": session.login,
        "host_key": session.upstream_host_key,
        "grant": str(grant.pk),
        "incident": grant.incident.label,
        "playbook": grant.playbook.slug,
        "digest": grant.playbook.digest,
        "opened_at": session.opened_at.isoformat(),
        "ended_at": session.ended_at.isoformat() if session.ended_at else "",
        "end_reason": session.end_reason,
        "channels": list(channel_kinds(session)),
        "commands": [channel.command for channel in session.channels.all() if channel.command],
    }


def _against_the_trail(recording: Recording, plain: Path) -> dict[str, str]:
    """What is to be sealed isn't what the audit trail knew: it is sealed as it is, and its seal says so."""
    mark = marks.last_mark(recording.session)
    if mark is None or not plain.exists():
        return {}
    problem = marks.problem_with(mark, read_file(plain))
    return {"problem": problem} if problem else {}


def _wait_for_room(recording: Recording) -> None:
    """A full disk damages nothing: the plain file stays, and the sweep tries again."""
    log.warning("recording of session %s waits to be sealed: the disk is full", recording.session_id)
    Recording.objects.filter(pk=recording.pk, problem="").update(problem=NO_ROOM_TO_SEAL)


def _commit_seal(recording: Recording, manifest: Manifest, crashed: bool, now: datetime) -> None:
    recovered = crashed or manifest.ended == "recovered"
    problem = str(manifest.facts.get("problem", ""))
    state = RecordingState.RECOVERED if recovered else RecordingState.SEALED
    terms = retention.terms_of(recording.session, now)
    with transaction.atomic():
        moved = Recording.objects.filter(pk=recording.pk, state=RecordingState.OPEN).update(
            state=state,
            manifest=manifest.as_dict(),
            sha256=manifest.sha256,
            bytes=manifest.size,
            seconds=manifest.duration_us / 1_000_000,
            sealed_at=now,
            recovered=recovered,
            store_problem="",
            **terms,
            problem=problem[:300],
        )
        if not moved:
            return
        tag = AuditTag.RECORDING_RECOVERED if recovered else AuditTag.RECORDING_SEALED
        data = {
            "session": recording.session.label,
            "sha256": manifest.sha256,
            "bytes": manifest.size,
            "events": manifest.events,
            "signature": manifest.signature,
        }
        audit.append(tag, actor=None, subject=recording.session, now=now, data=data)
        retention.hold_by_playbook(recording.session, now)
        if problem:
            _alarm(recording, "the audit trail", problem, None, now)


def _wait_for_key(recording: Recording, error: KeyUnavailable) -> None:
    """Without the key nothing is sealed; the plain file stays, and the sweep tries again."""
    log.error("recording of session %s is not sealed yet: %s", recording.session_id, error)
    Recording.objects.filter(pk=recording.pk).update(store_problem=f"It waits to be sealed: {error}"[:300])


def _note_missing(recording: Recording, now: datetime) -> bool:
    """No file: either nothing was ever relayed (the recorder never began), or somebody removed it. Both are said."""
    mark = marks.last_mark(recording.session)
    _note_problem(recording, "there is no file" + (f": {marks.told_of(mark)}" if mark else ""), now)
    return False


def _note_problem(recording: Recording, problem: str, now: datetime) -> None:
    log.error("recording of session %s is not sealed: %s", recording.session_id, problem)
    if recording.problem != problem[:300]:
        _alarm(recording, "sealing", problem, None, now)


def _alarm(recording: Recording, where: str, problem: str, person: Person | None, now: datetime) -> None:
    session = recording.session
    with transaction.atomic():
        first = not recording.problem
        Recording.objects.filter(pk=recording.pk).update(problem=problem[:300])
        data = {"session": session.label, "where": where, "problem": problem}
        audit.append(AuditTag.RECORDING_DAMAGED, actor=person, subject=session, now=now, data=data)
        if first:
            notices.queue(
                people_in([AUDITORS]),
                topic=f"session:{session.pk}",
                subject=f"The recording of {session.label} is damaged",
                body=f"{where}: {problem}. Keep the files and find out why.",
                path=f"/sessions/{session.pk}/",
                now=now,
            )
