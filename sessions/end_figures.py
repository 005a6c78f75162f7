"""How fast sessions end, in figures: p50 and p99 by cause, of the receipts of their ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sessions.models import Receipt
from sessions.states import EndReason

ASKED_FOR = (
    EndReason.EXPIRED,
    EndReason.REVOKED,
    EndReason.RELEASED,
    EndReason.KILLED,
    EndReason.LOCKED,
    EndReason.NOT_AUTHORIZED,
)
"""The causes in which somebody, or the clock, asks and the gateway obeys. In the others it notices by itself."""
LIMIT_MS = 1000.0
"""No byte may pass later than this after the end of a grant."""


@dataclass(frozen=True)
class Spread:
    """In ms; None where nothing was measured. What was so before it was asked for counts as 0."""

    p50: float | None
    p99: float | None


@dataclass(frozen=True)
class Figures:
    """The ends of one cause; `cause` is empty for all together that were asked for. `late`: a byte passed later than
    1 s after. `unknown`: a crash left no measure."""

    cause: str
    count: int
    last_byte: Spread
    client_gone: Spread
    target_gone: Spread
    late: int
    unknown: int

    @property
    def is_asked_for(self) -> bool:
        return not self.cause or self.cause in ASKED_FOR


def end_figures(since: datetime) -> list[Figures]:
    """All that were asked for together, then each cause, those that are asked for first. One query, however many."""
    rows = list(Receipt.objects.filter(asked_at__gte=since).select_related(None).order_by())
    by_cause: dict[str, list[Receipt]] = {}
    for row in rows:
        by_cause.setdefault(row.cause, []).append(row)
    together = [row for row in rows if row.cause in ASKED_FOR]
    order = [*ASKED_FOR, *sorted(set(by_cause) - set(ASKED_FOR))]
    found = [_figures(str(cause), by_cause[cause]) for cause in order if cause in by_cause]
    return [_figures("", together), *found] if together else found


def spread(measured: Sequence[float | None]) -> Spread:
    """By nearest rank."""
    known = sorted(max(0.0, one) for one in measured if one is not None)
    if not known:
        return Spread(None, None)
    return Spread(*(known[max(0, math.ceil(len(known) * share) - 1)] for share in (0.5, 0.99)))


def _figures(cause: str, rows: list[Receipt]) -> Figures:
    measured = [row for row in rows if not row.estimated]
    return Figures(
        cause=cause,
        count=len(rows),
        last_byte=spread([row.last_byte_ms for row in measured]),
        client_gone=spread([row.client_gone_ms for row in measured]),
        target_gone=spread([row.target_gone_ms for row in measured]),
        late=sum(1 for row in measured if (row.last_byte_ms or 0.0) > LIMIT_MS),
        unknown=len(rows) - len(measured),
    )
