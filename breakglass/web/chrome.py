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
from breakglass.models import Person
from breakglass.services import override
from breakglass.space import RECORDINGS, shortage
from breakglass.web import alarms, reads
from breakglass.web.nav import Item, Nav, Section
from breakglass.web.who import groups_of, has_both_factors

THUMBS = 4


@dataclass(frozen=True)
class LiveGrant:
    url: str
    assets: str
    playbook: str
    ends_at: datetime | None


class Chrome:
    """Computed when a template asks, so that fragments don't pay for it."""

    def __init__(self, request: HttpRequest, person: Person, now: datetime) -> None:
        self._request = request
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
    def oversees(self) -> bool:
        """Whether a notice of overrides that run belongs on this person's pages."""
        return bool(groups_of(self._person) & alarms.OVERSEE) or self.approves

    @cached_property
    def alarms(self) -> str:
        return alarms.shown(self._request, self._person, self._now)

    @cached_property
    def nav(self) -> list[Section]:
        waiting = len(override.waits_for(self._person, self._now)) if self.approves else None
        return Nav(self._person, self._path, waiting).sections()

    @cached_property
    def thumbs(self) -> list[Item]:
        """What a thumb reaches: what waits for this person first."""
        every = [item for section in self.nav for item in section.items]
        first = sorted(every, key=lambda item: not item.count and not item.first)
        return sorted(first[:THUMBS], key=every.index)


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
