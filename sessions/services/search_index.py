"""What can be searched for is written here, and removed: one row a text, its words in the index of the database in use.

Three parts with lives of their own: the facts of a session from its beginning, what people said of it, and what its recording
shows, which goes when the recording is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, Max, OuterRef, QuerySet

from breakglass.domain.text import visible
from sessions.models import (
    ChatMessage,
    FileOperation,
    Finding,
    Review,
    SearchRow,
    SSHSession,
    TranscriptEntry,
)
from sessions.services.search_words import words_of

SHIFT: Final = 20
"""An id is the session's number, and this many bits for the place within it."""
FACTS, NOTES, CHAT, FILES, TEXT = 0x00000, 0x10000, 0x20000, 0x30000, 0x40000
_ENDS: Final = {FACTS: NOTES, NOTES: CHAT, CHAT: FILES, FILES: TEXT, TEXT: 1 << SHIFT}
LINES_OF_ROW: Final = 30
SECONDS_OF_ROW: Final = 1.0
MOST_TEXT: Final = 20_000
AT_ONCE: Final = 500
PAGES_A_STEP: Final = 500


@dataclass(frozen=True)
class Entry:
    """One text of a session; `source` is the row that says it, `at` the second of the recording."""

    kind: str
    text: str
    source: int
    at: float | None = None


def tag(letter: str, key: object) -> str:
    """How the index knows whose, where and under what: `u` person, `a` asset, `v` version of a playbook, `k` kind."""
    return f"{letter}{str(key).replace('-', '')}"


def index_recording(session: SSHSession) -> None:
    """Write anew what the transcript and the files of a session say. In the caller's transaction."""
    files = FileOperation.objects.filter(session=session).order_by("channel", "number")[: TEXT - FILES]
    write(session, FILES, (_file(session, row) for row in files))
    write(session, TEXT, _texts(TranscriptEntry.objects.filter(session=session).order_by("began", "pk")))


def forget_recording(session_id: UUID) -> None:
    """Nothing that the recording showed stays: transcript, files, their words. In the caller's transaction."""
    number = SSHSession.objects.values_list("number", flat=True).get(pk=session_id)
    TranscriptEntry.objects.filter(session_id=session_id).delete()
    SearchRow.objects.filter(pk__gte=(number << SHIFT) + FILES, pk__lt=(number + 1) << SHIFT).delete()


def scrub() -> None:
    """Have SQLite's index write itself anew without what was forgotten: a word that is taken out stays in its pieces until
    they are merged. In steps, each short: others want to write, too."""
    if connection.vendor != "sqlite":
        return
    pages, changed = -PAGES_A_STEP, 2
    with connection.cursor() as cursor:
        # Less than two changed rows say that there was nothing left to merge (the manual of FTS5, "merge").
        while changed >= 2:
            before = connection.connection.total_changes
            cursor.execute(
                "INSERT INTO gateway_searchwords (gateway_searchwords, rank) VALUES ('merge', %s)", [pages]
            )
            changed = connection.connection.total_changes - before
            pages = PAGES_A_STEP


def index_due() -> int:
    """Index the sessions and the sayings that nobody indexed yet, and forget findings that were taken back."""
    done = 0
    for session in _new("person", SSHSession.objects.select_related(*_FACTS), "number"):
        done += _once(session, FACTS, _facts(session))
    for said in _new("chat", ChatMessage.objects.select_related("session", "session__grant", "person")):
        at = max(0.0, (said.at - said.session.opened_at).total_seconds())
        text = f"{said.person.get_full_name()}: {said.text}"
        done += _once(said.session, CHAT, [Entry("chat", text, said.pk, at)])
    standing = Finding.objects.filter(withdrawn_at=None, session__isnull=False)
    for finding in _new("finding", standing.select_related("session", "session__grant", "author")):
        text = f"{finding.category}, {finding.severity}: {finding.text}"
        if finding.session:
            done += _once(finding.session, NOTES, [Entry("finding", text, finding.pk, finding.at_seconds)])
    done += _index_notes()
    withdrawn = Finding.objects.filter(withdrawn_at__isnull=False).values("pk")
    SearchRow.objects.filter(kind="finding", source__in=withdrawn).delete()
    return done


def write(session: SSHSession, part: int, entries: Iterable[Entry]) -> int:
    """One part of what is known of a session, in place of what was there. In the caller's transaction."""
    low = (session.number << SHIFT) + part
    high = (session.number << SHIFT) + _ENDS[part]
    SearchRow.objects.filter(pk__gte=low, pk__lt=high).delete()
    return _insert(session, low, high, entries)


def _once(session: SSHSession, part: int, entries: Sequence[Entry]) -> int:
    """Add to a part what isn't in it yet."""
    low = (session.number << SHIFT) + part
    high = (session.number << SHIFT) + _ENDS[part]
    with transaction.atomic():
        SSHSession.objects.select_for_update().filter(pk=session.pk).exists()
        there = SearchRow.objects.filter(
            kind__in={one.kind for one in entries},
            source__in=[one.source for one in entries],
            session=session,
        )
        known = set(there.values_list("kind", "source"))
        new = [one for one in entries if (one.kind, one.source) not in known]
        last = SearchRow.objects.filter(pk__gte=low, pk__lt=high).aggregate(last=Max("pk"))["last"]
        return _insert(session, low if last is None else last + 1, high, new)


def _insert(session: SSHSession, low: int, high: int, entries: Iterable[Entry]) -> int:
    common = [
        tag("u", session.person_id), tag("a", session.asset_id), tag("v", session.grant.playbook_id),
    ]  # fmt: skip
    rows: list[SearchRow] = []
    said: list[tuple[list[str], list[str]]] = []
    count = 0
    for key, entry in zip(range(low, high), entries, strict=False):
        text = visible(entry.text[:MOST_TEXT])
        rows.append(
            SearchRow(
                id=key,
                session_id=session.pk,
                kind=entry.kind,
                source=entry.source,
                at_seconds=entry.at,
                text=text,
            )
        )
        said.append((words_of(text), [*common, tag("k", entry.kind)]))
        count += 1
        if len(rows) >= AT_ONCE:
            _store(rows, said)
            rows, said = [], []
    _store(rows, said)
    return count


def _store(rows: Sequence[SearchRow], said: Sequence[tuple[list[str], list[str]]]) -> None:
    if not rows:
        return
    if connection.vendor == "postgresql":
        statement = (
            "INSERT INTO gateway_searchrow (id, session_id, kind, source, at_seconds, text, words) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s::tsvector)"
        )
        values: list[tuple[Any, ...]] = [
            (row.pk, row.session_id, row.kind, row.source, row.at_seconds, row.text, _vector(words, tags))
            for row, (words, tags) in zip(rows, said, strict=True)
        ]
    else:
        SearchRow.objects.bulk_create(rows)
        statement = "INSERT OR REPLACE INTO gateway_searchwords (rowid, words, tags) VALUES (%s, %s, %s)"
        values = [
            (row.pk, " ".join(words), " ".join(tags)) for row, (words, tags) in zip(rows, said, strict=True)
        ]
    with connection.cursor() as cursor:
        cursor.executemany(statement, values)


def _vector(words: list[str], tags: list[str]) -> str:
    """Words and where they stand, as PostgreSQL spells it; words are letters and digits alone."""
    placed = [f"'{word}':{min(place, 16383)}" for place, word in enumerate(words, 1)]
    return " ".join([*placed, *(f"'#{one}'" for one in tags)])


_FACTS = ("person", "asset", "grant", "grant__request", "grant__incident", "grant__playbook")


def _facts(session: SSHSession) -> list[Entry]:
    person, asset, grant = session.person, session.asset, session.grant
    number = session.number
    incident = f"{grant.incident.label} {grant.incident.title}"
    return [
        Entry("person", f"{person.get_full_name()} ({person.username})", number),
        Entry("asset", f"{session.login}@{asset.name} {asset.title}", number),
        Entry("reason", f"{grant.request.reason}\n{incident}\n{grant.playbook.title}", number),
    ]


def _texts(entries: QuerySet[TranscriptEntry]) -> Iterator[Entry]:
    for row in entries.iterator(chunk_size=200):
        if row.text:
            yield Entry(row.kind, row.text, row.pk, row.began)
        kind = "screen" if row.kind == "screen" else "output"
        block: list[str] = []
        began = 0.0
        for time, text in row.lines:
            if block and (len(block) >= LINES_OF_ROW or time - began > SECONDS_OF_ROW):
                yield Entry(kind, "\n".join(block), row.pk, began)
                block = []
            if text.strip():
                began = began if block else time
                block.append(text)
        if block:
            yield Entry(kind, "\n".join(block), row.pk, began)


def _file(session: SSHSession, row: FileOperation) -> Entry:
    at = max(0.0, (row.started_at - session.opened_at).total_seconds())
    return Entry("file", f"{row.verb} {row.path} {row.target}".strip(), row.pk, at)


def _index_notes() -> int:
    """What reviewers wrote when they signed, in each session of the grant."""
    done = 0
    # Of a grant that had no session no row is written: it would be looked at for ever, before all others.
    had_sessions = Exists(SSHSession.objects.filter(grant=OuterRef("grant")))
    signed = Review.objects.filter(had_sessions, signed_at__isnull=False).exclude(note="", second_note="")
    for offset, field in ((0, "note"), (1, "second_note")):
        known = SearchRow.objects.filter(kind="note", source=OuterRef("pk") * 2 + offset)
        for review in signed.exclude(**{field: ""}).filter(~Exists(known)).order_by("pk")[:AT_ONCE]:
            entry = Entry("note", getattr(review, field), review.pk * 2 + offset)
            for session in SSHSession.objects.select_related("grant").filter(grant_id=review.grant_id):
                done += _once(session, NOTES, [entry])
    return done


def _new(kind: str, rows: QuerySet[Any], key: str = "pk") -> QuerySet[Any]:
    known = SearchRow.objects.filter(kind=kind, source=OuterRef(key))
    return rows.filter(~Exists(known)).order_by("pk")[:AT_ONCE]
