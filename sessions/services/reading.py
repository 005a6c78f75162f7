"""Reading a transcript: who may replay a recording may read what it showed, and that is in the audit trail as well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import QuerySet

from breakglass.domain.audit import AuditTag
from breakglass.domain.text import visible
from breakglass.models import Person
from breakglass.services import audit
from sessions.models import Review, SSHSession, Transcript, TranscriptEntry
from sessions.planned import Run
from sessions.queries import session_for, transcript_entries
from sessions.services.recordings import replayable

WINDOWS: Final = frozenset({"tmux", "screen", "byobu", "zellij"})
"""Programs that draw several terminals into one. All that was done in them is one span, and no command of its own."""
INSIDE: Final = "What was run inside it is not told apart: watch it in the replay."


@dataclass(frozen=True)
class Opened:
    """A transcript that somebody reads; `transcript` is None while the recording wasn't rendered yet."""

    session: SSHSession
    transcript: Transcript | None
    entries: QuerySet[TranscriptEntry]


def open_transcript(session_id: UUID, person: Person, now: datetime, *, download: bool = False) -> Opened:
    """Raises Refused as `recordings.replayable`: `not_found`, `not_allowed`, `recording_open`, `recording_deleted`,
    `recording_damaged`."""
    recording = replayable(session_id, person)
    session = session_for(person, session_id)
    transcript = Transcript.objects.filter(recording=recording, version__gt=0).first()
    if transcript is not None:
        note_viewed(session, person, now, download=download)
    return Opened(session, transcript, transcript_entries(session))


def note_viewed(session: SSHSession, person: Person, now: datetime, *, download: bool = False) -> None:
    """That somebody read what was shown in a session, in the trail."""
    data = {"session": session.label, "download": download}
    audit.record(AuditTag.TRANSCRIPT_VIEWED, actor=person, subject=session, now=now, data=data)


def note_commands(
    review: Review, sessions: Sequence[SSHSession], runs: Sequence[Run], person: Person, now: datetime
) -> None:
    """That somebody read, beside a review, what others ran, in the trail: which of the sessions, and how much of it."""
    shown = {run.session_id for run in runs}
    others = [one.label for one in sessions if one.pk in shown and one.person_id != person.pk]
    if others:
        data = {"grant": review.grant_id, "sessions": others, "commands": len(runs)}
        audit.record(AuditTag.REVIEW_VIEWED, actor=person, subject=review, now=now, data=data)


def as_text(session: SSHSession, transcript: Transcript, entries: Iterable[TranscriptEntry]) -> Iterator[str]:
    """The transcript as a file: nothing in it can act on whoever prints it."""
    yield f"{session.label}: {session.person.username} on {session.asset.name} as {session.login}\n"
    yield "h:mm:ss since the beginning, as rendered by a terminal emulator. The recording has every byte.\n"
    yield "exact: known from the protocol. inferred: read from the screen, which a program can draw as it likes.\n"
    if transcript.problem:
        yield f"{visible(transcript.problem)}\n"
    for entry in entries:
        yield "\n"
        if entry.text:
            first, *rest = visible(entry.text).split("\n")
            yield f"{face(entry.began)}  {'$' if entry.kind == 'command' else '['} {first}{_how(entry)}\n"
            yield from (f"{'':9}  > {line}\n" for line in rest)
        if is_windows(entry):
            yield f"{'':9}  {INSIDE}\n"
        if entry.kind != "screen":
            yield from (f"{face(time)}    {visible(text)}\n" for time, text in entry.lines)
        if entry.output_cut:
            yield "         (cut here, or it goes on below)\n"


def is_windows(entry: TranscriptEntry) -> bool:
    """Whether it is a program with shells inside."""
    return entry.kind == "screen" and entry.text in WINDOWS


def _how(entry: TranscriptEntry) -> str:
    if entry.kind == "screen":
        return f"], full-screen, until {face(entry.ended or entry.began)}"
    said = "exact" if entry.exact else "inferred"
    if entry.ended is not None:
        said += f", {entry.ended - entry.began:.1f} s"
    return f"   ({said}{'' if entry.exit_status is None else f', exit {entry.exit_status}'})"


def face(seconds: float) -> str:
    """1:02:07"""
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"
