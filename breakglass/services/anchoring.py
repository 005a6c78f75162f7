"""Keeps each anchor supplied with the newest checkpoint, one try at a time, and says when one is away for long."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction

from breakglass.domain.audit import AuditTag
from breakglass.models import AuditAnchor
from breakglass.queries import people_in
from breakglass.services import audit, notices
from breakglass.services.anchors import Anchor, AnchorFailed
from breakglass.services.notary import WATCHMEN, Signed

LONGEST_PAUSE = 60.0
AWAY = timedelta(minutes=10)


@dataclass
class _Line:
    """One anchor, and the try that is under way."""

    anchor: Anchor
    row: AuditAnchor
    trying: Future[None] | None = None
    size: int = 0
    failures: int = 0
    not_before: float = field(default=0.0)


class Anchoring:
    """All anchors of one notary. Sending happens beside the notary's work: one that hangs holds up nobody."""

    def __init__(self, anchors: Sequence[Anchor]) -> None:
        self._lines = [_Line(one, AuditAnchor.objects.get_or_create(name=one.name)[0]) for one in anchors]
        AuditAnchor.objects.exclude(name__in=[one.name for one in anchors]).delete()
        self._pool = ThreadPoolExecutor(max(1, len(anchors)), thread_name_prefix="anchor")

    def __len__(self) -> int:
        return len(self._lines)

    def supply(self, last: Signed, now: datetime, seconds: float) -> None:
        """Note what came of earlier tries, and start those that are due. `seconds`: a clock that only goes on."""
        for line in self._lines:
            if line.trying is not None and line.trying.done():
                self._note(line, now, seconds)
            if line.trying is None and last.size > line.row.size and seconds >= line.not_before:
                line.size = last.size
                line.trying = self._pool.submit(line.anchor.send, last.note, now)

    def is_idle(self, last: Signed) -> bool:
        """Whether every anchor that answers has the newest checkpoint."""
        return all(
            line.trying is None and (line.row.size >= last.size or line.failures) for line in self._lines
        )

    def stop(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _note(self, line: _Line, now: datetime, seconds: float) -> None:
        assert line.trying is not None
        problem = _problem(line.trying)
        row, line.trying = line.row, None
        row.tried_at = now
        if problem:
            line.failures += 1
            line.not_before = seconds + min(LONGEST_PAUSE, 2.0 ** min(line.failures, 10))
            row.problem = problem[:300]
            row.failing_since = row.failing_since or now
            if row.alarmed_at is None and now - row.failing_since >= AWAY:
                row.alarmed_at = now
                _alarm(row, now)
        else:
            line.failures, line.not_before = 0, seconds + line.anchor.every
            was_away, since = row.alarmed_at is not None, row.failing_since
            row.size, row.sent_at, row.problem = line.size, now, ""
            row.failing_since = row.alarmed_at = None
            if was_away:
                data = {"anchor": row.name, "away_since": since, "size": row.size}
                audit.record(AuditTag.ANCHOR_BACK, actor=None, subject="audit:anchor", now=now, data=data)
        row.save()


def _problem(trying: Future[None]) -> str:
    try:
        trying.result()
    except AnchorFailed as failed:
        return str(failed)
    return ""


def _alarm(row: AuditAnchor, now: datetime) -> None:
    with transaction.atomic():
        notices.queue(
            people_in(WATCHMEN),
            topic="audit",
            subject=f"An anchor of the audit trail is away: {row.name}",
            body=f"{row.name} has taken no checkpoint since {row.failing_since:%Y-%m-%d %H:%M} UTC: {row.problem}.\n"
            f"The newest that it has is of {row.size} rows. What happens after that, it can't bear witness to.",
            path="/audit/",
            now=now,
        )
        data = {"anchor": row.name, "problem": row.problem, "since": row.failing_since, "size": row.size}
        audit.append(AuditTag.ANCHOR_AWAY, actor=None, subject="audit:anchor", now=now, data=data)
