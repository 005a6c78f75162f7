"""Transcripts: each sealed recording is rendered once by each version of the renderer, off the relay's path.

A recording that can't be rendered, or takes too long, has a problem on record and holds up no other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q

from breakglass import clock, passes
from sessions.models import Channel, Recording, Transcript, TranscriptEntry
from sessions.recording import rendering
from sessions.recording.keyring import KeyUnavailable
from sessions.recording.rendering import Known, Rendered
from sessions.recording.sealed import RecordingDamaged
from sessions.recording.spans import Span
from sessions.services import search_index
from sessions.services.recordings import read_recording
from sessions.services.remote import StoreAway
from sessions.states import RecordingState

log = logging.getLogger(__name__)

READY: Final = (RecordingState.SEALED, RecordingState.RECOVERED)
AGAIN: Final = timedelta(minutes=10)
"""When what couldn't be read, because its store or key was away, is tried again."""
UNDER_WAY: Final = "It is being rendered."
AT_ONCE: Final = 50
SECONDS_AT_ONCE: Final = 5.0
"""After so long no other is begun: the worker has more urgent things to do."""

# What pyte, or we, may stumble over in a recording made to hurt. It costs that transcript, and is said.
_STUMBLES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


def render_due(now: datetime) -> int:
    """Render what is sealed and has no transcript of this version. Returns how many were rendered; none while
    another pass is on."""
    with passes.alone("rendering") as mine:
        until = clock.monotonic() + SECONDS_AT_ONCE
        done = last = _render_due(now, until) if mine else 0
        # What was sealed while this pass was on asked in vain for another.
        while last and clock.monotonic() < until:
            last = _render_due(now, until)
            done += last
        return done


def _render_due(now: datetime, until: float) -> int:
    none = Q(transcript=None)
    # What a process died of, or what is out of reach, waits.
    tried = Q(transcript__version=0) | Q(transcript__problem=UNDER_WAY)
    old = Q(transcript__version__lt=rendering.VERSION) & (~tried | Q(transcript__rendered_at__lt=now - AGAIN))
    due = Recording.objects.filter(none | old, state__in=READY)
    order = (F("transcript__rendered_at").asc(nulls_first=True), "session__number")
    found = list(due.order_by(*order).values_list("session_id", flat=True)[:AT_ONCE])
    return passes.count(partial(render, now=now), _while_there_is_time(found, until))


def _while_there_is_time(found: Iterable[UUID], until: float) -> Iterator[UUID]:
    for session_id in found:
        if clock.monotonic() > until:
            return
        yield session_id


def render(session_id: UUID, now: datetime) -> bool:
    """Render one recording. Idempotent; False where there is nothing to do, or it can't be read now."""
    recording = (
        Recording.objects.select_related("session", "transcript")
        .filter(session_id=session_id, state__in=READY)
        .first()
    )
    if recording is None:
        return False
    before: Transcript | None = getattr(recording, "transcript", None)
    if before is not None and before.version >= rendering.VERSION:
        return False
    if not _claim(recording, now):
        return False
    try:
        done = rendering.render(read_recording(recording), _known(recording), ticks=time.thread_time)
    except (StoreAway, KeyUnavailable, OSError) as error:
        _keep(recording, Rendered(problem=f"It can't be read now: {error}"[:300]), 0, now)
        return False
    except RecordingDamaged as error:
        done = Rendered(problem=f"The recording is damaged: {error.place}: {error.what}"[:300])
    except _STUMBLES as error:
        log.exception("recording of session %s can't be rendered", session_id)
        done = Rendered(problem=f"It can't be rendered: {type(error).__name__}")
    return _keep(recording, done, rendering.VERSION, now)


def _claim(recording: Recording, now: datetime) -> bool:
    """Put it at the end of the queue before it is begun: should it kill this process, it isn't the first next time."""
    with transaction.atomic():
        if not Recording.objects.select_for_update().filter(pk=recording.pk, state__in=READY).exists():
            return False
        said = {"rendered_at": now, "problem": UNDER_WAY}
        Transcript.objects.update_or_create(
            recording=recording, defaults=said, create_defaults={"version": 0, **said}
        )
    return True


def _known(recording: Recording) -> dict[int, Known]:
    opened = recording.session.opened_at
    rows = Channel.objects.filter(session=recording.session, refusal="")
    return {row.number: _of_channel(row, opened) for row in rows}


def _of_channel(row: Channel, opened: datetime) -> Known:
    seconds = (row.closed_at - row.opened_at).total_seconds() if row.closed_at else None
    status = row.exit_status
    fits = status is not None and -(2**31) <= status < 2**31
    began = max(0.0, (row.opened_at - opened).total_seconds())
    return Known(row.kind, row.command, seconds, status if fits else None, began)


def _keep(recording: Recording, done: Rendered, version: int, now: datetime) -> bool:
    """Write the transcript in place of an older one, and its words into the index, unless the recording was deleted."""
    session = recording.session
    with transaction.atomic():
        # Asked of the row itself: whoever deletes it takes the same row, and its transcript with it.
        if not Recording.objects.select_for_update().filter(pk=recording.pk, state__in=READY).exists():
            return False
        if version:
            TranscriptEntry.objects.filter(session=session).delete()
            TranscriptEntry.objects.bulk_create(_rows(session.pk, done.spans), batch_size=500)
            search_index.index_recording(session)
        Transcript.objects.update_or_create(
            recording=recording,
            defaults={
                "version": version,
                "rendered_at": now,
                "indexed_at": now if version else None,
                "lines": done.lines,
                "problem": done.problem,
            },
        )
    return bool(version)


def _rows(session_id: UUID, spans: Iterable[Span]) -> Iterable[TranscriptEntry]:
    for span in spans:
        yield TranscriptEntry(
            session_id=session_id,
            channel=span.channel,
            kind=span.kind,
            exact=span.exact,
            began=span.began,
            ended=span.ended,
            text=span.text,
            output="\n".join(line.text for line in span.lines),
            line_times=[line.time for line in span.lines],
            output_cut=span.cut,
            exit_status=span.exit_status,
        )
