"""Where one can go: what this person may open, in the order in which it is needed at three in the morning."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.urls import reverse

from breakglass.domain.permissions import REVIEWERS, Verb
from breakglass.models import Person
from breakglass.web import reads
from breakglass.web.who import can, groups_of


@dataclass(frozen=True)
class Item:
    url: str
    label: str
    short: str
    icon: str
    current: bool = False
    count: int = 0
    count_says: str = ""
    alarm: bool = False
    """Whether an override is among what waits."""
    first: bool = False
    """What somebody is here for: within a thumb's reach even when nothing waits."""


@dataclass(frozen=True)
class Section:
    """Some items under one word; the first section has none."""

    title: str
    items: list[Item]


class Nav:
    """The sections for one person on one page. `waiting`: how much is in their inbox, None where they have none."""

    def __init__(self, person: Person, path: str, waiting: int | None) -> None:
        self._person = person
        self._path = path
        self._waiting = waiting

    def sections(self) -> list[Section]:
        made = [
            Section("", self._now()),
            Section("Afterwards", self._afterwards()),
            Section("The house", self._house()),
            Section("Yourself", self._self()),
        ]
        return [section for section in made if section.items]

    def _now(self) -> list[Item]:
        items = [self._item("home", "Start", "home", first=True)]
        if self._waiting is not None:
            items.append(
                self._item("inbox", "Inbox", "inbox", count=self._waiting, says="waiting", first=True)
            )
        items.append(self._item("sessions", "Sessions", "screen"))
        items.append(self._item("incidents", "Incidents", "alert"))
        items.append(self._item("playbooks", "Playbooks", "book"))
        items.append(self._item("assets", "Assets", "rack"))
        items.append(self._item("search", "Search", "search"))
        items.append(self._item("wallboard", "Wallboard", "wall"))
        return items

    def _afterwards(self) -> list[Item]:
        person, items = self._person, []
        if can(person, Verb.LIST_REVIEWS):
            items.append(self._reviews())
            items.append(self._item("findings", "Findings", "flag"))
        if can(person, Verb.SEE_TRENDS):
            items.append(self._item("trends", "Trends", "chart"))
        if can(person, Verb.SEE_AUDIT):
            items.append(self._item("audit", "Audit trail", "chain", short="Audit", first=True))
        return items

    def _reviews(self) -> Item:
        """A reviewer counts what they could sign; an auditor, who signs nothing, the overrides that nobody has judged."""
        signs = REVIEWERS in groups_of(self._person)
        due, overrides = reads.reviews_waiting_for(self._person if signs else None)
        count, says = (due, "due") if signs else (overrides, "of an override")
        if signs and overrides:
            says = f"due, {overrides} of an override"
        return self._item(
            "reviews", "Reviews", "sign", count=count, says=says, first=True, alarm=bool(overrides)
        )

    def _house(self) -> list[Item]:
        person, items = self._person, []
        if can(person, Verb.MANAGE_LOCKS):
            items.append(self._item("locks", "Locks", "lock"))
        if can(person, Verb.MANAGE_PEOPLE):
            items.append(self._item("people", "People", "person"))
        if can(person, Verb.MANAGE_KIOSKS):
            items.append(self._item("kiosks", "Wallboards", "wall"))
        if can(person, Verb.SEE_RECORDS):
            items.append(self._item("admin:index", "Records", "rack"))
        return items

    def _self(self) -> list[Item]:
        items = [self._item("profile", "Keys and factors", "key", short="Me")]
        if settings.BREAKGLASS.demo:
            items.append(self._item("mail", "Mail (demo)", "mail", short="Mail"))
        return items

    def _item(
        self,
        name: str,
        label: str,
        icon: str,
        *,
        short: str = "",
        count: int = 0,
        says: str = "",
        first: bool = False,
        alarm: bool = False,
    ) -> Item:
        url = reverse(name)
        current = self._path == url if name == "home" else self._path.startswith(url)
        return Item(url, label, short or label, icon, current, count, says, alarm, first)
