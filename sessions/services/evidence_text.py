"""What a bundle says of a recording in words: its transcript as rendered, and the commands that it knows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sessions.evidence import texts
from sessions.models import Recording, SSHSession, Transcript, TranscriptEntry
from sessions.queries import transcript_entries
from sessions.recording.spans import COMMAND
from sessions.services import reading, transcripts
from sessions.services.recordings import read_recording


def transcript_of(
    row: SSHSession, recording: Recording, facts: dict[str, Any], now: datetime
) -> tuple[Iterator[bytes], list[dict[str, Any]]]:
    """The text, and its commands. What no renderer came to yet is rendered first; of what can't be rendered the lines are
    given as they came, which is said. Raises as reading a recording does."""
    transcripts.render(row.pk, now)
    rendered = Transcript.objects.filter(recording=recording, version__gt=0).first()
    entries = list(transcript_entries(row)) if rendered else []
    if rendered is None or (rendered.problem and not entries):
        return texts.transcript(read_recording(recording), facts), []
    lines = reading.as_text(row, rendered, entries)
    commands = [_command(row, entry) for entry in entries if entry.kind == COMMAND]
    return texts.bounded(line.encode() for line in lines), commands


def _command(row: SSHSession, entry: TranscriptEntry) -> dict[str, Any]:
    return {
        "session": row.label,
        "number": entry.channel,
        "how": "exact" if entry.exact else "inferred",
        "command": entry.text,
        "began": round(entry.began, 3),
        "seconds": None if entry.ended is None else round(entry.ended - entry.began, 3),
        "exit_status": entry.exit_status,
    }
