"""What the audit trail knows of recordings: how many bytes each held at a moment, and their SHA-256.

Marks are written while sessions live, one row a gateway process for all recordings that grew, and the last one with the
session's end. So a recording that was removed, shortened or altered shows, also after a crash: the first `bytes` bytes
of a session's asciicast must have that `sha256`, whatever came later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from breakglass.domain.audit import AuditTag
from breakglass.models import AuditEvent
from breakglass.services import audit
from sessions.models import SSHSession

MOST_A_ROW = 100
ENDS = (AuditTag.SESSION_ENDED, AuditTag.SESSION_CRASHED)


@dataclass(frozen=True)
class Marked:
    """What is on the disk of one recording: so many bytes, of which so many segments have ended."""

    session: str
    bytes: int
    sha256: str
    segments: int


@dataclass(frozen=True)
class Mark:
    """What row `seq` of the audit trail says of a recording."""

    seq: int
    bytes: int
    sha256: str


def mark_recordings(gateway_id: str, marked: Sequence[Marked], now: datetime) -> None:
    """Write down how far these recordings have come, a hundred a row."""
    for start in range(0, len(marked), MOST_A_ROW):
        data = {"recordings": [asdict(one) for one in marked[start : start + MOST_A_ROW]]}
        audit.record(
            AuditTag.RECORDING_MARKED, actor=None, subject=f"gateway:{gateway_id}", now=now, data=data
        )


def last_mark(session: SSHSession) -> Mark | None:
    """The last that the trail says of this session's recording: it holds all that was said before."""
    ends = AuditEvent.objects.filter(subject=audit.name_of(session), tag__in=ENDS).order_by("seq")
    end = ends.first()
    if end is not None and (found := _from_end(end)) is not None:
        return found
    rows = AuditEvent.objects.filter(subject=f"gateway:{session.gateway_id}", tag=AuditTag.RECORDING_MARKED)
    opened = AuditEvent.objects.filter(subject=audit.name_of(session), tag=AuditTag.SESSION_OPENED)
    first = opened.order_by("seq").values_list("seq", flat=True).first() or 0
    if end is not None:
        rows = rows.filter(seq__lt=end.seq)
    for row in rows.filter(seq__gt=first).order_by("-seq").iterator(chunk_size=50):
        if (found := _from_row(row).get(session.label)) is not None:
            return found
    return None


def last_marks() -> dict[str, Mark]:
    """The last mark of each session, by its label (S-12): one pass over the trail."""
    found: dict[str, Mark] = {}
    ended: dict[str, Mark] = {}
    rows = AuditEvent.objects.filter(tag__in=(AuditTag.RECORDING_MARKED, *ENDS)).order_by("seq")
    for row in rows.iterator(chunk_size=200):
        if row.tag == AuditTag.RECORDING_MARKED:
            found.update(_from_row(row))
        elif (mark := _from_end(row)) is not None:
            ended[str(row.data.get("session"))] = mark
    return found | ended


def was_live(session: SSHSession) -> bool:
    """Whether the trail says that the session went live: its recording was begun before that."""
    rows = AuditEvent.objects.filter(subject=audit.name_of(session), tag=AuditTag.SESSION_LIVE)
    return rows.exists()


def problem_with(mark: Mark, pieces: Iterable[bytes]) -> str:
    """How the plain recording that comes in `pieces` contradicts the mark; empty where it doesn't."""
    digest, left = hashlib.sha256(), mark.bytes
    for piece in pieces:
        digest.update(piece[:left])
        left -= min(left, len(piece))
        if not left:
            break
    if left:
        return f"it has {mark.bytes - left} bytes; row {mark.seq} of the audit trail knew {mark.bytes}"
    if digest.hexdigest() != mark.sha256:
        return f"its first {mark.bytes} bytes aren't those that row {mark.seq} of the audit trail tells of"
    return ""


def told_of(mark: Mark) -> str:
    """What the trail says of a file that isn't there."""
    return f"row {mark.seq} of the audit trail tells of its first {mark.bytes} bytes"


def _from_end(row: AuditEvent) -> Mark | None:
    return _mark(row.seq, {"bytes": row.data.get("recorded"), "sha256": row.data.get("recorded_sha256")})


def _from_row(row: AuditEvent) -> dict[str, Mark]:
    found = {}
    for one in row.data.get("recordings", ()):
        if (mark := _mark(row.seq, one)) is not None:
            found[str(one.get("session"))] = mark
    return found


def _mark(seq: int, values: Mapping[str, Any]) -> Mark | None:
    size, sha256 = values.get("bytes"), values.get("sha256")
    return Mark(seq, size, sha256) if isinstance(size, int) and size and isinstance(sha256, str) else None
