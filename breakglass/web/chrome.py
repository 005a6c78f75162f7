"""The frame around every page: where one can go, who one is, and what of one's own is open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from breakglass import clock, queries
from breakglass.domain.permissions import REVIEWERS, Verb
from breakglass.models import Person
from breakglass.space import RECORDINGS, shortage
from breakglass.web import reads
from breakglass.web.who import can, groups_of, has_both_factors

THUMBS = 4


@dataclass(frozen=True)
class Item:
    url: str
    label: str
    short: str
    icon: str
    current: bool = False
    count: int = 0
    count_says: str = ""


@dataclass(frozen=True)
class LiveGrant:
    url: str
    assets: str
    playbook: str
    ends_at: datetime | None


class Chrome:
    """Computed when a template asks, so that fragments don't pay for it."""

    def __init__(self, request: HttpRequest, person: Person, now: datetime) -> None:
        self._path = request.path
        self._person = person
        self._now = now

    @cached_property
    def name(self) -> str:
        return self._person.get_full_name()

    @cached_property
    def roles(self) -> str:
        return ", ".join(sorted(groups_of(self._person))) or "no role yet"

    @property
    def shortage(self) -> str:
        """Why no session can begin now: there is too little room for recordings. Empty where there is enough."""
        config = settings.BREAKGLASS
        try:
            return shortage(config.data_dir / RECORDINGS, config.disk_reserve_mib << 20)
        except OSError:  # no gateway was ever started here, or recordings are on another machine
            return ""

    @cached_property
    def live(self) -> list[LiveGrant]:
        return [
            LiveGrant(
                url=reverse("request", args=[grant.request_id]),
                assets=", ".join(asset.name for asset in grant.assets.all()),
                playbook=grant.playbook.title,
                ends_at=grant.ends_at,
            )
            for grant in queries.live_grants(self._person, self._now)
        ]

    @cached_property
    def approves(self) -> bool:
        """Whether there is an inbox: pages then show how much waits in it."""
        return reads.approves_anything(groups_of(self._person))

    @cached_property
    def nav(self) -> list[Item]:
        person, groups = self._person, groups_of(self._person)
        items = [self._item("home", "Start", "home")]
        if self.approves:
            waiting = len(queries.inbox_of(person, self._now))
            items.append(self._item("inbox", "Inbox", "inbox", count=waiting, says="waiting"))
        if can(person, Verb.SEE_AUDIT):
            items.append(self._item("audit", "Audit trail", "chain", short="Audit"))
        if can(person, Verb.LIST_REVIEWS):
            due = reads.reviews_waiting_for(person) if REVIEWERS in groups else 0
            items.append(self._item("reviews", "Reviews", "sign", count=due, says="due"))
        if can(person, Verb.MANAGE_LOCKS):
            items.append(self._item("locks", "Locks", "lock"))
        if can(person, Verb.MANAGE_PEOPLE):
            items.append(self._item("people", "People", "person"))
        items.append(self._item("incidents", "Incidents", "alert"))
        items.append(self._item("sessions", "Sessions", "screen"))
        items.append(self._item("search", "Search", "search"))
        items.append(self._item("playbooks", "Playbooks", "book"))
        items.append(self._item("assets", "Assets", "rack"))
        items.append(self._item("profile", "Keys and factors", "person", short="Me"))
        if settings.BREAKGLASS.demo:
            items.append(self._item("mail", "Mail (demo)", "mail", short="Mail"))
        return items

    @cached_property
    def thumbs(self) -> list[Item]:
        return self.nav[:THUMBS]

    def _item(
        self, name: str, label: str, icon: str, *, short: str = "", count: int = 0, says: str = ""
    ) -> Item:
        url = reverse(name)
        current = self._path == url if name == "home" else self._path.startswith(url)
        return Item(url, label, short or label, icon, current, count, says)


def chrome(request: HttpRequest) -> dict[str, Any]:
    """Context processor: the frame, and the server's time that clocks on the page go by."""
    now = clock.now()
    person = getattr(request, "user", None)
    return {
        "now": now,
        "server_ms": int(now.timestamp() * 1000),
        "chrome": Chrome(request, person, now)
        if isinstance(person, Person) and has_both_factors(person)
        else None,
    }
