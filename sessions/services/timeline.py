"""What happened in a session, on the recording's clock: commands, files, resizes, freezes, warnings, notes, chat, watches,
findings. What the recording itself says of when counts more than the books, whose times are of the wall clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from breakglass.domain import permissions
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import Verb
from breakglass.models import Person
from breakglass.queries import actor_of
from sessions import queries
from sessions.models import Coverage, FileOperation, Finding, SSHSession
from sessions.queries import thing_of_session
from sessions.recording.tape import Mark, Tape
from sessions.services import replaying
from sessions.services.recordings import note_viewing, replayable

MOST: Final = 20_000
"""Entries of one kind beyond this aren't listed."""
LONGEST: Final = 400
KINDS: Final = (
    "command", "screen", "file", "freeze", "warning", "note", "chat", "watch", "finding", "resize", "channel", "end",
)  # fmt: skip
_CHANNEL: Final = re.compile(r"channel (?P<number>\d{1,9}): (?P<kind>[a-z-]+)(?:: (?P<text>.*))?", re.DOTALL)
_FILE: Final = re.compile(r"file: .*\((?P<label>\d{1,9}\.\d{1,9})\)", re.DOTALL)
_FREEZE: Final = re.compile(r"(?:frozen|still frozen|unfrozen)\b")
_WARNING: Final = re.compile(
    r"\d+ (?:minutes?|seconds?) left\b|recording stopped|the disk\b|channel \d+: over "
)
_END: Final = re.compile(r"session ended: |the asset was not reached")
_OF_ENTRY: Final = ("channel", "kind", "exact", "began", "ended", "text", "exit_status")
# Said in the recording as well as in the books: the books' row is shown.
_IN_BOOKS: Final = re.compile(r"(?:chat|watch|escort)\b", re.IGNORECASE)


@dataclass
class Entry:
    """Something that happened `t` seconds into the recording, and until `end` where it lasted."""

    t: float
    kind: str
    text: str
    end: float | None = None
    by: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        values = {"t": round(self.t, 3), "kind": self.kind, "text": self.text[:LONGEST]}
        if self.end is not None:
            values["end"] = round(self.end, 3)
        return values | ({"by": self.by} if self.by else {}) | self.more


def timeline(session_id: UUID, person: Person, now: datetime, *, ticket: str = "") -> dict[str, Any]:
    """All of it as plain data, in order of time. Without the ticket of a viewing under way this is a viewing of its own,
    and audited as such. Raises Refused as `services.open_replay`."""
    recording = replayable(session_id, person)
    if not replaying.holds_ticket(recording, person, ticket):
        note_viewing(recording, person, now, AuditTag.RECORDING_VIEWED)
    session = recording.session
    tape = replaying.tape_of(recording, person, now)
    found = _Found(session, tape)
    entries = [*found.marked(), *found.commands(), *found.files(), *found.said()]
    if permissions.may(actor_of(person), Verb.LIST_REVIEWS, thing_of_session(session)):
        entries.extend(found.findings())
    entries.sort(key=lambda entry: (entry.t, KINDS.index(entry.kind)))
    return {
        "session": session.label,
        "began": session.opened_at.isoformat(),
        "seconds": tape.seconds,
        "channels": [_channel(row) for row in session.channels.all() if not row.refusal],
        "entries": [entry.as_dict() for entry in entries],
        "left_out": tape.left_out,
        "seen": _seen(session, person),
    }


class _Found:
    """The entries of one session, from the recording and from the books."""

    def __init__(self, session: SSHSession, tape: Tape) -> None:
        self._session, self._tape = session, tape
        rendered = queries.transcript_entries(session).exclude(kind="output").only(*_OF_ENTRY)
        self._rendered = list(rendered[:MOST])
        self._operations = {row.label: row for row in queries.file_operations(session)[:MOST]}
        self._began_at: dict[str, float] = {}

    def marked(self) -> list[Entry]:
        """From the marks of the recording. Of a file operation only the time is taken, where its row is known."""
        return [entry for mark in self._tape.marks for entry in self._of_mark(mark)]

    def _of_mark(self, mark: Mark) -> Iterator[Entry]:
        text = mark.text
        if mark.code == "r":
            yield Entry(mark.time, "resize", text, more={"channel": mark.channel})
        elif begun := _FILE.fullmatch(text):
            label = begun["label"]
            if label not in self._operations:
                yield Entry(mark.time, "file", text.removeprefix("file: "))
            self._began_at.setdefault(label, mark.time)
        elif _FREEZE.match(text):
            yield Entry(mark.time, "freeze", text)
        elif _WARNING.match(text):
            yield Entry(mark.time, "warning", text)
        elif _END.match(text):
            yield Entry(mark.time, "end", text)
        elif opened := _CHANNEL.fullmatch(text):
            yield from self._of_channel(mark.time, opened)
        elif not _IN_BOOKS.match(text):
            yield Entry(mark.time, "note", text)

    def _of_channel(self, time: float, opened: re.Match[str]) -> Iterator[Entry]:
        number, kind, text = int(opened["number"]), opened["kind"], opened["text"] or ""
        if kind != "exec":
            yield Entry(time, "channel", f"{kind} {text}".strip(), more={"channel": number})
        elif not any(row.channel == number for row in self._rendered):
            row = next((row for row in self._session.channels.all() if row.number == number), None)
            status = row.exit_status if row else None
            yield Entry(time, "command", text, more={"channel": number, "exact": True, "exit": status})

    def commands(self) -> list[Entry]:
        """From the transcript, as far as it was rendered."""
        return [
            Entry(
                row.began,
                "screen" if row.kind == "screen" else "command",
                row.text,
                row.ended,
                more={"channel": row.channel, "exact": row.exact, "exit": row.exit_status},
            )
            for row in self._rendered
        ]

    def files(self) -> list[Entry]:
        return [self._of_file(label, row) for label, row in self._operations.items()]

    def _of_file(self, label: str, row: FileOperation) -> Entry:
        began = self._began_at.get(label, self._second(row.started_at))
        text = f"{row.verb} {row.path}" + (f" to {row.target}" if row.target else "")
        more = {"channel": row.channel, "bytes": row.bytes, "outcome": row.outcome}
        return Entry(began, "file", text, self._second(row.ended_at), more=more)

    def said(self) -> Iterator[Entry]:
        """Who watched, and what was said beside the session."""
        for message in self._session.chat.select_related("person")[:MOST]:
            yield Entry(self._second(message.at), "chat", message.text, by=message.person.get_full_name())
        for watch in self._session.watches.select_related("person", "kiosk")[:MOST]:
            board = f"wallboard {watch.kiosk.name}" if watch.kiosk else "somebody"
            who = watch.person.get_full_name() if watch.person else board
            role = "escorts" if watch.escort else "watches"
            yield Entry(
                self._second(watch.began_at),
                "watch",
                role,
                self._second(watch.ended_at or watch.seen_at),
                by=who,
            )

    def findings(self) -> Iterator[Entry]:
        rows = Finding.objects.filter(session=self._session, at_seconds__isnull=False, withdrawn_at=None)
        for row in rows.select_related("author")[:MOST]:
            assert row.at_seconds is not None
            more = {"category": row.category, "severity": row.severity}
            yield Entry(
                self._clamp(row.at_seconds), "finding", row.text, None, row.author.get_full_name(), more
            )

    def _second(self, moment: datetime) -> float:
        return self._clamp((moment - self._session.opened_at).total_seconds())

    def _clamp(self, second: float) -> float:
        return min(max(second, 0.0), self._tape.seconds)


def _channel(row: Any) -> dict[str, Any]:
    return {"number": row.number, "kind": row.kind, "text": row.command[:LONGEST]}


def _seen(session: SSHSession, person: Person) -> list[list[float]]:
    row = Coverage.objects.filter(session=session, person=person).first()
    return row.ranges if row else []
