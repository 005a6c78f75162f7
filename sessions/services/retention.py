"""How long recordings are kept, and by whom they are held longer.

Deleting is decided and written down first, in one transaction; only then the files go, and that is written down, too.
So the audit trail never claims less than happened, and a crash in between is finished by the next sweep.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from breakglass.domain import permissions
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import plain
from breakglass.models import AuditEvent, Person
from breakglass.queries import actor_of, spec_of
from breakglass.services import audit
from sessions.models import Finding, Recording, SSHSession, Transcript
from sessions.queries import session_for, thing_of_session
from sessions.services import holdings, search_index
from sessions.services.remote import StoreAway, remote_store
from sessions.services.storing import STORABLE
from sessions.states import RecordingState, ReviewState

log = logging.getLogger(__name__)

MOST_REASON = 300
AT_ONCE = 500


def terms_of(session: SSHSession, now: datetime) -> dict[str, Any]:
    """How long the playbook, else the installation, keeps a recording that is being sealed: fields of `Recording`."""
    days = spec_of(session.grant.playbook).retention_days or settings.BREAKGLASS.retention_days
    return {"keep_until": (session.ended_at or now) + timedelta(days=days)} if days else {}


def hold_by_playbook(session: SSHSession, now: datetime) -> None:
    """In the transaction of the seal: held where the playbook says so; what somebody holds already keeps their reason."""
    playbook = session.grant.playbook
    reason = f"playbook {playbook.slug} v{playbook.version}"
    free = Recording.objects.filter(session=session, held_at=None)
    if spec_of(playbook).legal_hold and free.update(held_at=now, hold_reason=reason):
        data = {"session": session.label, "reason": reason}
        audit.append(AuditTag.RECORDING_HELD, actor=None, subject=session, now=now, data=data)


def hold(session_id: UUID, person: Person, reason: str, now: datetime) -> Recording:
    """Keep a recording whatever its time says, until the hold is lifted.

    Raises Refused `not_found`, `not_allowed`, `reason_missing`, `recording_deleted`, `recording_hold`.
    """
    session, reason = _to_hold(session_id, person, reason)
    with transaction.atomic():
        free = Recording.objects.filter(session=session, held_at=None).exclude(state=RecordingState.DELETED)
        if not free.update(held_at=now, held_by=person, hold_reason=reason):
            refuse_deleted(session.recording)
            raise refuse(RefusalCode.RECORDING_HOLD, why="it is held already")
        data = {"session": session.label, "reason": reason}
        audit.append(AuditTag.RECORDING_HELD, actor=person, subject=session, now=now, data=data)
    session.recording.refresh_from_db()
    return session.recording


def unhold(session_id: UUID, person: Person, reason: str, now: datetime) -> Recording:
    """Lift the hold; the recording's own time counts again. Raises as `hold`."""
    session, reason = _to_hold(session_id, person, reason)
    with transaction.atomic():
        held = Recording.objects.filter(session=session, held_at=session.recording.held_at)
        if session.recording.held_at is None or not held.update(held_at=None, held_by=None, hold_reason=""):
            raise refuse(RefusalCode.RECORDING_HOLD, why="it isn't held")
        data = {"session": session.label, "reason": reason, "held_since": session.recording.held_at}
        audit.append(AuditTag.RECORDING_UNHELD, actor=person, subject=session, now=now, data=data)
    session.recording.refresh_from_db()
    return session.recording


def delete_due(now: datetime, may: Callable[[], bool] = lambda: True) -> int:
    """Delete what is past its time, and finish what a crash cut off. Returns of how many the files went. `may`: whether
    `now` is believed; else nothing more is decided."""
    erased = 0
    with holdings.alone() as mine:
        if not mine:
            return 0
        for session_id in _past_their_time(now) if may() else ():
            _decide(session_id, now)
        left = _to_erase()
        if left:
            # Before the files: a crash in between leaves it to the next sweep.
            search_index.scrub()
        for recording in left:
            erased += _erase(recording, now)
    return erased


def deletion_row(recording: Recording) -> AuditEvent | None:
    """The row of the audit trail that tells of the deletion."""
    name = audit.name_of(recording.session)
    return AuditEvent.objects.filter(tag=AuditTag.RECORDING_DELETED, subject=name).order_by("seq").first()


def refuse_deleted(recording: Recording) -> None:
    """Raises Refused `recording_deleted` for one that was."""
    recording.refresh_from_db(fields=("state", "deleted_at"))
    if recording.state == RecordingState.DELETED and recording.deleted_at:
        raise refuse(RefusalCode.RECORDING_DELETED, at=f"{recording.deleted_at:%Y-%m-%d %H:%M} UTC")


def _to_hold(session_id: UUID, person: Person, reason: str) -> tuple[SSHSession, str]:
    session = session_for(person, session_id)
    if not permissions.may(actor_of(person), Verb.HOLD_RECORDING, thing_of_session(session)):
        who = permissions.WHO_CAN[Verb.HOLD_RECORDING]
        raise refuse(RefusalCode.NOT_ALLOWED, verb=Verb.HOLD_RECORDING, who=who)
    reason = plain(reason, MOST_REASON)
    if not reason:
        raise refuse(RefusalCode.BAD_INPUT, problem="Say why.", needs=("reason",))
    return session, reason


def _past_their_time(now: datetime) -> list[UUID]:
    return list(_past(now).order_by("keep_until").values_list("session_id", flat=True)[:AT_ONCE])


def _past(now: datetime) -> QuerySet[Recording]:
    """Nothing that is held, nor that somebody still has to judge or to see to."""
    judged = Q(
        session__grant__review__state=ReviewState.SIGNED, session__grant__incident__closed_at__isnull=False
    )
    of_it = Q(session=OuterRef("session")) | Q(session=None)
    found = Finding.objects.filter(
        of_it, review__grant=OuterRef("session__grant"), withdrawn_at=None, closed_at=None
    )
    past = Recording.objects.filter(judged, state__in=STORABLE, keep_until__lte=now, held_at=None)
    return past.filter(~Exists(found))


def _decide(session_id: UUID, now: datetime) -> bool:
    recording = Recording.objects.select_related("session").get(session_id=session_id)
    with transaction.atomic():
        # Asked again of the row itself: a hold or a finding may have come in between, and wins.
        past = _past(now).filter(session_id=session_id)
        if not past.update(
            state=RecordingState.DELETED, deleted_at=now, store_problem="", store_next_at=None
        ):
            return False
        # What it showed goes with it: rendered, and found by searching.
        search_index.forget_recording(session_id)
        Transcript.objects.filter(recording=recording).delete()
        data = {
            "session": recording.session.label,
            "sha256": recording.sha256,
            "bytes": recording.bytes,
            "keep_until": recording.keep_until,
            "kept_copies": recording.session.file_operations.exclude(kept="").count(),
        }
        audit.append(AuditTag.RECORDING_DELETED, actor=None, subject=recording.session, now=now, data=data)
    return True


def _to_erase() -> list[Recording]:
    left = Q(local_removed_at=None) | Q(stored_at__isnull=False)
    deleted = Recording.objects.select_related("session").filter(left, state=RecordingState.DELETED)
    return list(deleted.order_by("store_tries", "deleted_at")[:AT_ONCE])


def _erase(recording: Recording, now: datetime) -> bool:
    """The files of a deleted one. What can't be removed now is tried again, and said."""
    session = recording.session
    try:
        remote = remote_store()
        if remote is None and recording.stored_at:
            raise StoreAway("it is in an object store that BREAKGLASS_STORAGE_URL doesn't name any more")
        far = holdings.remove_remote(session.pk, remote) if remote else 0
        near = holdings.remove_local(session.pk)
    except (StoreAway, OSError) as error:
        log.warning("the files of the deleted recording of session %s are still there: %s", session.pk, error)
        Recording.objects.filter(pk=recording.pk).update(
            store_problem=str(error)[:300], store_tries=recording.store_tries + 1
        )
        return False
    with transaction.atomic():
        gone = Recording.objects.filter(pk=recording.pk, state=RecordingState.DELETED).filter(
            Q(local_removed_at=None) | Q(stored_at__isnull=False)
        )
        if not gone.update(stored_at=None, local_removed_at=now, store_problem=""):
            return False
        data = {
            "session": session.label,
            "sha256": recording.sha256,
            "local_files": near,
            "remote_files": far,
        }
        audit.append(AuditTag.RECORDING_ERASED, actor=None, subject=session, now=now, data=data)
    return True
