"""Sealed recordings go to the object store: sent, read back whole, written down; only then the local files go.

Each step can be done again after any crash. A failure deletes nothing, and holds up that one recording only.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import AUDITORS
from breakglass.models import AuditEvent
from breakglass.queries import people_in
from breakglass.services import audit, notices
from sessions.models import FileOperation, Recording
from sessions.recording import kept, keyring, seal
from sessions.recording.keyring import Keyring, KeyUnavailable
from sessions.recording.sealed import Manifest, RecordingDamaged
from sessions.services import holdings, recording_keys
from sessions.services.holdings import Piece
from sessions.services.remote import ObjectMissing, Remote, StoreAway, remote_store
from sessions.states import RecordingState

log = logging.getLogger(__name__)

STORABLE: Final = (RecordingState.SEALED, RecordingState.RECOVERED)
CLAIM: Final = timedelta(minutes=15)
"""Another worker tries again where one that had begun was not heard of for so long."""
FIRST_PAUSE: Final = timedelta(seconds=30)
LONGEST_PAUSE: Final = timedelta(hours=6)
PAUSE_TO_REMOVE: Final = timedelta(minutes=10)
ALARM_AFTER: Final = 5
"""Tries that fail in a row until the auditors are told."""
ENOUGH: Final = 30.0
"""Seconds after which a sweep begins no further recording: others wait for the worker, too."""

Now = Callable[[], datetime]


class StoreLied(Exception):
    """The object store took a file, and gives other bytes back."""


def store_due(now: Now) -> int:
    """Store what is sealed and due, and remove what was stored from the disk. Returns how many were stored."""
    where = settings.BREAKGLASS.object_store
    if where is None:
        return 0
    stored, begun = 0, clock.monotonic()
    with holdings.alone() as mine:
        if not mine:
            return 0
        remove_leftovers()
        for session_id in _stored_here(now()):
            remove_stored(session_id, now())
        for session_id in _due(now()) if where.writable else []:
            if store_recording(session_id, now):
                stored += 1
                remove_stored(session_id, now())
            if clock.monotonic() - begun > ENOUGH:
                break
    return stored


def store_recording(session_id: UUID, now: Now) -> bool:
    """Store one recording with its kept copies. Idempotent; False where nothing was to be done, or it failed."""
    recording = _storable(session_id, now())
    if recording is None:
        return False
    claimed = Recording.objects.filter(
        pk=recording.pk, stored_at=None, state__in=STORABLE, store_next_at=recording.store_next_at
    )
    if not claimed.update(store_next_at=now() + CLAIM):
        return False
    remote = remote_store()
    assert remote is not None
    try:
        pieces = _send(recording, remote, recording_keys.keyring())
    except (StoreLied, StoreAway, RecordingDamaged, KeyUnavailable, OSError) as error:
        _note_failure(recording, error, now())
        return False
    if _commit(recording, pieces, now()):
        return True
    # Its time was over meanwhile: whoever erases what was deleted looks into the store again, and again until it is gone.
    Recording.objects.filter(pk=recording.pk, state=RecordingState.DELETED).update(local_removed_at=None)
    return False


def remove_stored(session_id: UUID, now: datetime) -> bool:
    """Remove from the disk what the store was seen to hold: decided and written down first, then done. Idempotent.

    False where it stays for now. What isn't what was stored is stored again first.
    """
    here = Recording.objects.select_related("session").filter(
        session_id=session_id, state__in=STORABLE, stored_at__isnull=False, local_removed_at=None
    )
    recording, remote = here.first(), remote_store()
    if recording is None or remote is None:
        return False
    paths = holdings.local_files(session_id)
    try:
        if paths and holdings.together(list(map(holdings.describe, paths))) != _stored_digest(recording):
            here.update(stored_at=None, store_next_at=None)
            return False
        for path in paths:
            wrap, name = keyring.read_beside(path), holdings.name_of(path) + keyring.ENDING
            if wrap is not None and remote.small(name) != wrap:
                remote.put_small(name, wrap)
        if not here.update(local_removed_at=now, store_problem="", store_next_at=None):
            return False
        holdings.remove_local(session_id)
    except (StoreAway, OSError) as error:
        log.warning("the local files of session %s stay: %s", session_id, error)
        here.update(store_problem=_short(error), store_next_at=now + PAUSE_TO_REMOVE)
        return False
    return True


def remove_leftovers() -> int:
    """Finish removals that a crash cut off, by what is found on the disk. Returns how many."""
    found = holdings.on_disk()
    gone = Recording.objects.filter(
        stored_at__isnull=False, local_removed_at__isnull=False, state__in=STORABLE
    )
    count = 0
    for start in range(0, len(found), 500):
        for session_id in gone.filter(session_id__in=found[start : start + 500]).values_list(
            "session_id", flat=True
        ):
            count += bool(holdings.remove_local(session_id))
    return count


def stored_row(recording: Recording) -> AuditEvent | None:
    """The row of the audit trail that tells what was stored."""
    name = audit.name_of(recording.session)
    return AuditEvent.objects.filter(tag=AuditTag.RECORDING_STORED, subject=name).order_by("-seq").first()


def _stored_digest(recording: Recording) -> str:
    row = stored_row(recording)
    return str(row.data.get("files_sha256", "")) if row else ""


def _due(now: datetime) -> list[UUID]:
    due = Q(store_next_at=None) | Q(store_next_at__lte=now)
    waiting = Recording.objects.filter(due, state__in=STORABLE, stored_at=None)
    # What failed before comes last, so that it holds up nobody.
    return list(waiting.order_by("store_tries", "sealed_at").values_list("session_id", flat=True)[:100])


def _stored_here(now: datetime) -> list[UUID]:
    due = Q(store_next_at=None) | Q(store_next_at__lte=now)
    here = Recording.objects.filter(due, state__in=STORABLE, stored_at__isnull=False, local_removed_at=None)
    return list(here.order_by("stored_at").values_list("session_id", flat=True)[:100])


def _storable(session_id: UUID, now: datetime) -> Recording | None:
    due = Q(store_next_at=None) | Q(store_next_at__lte=now)
    found = Recording.objects.select_related("session", "session__person")
    return found.filter(due, session_id=session_id, state__in=STORABLE, stored_at=None).first()


def _send(recording: Recording, remote: Remote, keys: Keyring) -> list[Piece]:
    """Every file of it, each checked before it is sent and read back after."""
    session_id = recording.session_id
    sealed = holdings.store().sealed_path(session_id)
    seal.verify(
        sealed,
        keys,
        recording_keys.seal_key().public_key(),
        manifest=Manifest.from_dict(recording.manifest or {}),
    )
    pieces = []
    for path in holdings.local_files(session_id):
        if path != sealed:
            with path.open("rb") as source:
                digest = _moved_digest(session_id, path.stem)
                kept.check_kept_source(path, source, keyring.read_beside(path), keys, digest)
        pieces.append(holdings.describe(path))
        _send_one(pieces[-1], remote)
        wrap = keyring.read_beside(path)
        if wrap is not None:
            remote.put_small(pieces[-1].name + keyring.ENDING, wrap)
    return pieces


def _moved_digest(session_id: UUID, stem: str) -> str:
    channel, _, number = stem.partition("-")
    rows = FileOperation.objects.filter(session_id=session_id, channel=channel, number=number)
    return rows.values_list("sha256", flat=True).first() or ""


def _send_one(piece: Piece, remote: Remote) -> None:
    """What an earlier try brought there whole isn't sent again; what it says of itself doesn't count."""
    path = holdings.store().root / piece.name
    if remote.size(piece.name) != piece.size or _digest(piece, remote) != (piece.size, piece.sha256):
        remote.put(piece.name, path)
        if (came := _digest(piece, remote)) != (piece.size, piece.sha256):
            size, sha256 = came
            raise StoreLied(
                f"{piece.name}: {piece.size} bytes {piece.sha256} were sent, {size} bytes {sha256} came back"
            )


def _digest(piece: Piece, remote: Remote) -> tuple[int, str]:
    try:
        return remote.digest(piece.name)
    except ObjectMissing:
        return 0, "(none)"


def _commit(recording: Recording, pieces: list[Piece], now: datetime) -> bool:
    session, where = recording.session, settings.BREAKGLASS.object_store
    assert where is not None
    with transaction.atomic():
        first = Recording.objects.filter(pk=recording.pk, stored_at=None, state__in=STORABLE)
        if not first.update(stored_at=now, store_problem="", store_next_at=None, local_removed_at=None):
            return False
        data = {
            "session": session.label,
            "sha256": recording.sha256,
            "place": where.place,
            "files": len(pieces),
            "bytes": sum(piece.size for piece in pieces),
            "files_sha256": holdings.together(pieces),
            "tries": recording.store_tries + 1,
        }
        audit.append(AuditTag.RECORDING_STORED, actor=None, subject=session, now=now, data=data)
    return True


def _note_failure(recording: Recording, error: Exception, now: datetime) -> None:
    session, problem = recording.session, _short(error)
    tries = recording.store_tries + 1
    log.warning("recording of session %s is not stored (try %d): %s", session.pk, tries, problem)
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries - 1, 16)) * random.uniform(0.5, 1.0)
    lied = isinstance(error, StoreLied) and not recording.store_problem
    with transaction.atomic():
        noted = Recording.objects.filter(pk=recording.pk, stored_at=None)
        if not noted.update(store_tries=tries, store_problem=problem, store_next_at=now + pause):
            return
        if tries == ALARM_AFTER or lied:
            data = {"session": session.label, "problem": problem, "tries": tries}
            audit.append(AuditTag.RECORDING_STORE_FAILED, actor=None, subject=session, now=now, data=data)
            notices.queue(
                people_in([AUDITORS]),
                topic=f"session:{session.pk}",
                subject=f"The recording of {session.label} can't be stored",
                body=f"{problem}. It stays where it is, and is tried again.",
                path=f"/sessions/{session.pk}/",
                now=now,
            )


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:300]
