"""How the house does over time: how long people wait, what is asked for, how access ends, what is reviewed.

Reads only, a handful of queries whatever the period holds. Durations are seconds; a bucket is a whole UTC day or week.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, FloatField, Func, Min, Q, QuerySet
from django.db.models.functions import Floor

from breakglass.domain.requests import RequestState
from breakglass.models import AccessRequest, Grant, GrantedAsset
from sessions.models import Receipt, Review
from sessions.states import ReviewState

DAY = timedelta(days=1)
MOST_DAYS_BY_DAY = 31
SHOWN = 8


class Seconds(Func):
    """A moment as seconds since 1970, to some 40 us: rows of plain numbers are read several times faster than dates."""

    function = "EXTRACT"
    template = "EXTRACT(EPOCH FROM %(expressions)s)::double precision"
    output_field = FloatField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "((julianday(%(expressions)s) - 2440587.5) * 86400.0)"
        return self.as_sql(compiler, connection, template=template, **context)


@dataclass(frozen=True)
class Bucket:
    """From `start` on, until the next one begins."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Waits:
    """Half waited no longer than `p50` seconds, nine of ten no longer than `p90`; None where nobody waited."""

    count: int
    p50: float | None
    p90: float | None


@dataclass
class Reviewed:
    """What came due in a bucket."""

    in_time: int = 0
    late: int = 0
    due: int = 0
    overdue: int = 0


@dataclass(frozen=True)
class Trends:
    """One entry a bucket in `to_approve`, `to_shell`, `reviews`, `overrides`; totals of the period in the others."""

    buckets: Sequence[Bucket]
    to_approve: Sequence[Waits]
    to_shell: Sequence[Waits]
    reviews: Sequence[Reviewed]
    overrides: Sequence[int]
    grants: int
    by_playbook: Sequence[tuple[str, int]]
    by_asset: Sequence[tuple[str, int]]
    by_cause: Sequence[tuple[str, int]]
    approve_all: Waits = field(default=Waits(0, None, None))
    shell_all: Waits = field(default=Waits(0, None, None))


def trends(days: int, now: datetime) -> Trends:
    """Of the last `days` days up to and with today: by day up to a month, else by week."""
    buckets = _buckets(days, now)
    since = buckets[0].start
    approve, overrides = _approvals(since, now), _overrides(since, now)
    shell = _shells(since, now)
    granted = Grant.objects.filter(issued_at__gte=since, issued_at__lt=now).order_by()
    by_playbook = list(granted.values_list("playbook__slug").annotate(Count("pk")))
    assets = GrantedAsset.objects.filter(grant__issued_at__gte=since, grant__issued_at__lt=now)
    ends = Receipt.objects.filter(asked_at__gte=since, asked_at__lt=now).order_by()
    return Trends(
        buckets=buckets,
        to_approve=[waits(seconds) for seconds in _spread(approve, buckets)],
        to_shell=[waits(seconds) for seconds in _spread(shell, buckets)],
        reviews=_reviews(buckets, now),
        overrides=[len(found) for found in _spread(overrides, buckets)],
        grants=sum(count for _, count in by_playbook),
        by_playbook=_top(by_playbook),
        by_asset=_top(assets.order_by().values_list("asset__name").annotate(Count("pk"))),
        by_cause=_top(ends.values_list("cause").annotate(Count("pk"))),
        approve_all=waits(seconds for _, seconds in approve),
        shell_all=waits(seconds for _, seconds in shell),
    )


def waits(seconds: Iterable[float]) -> Waits:
    """By nearest rank."""
    known = sorted(seconds)
    if not known:
        return Waits(0, None, None)
    p50, p90 = (known[max(0, math.ceil(len(known) * share) - 1)] for share in (0.5, 0.9))
    return Waits(len(known), p50, p90)


def _buckets(days: int, now: datetime) -> list[Bucket]:
    step = DAY if days <= MOST_DAYS_BY_DAY else 7 * DAY
    count = math.ceil(days * DAY / step)
    tomorrow = now.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    starts = [tomorrow - step * back for back in range(count, 0, -1)]
    return [Bucket(start, start + step) for start in starts]


def _spread(found: Iterable[tuple[float, float]], buckets: Sequence[Bucket]) -> list[list[float]]:
    """The values by bucket; all buckets are of one length. Moments are seconds since 1970."""
    start, length = buckets[0].start.timestamp(), (buckets[0].end - buckets[0].start).total_seconds()
    values: list[list[float]] = [[] for _ in buckets]
    for at, value in found:
        place = int((at - start) // length)
        if 0 <= place < len(buckets):
            values[place].append(value)
    return values


def _decided(since: datetime, now: datetime) -> QuerySet[AccessRequest]:
    return AccessRequest.objects.filter(
        state=RequestState.APPROVED, extends=None, decided_at__gte=since, decided_at__lt=now
    ).order_by()


def _approvals(since: datetime, now: datetime) -> list[tuple[float, float]]:
    """When and after how many seconds each request was approved."""
    rows = _decided(since, now).values_list(Seconds("submitted_at"), Seconds("decided_at"))
    return [(decided, round(decided - submitted, 3)) for submitted, decided in rows]


def _overrides(since: datetime, now: datetime) -> list[tuple[float, float]]:
    rows = _decided(since, now).filter(is_override=True).values_list(Seconds("decided_at"), flat=True)
    return [(decided, 1.0) for decided in rows]


def _shells(since: datetime, now: datetime) -> list[tuple[float, float]]:
    """When the first session of a grant opened, and how many seconds after its request was sent."""
    rows = (
        Grant.objects.filter(ssh_sessions__opened_at__gte=since, ssh_sessions__opened_at__lt=now)
        .order_by()
        .values("pk")
        .annotate(first=Seconds(Min("ssh_sessions__opened_at")), asked=Seconds(Min("request__submitted_at")))
        .values_list("first", "asked")
    )
    return [(first, round(first - asked, 3)) for first, asked in rows]


def _reviews(buckets: Sequence[Bucket], now: datetime) -> list[Reviewed]:
    """By when they were due; those that aren't due yet stand in the newest bucket."""
    found = [Reviewed() for _ in buckets]
    start, length = buckets[0].start.timestamp(), (buckets[0].end - buckets[0].start).total_seconds()
    signed = Q(state=ReviewState.SIGNED, signed_at__isnull=False)
    rows = (
        Review.objects.filter(due_at__gte=buckets[0].start)
        .order_by()
        .values(place=Floor((Seconds("due_at") - start) / length))
        .annotate(
            in_time=Count("pk", filter=signed & Q(signed_at__lte=F("due_at"))),
            late=Count("pk", filter=signed & Q(signed_at__gt=F("due_at"))),
            due=Count("pk", filter=~signed & Q(due_at__gt=now)),
            overdue=Count("pk", filter=~signed & Q(due_at__lte=now)),
        )
        .values_list("place", "in_time", "late", "due", "overdue")
    )
    for place, in_time, late, due, overdue in rows:
        one = found[min(int(place), len(buckets) - 1)]
        one.in_time += in_time
        one.late += late
        one.due += due
        one.overdue += overdue
    return found


def _top(rows: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """The most frequent first; what is beyond what a page can show is counted together, named by an empty text."""
    counted = Counter(dict(rows))
    shown = sorted(counted.items(), key=lambda row: (-row[1], row[0]))
    rest = sum(count for _, count in shown[SHOWN:])
    return [*shown[:SHOWN], ("", rest)] if rest else shown[:SHOWN]
