"""What the books say of live sessions beside the decision: frozen by whom, watched by whom, what was written to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from itertools import islice
from operator import or_
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import F, FilteredRelation, OuterRef, Q, Subquery

from breakglass.domain.policy import person_lock
from breakglass.models import Person
from breakglass.queries import lock_facts
from sessions.gateway.company import Said, Seen
from sessions.gateway.relay import printable
from sessions.models import ChatMessage, SSHSession
from sessions.services import chat
from sessions.services.watching import STALE
from sessions.states import OPEN_STATES

if TYPE_CHECKING:
    from sessions.gateway.live import LiveSession

_NAMES = (
    "pk", "frozen_at", "frozen_by__full_name", "frozen_by__username", "freeze_reason", "last_said",
    "there__id", "there__escort", "there__seen_at", "there__person_id", "there__person__full_name",
    "there__person__username", "there__kiosk__name",
)  # fmt: skip
MOST_SAID = 20


@dataclass
class Beside:
    """Of one session. `frozen` completes "this session is frozen", and is empty while nobody froze it."""

    frozen: str
    last_said: int
    watches: list[Seen] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)


def ask(sessions: Collection[LiveSession], now: datetime) -> dict[UUID, Beside]:
    """Those that stand as open in the books and that nobody asked to end: one question for all of them, two more where an
    escort watches, and one where something was written. The caller has borrowed a connection."""
    living = {session.facts.session_id: session for session in sessions}
    rows = _rows(living)
    found: dict[UUID, Beside] = {}
    able = _able(row["there__person_id"] for row in rows if row["there__escort"])
    for row in rows:
        one = found.setdefault(row["pk"], Beside(_frozen(row), row["last_said"] or 0))
        if row["there__id"] is not None and row["there__seen_at"] >= now - STALE:
            one.watches.append(_seen(row, living[row["pk"]], able))
    _hear(living, found)
    return found


def _rows(living: Collection[UUID]) -> list[dict[str, Any]]:
    # What the person wrote themself needn't be told to them.
    others = ChatMessage.objects.filter(session=OuterRef("pk")).exclude(person=OuterRef("person"))
    rows = SSHSession.objects.filter(
        pk__in=living, state__in=OPEN_STATES, kill_requested_at__isnull=True
    ).annotate(
        there=FilteredRelation("watches", condition=Q(watches__ended_at=None)),
        last_said=Subquery(others.order_by("-pk").values("pk")[:1]),
    )
    return list(rows.order_by().values(*_NAMES))


def frozen_why(name: str, reason: str) -> str:
    """Completes "this session is frozen", for the person's terminal: by whom, and why where that was said."""
    return f"by {printable(name)}" + (f": {printable(reason)}" if reason else "")


def _frozen(row: dict[str, Any]) -> str:
    if row["frozen_at"] is None:
        return ""
    return frozen_why(row["frozen_by__full_name"] or row["frozen_by__username"], row["freeze_reason"])


def _seen(row: dict[str, Any], session: LiveSession, able: dict[UUID, frozenset[str]]) -> Seen:
    """Who was an escort when they began is none any more when they left the group, or were disabled or locked out."""
    groups = able.get(row["there__person_id"], frozenset())
    is_escort = bool(row["there__escort"]) and bool(groups & session.facts.escorts)
    kiosk = f"the wallboard {row['there__kiosk__name']}"
    name = row["there__person__full_name"] or row["there__person__username"] or kiosk
    return Seen(row["there__id"], name, is_escort, row["there__seen_at"])


def _able(people: Iterable[UUID | None]) -> dict[UUID, frozenset[str]]:
    """The groups of these people today; nobody who is disabled or locked out."""
    ids = {pk for pk in people if pk is not None}
    groups: dict[UUID, set[str]] = {}
    if ids:
        rows = Person.objects.filter(pk__in=ids, is_active=True).order_by()
        for pk, name in rows.values_list("pk", "groups__name"):
            groups.setdefault(pk, set()).add(name)
        locks = lock_facts()
        groups = {pk: names for pk, names in groups.items() if person_lock(locks, pk) is None}
    return {pk: frozenset(names) for pk, names in groups.items()}


def _hear(living: dict[UUID, LiveSession], found: dict[UUID, Beside]) -> None:
    news = {pk: one for pk, one in found.items() if one.last_said > living[pk].company.heard}
    if not news:
        return
    # A condition each: what one session has heard long ago takes no other's place in the window. The rest comes next.
    unheard = reduce(or_, (Q(session=pk, pk__gt=living[pk].company.heard) for pk in islice(news, MOST_SAID)))
    rows = ChatMessage.objects.filter(unheard).exclude(person=F("session__person"))
    names = ("pk", "session_id", "person__full_name", "person__username", "text")
    for number, pk, full_name, username, text in rows.order_by("pk").values_list(*names)[: MOST_SAID * 10]:
        news[pk].said.append(
            Said(number, full_name or username, printable(" ".join(text.split()), chat.MOST))
        )
