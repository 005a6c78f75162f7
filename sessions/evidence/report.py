"""The readable report, before it is HTML or PDF: both draw this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sessions.evidence.case import Case
from sessions.evidence.standards import Line
from sessions.evidence.timeline import Picture
from sessions.evidence.trail import Trail

Mood = Literal["live", "wait", "stop"]


@dataclass(frozen=True)
class Fact:
    """A question that a reader has, the answer, and what is beside it."""

    asks: str
    says: str
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    shares: tuple[float, ...]
    mono: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Section:
    title: str
    says: tuple[str, ...] = ()
    table: Table | None = None
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """`alarms` are said loudly on the first page."""

    title: str
    under: str
    mood: Mood
    verdict: str
    facts: tuple[Fact, ...]
    picture: Picture
    alarms: tuple[str, ...]
    sections: tuple[Section, ...]
    foot: str


@dataclass(frozen=True)
class Contents:
    """What the report is made from. `recordings` is what recordings.json says, `commands` what commands.json does."""

    case: Case
    trail: Trail
    standards: list[Line]
    recordings: list[dict[str, Any]]
    commands: list[dict[str, Any]]
    alarms: list[str]
    cannot_show: list[str]
    house: str
    made_by: str
    key: str
