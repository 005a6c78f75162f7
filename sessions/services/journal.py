"""A gateway's journal and the database: what a journal tells of is written once, whatever dies in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from django.db import transaction

from sessions.models import JournalPosition


class Numbered(Protocol):
    """An entry of a journal. Numbers go up by one; the first is 1."""

    @property
    def seq(self) -> int: ...


Entry = TypeVar("Entry", bound=Numbered)


def write_once(
    journal: str, entries: Sequence[Entry], now: datetime, write: Callable[[Sequence[Entry]], None]
) -> None:
    """Have `write` write down those of `entries` that aren't written yet, in one transaction with the journal's position.

    Whoever else replays the same journal waits for that transaction, and finds them written. What `write` raises
    leaves nothing of it.
    """
    last = entries[-1].seq
    mine = JournalPosition.objects.filter(journal=journal)
    with transaction.atomic():
        if not mine.filter(seq=entries[0].seq - 1).update(seq=last, updated_at=now):
            reached = _position(journal, now)
            entries = [entry for entry in entries if entry.seq > reached]
            if not entries:
                return
            mine.update(seq=last, updated_at=now)
        write(entries)


def forget_journal(journal: str) -> None:
    """After its file was removed: nobody can replay it any more."""
    JournalPosition.objects.filter(journal=journal).delete()


def _position(journal: str, now: datetime) -> int:
    """How far it was written, held until the transaction ends."""
    rows = JournalPosition.objects.select_for_update()
    row, _ = rows.get_or_create(journal=journal, defaults={"seq": 0, "updated_at": now})
    return row.seq
