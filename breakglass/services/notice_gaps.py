"""Who could not be told, in words for whoever can pick up a telephone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from breakglass.domain.text import visible
from breakglass.models import Notice
from breakglass.services.notices import way_of

# Young ones are still on their way.
YOUNG = timedelta(seconds=60)
SHOWN_FOR = timedelta(days=7)


@dataclass(frozen=True)
class Gap:
    """`who` a person's name or one of the house's ways; `instead`: the way that was told in their place."""

    who: str
    why: str
    subject: str
    path: str
    since: datetime
    instead: str = ""

    @property
    def says(self) -> str:
        if self.instead:
            return f"{self.who} couldn't be told {self.why}; {self.instead} was told instead."
        return f"{self.who} couldn't be told {self.why}. Tell them by phone."


def about(topic: str, now: datetime) -> list[Gap]:
    """Who could not be told of this, and has not seen it on the page."""
    return _gaps(_late(now).filter(topic=topic), now)


def everywhere(now: datetime, most: int = 20) -> list[Gap]:
    """The newest of the last days, for administrators."""
    return _gaps(_late(now).filter(created_at__gt=now - SHOWN_FOR)[:most], now)


def _late(now: datetime) -> QuerySet[Notice]:
    # Told, but only by the house in a person's place: that is said, too.
    in_their_place = Q(
        sent_at__isnull=False, person__isnull=False, deliveries__route__person=None,
        deliveries__route__isnull=False, deliveries__sent_at__isnull=False,
    )  # fmt: skip
    untold = Q(sent_at=None)
    rows = Notice.objects.filter(untold | in_their_place, seen_at=None).distinct()
    return rows.select_related("person").prefetch_related("deliveries__route").order_by("-created_at")


def _gaps(notices: Iterable[Notice], now: datetime) -> list[Gap]:
    return [gap for notice in notices if (gap := _gap(notice, now))]


def _gap(notice: Notice, now: datetime) -> Gap | None:
    rows = list(notice.deliveries.all())
    own = [
        row for row in rows if row.route is None or row.route.person_id is not None or notice.person is None
    ]
    if notice.person is not None and any(row.sent_at for row in own):
        return None
    failed = [row for row in own if row.problem]
    if own and not failed and now - notice.created_at < YOUNG:
        return None
    if failed:
        why = "by " + ", ".join(f"{way_of(row)} ({visible(row.problem)})" for row in failed)
    else:
        why = "yet: nothing is being sent" if own else "by mail: no address is known here"
    instead = next((way_of(row) for row in rows if row not in own and row.sent_at), "")
    who = notice.person.get_full_name() if notice.person else way_of(rows[0]) if rows else "the house"
    return Gap(who, why, notice.subject, notice.path, notice.created_at, instead)
