"""People at work under grants whose end is near, and what was seen of their last bytes from outside the product."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.faults.pipe import HelperFailed
from tests.faults.town import PATIENCE, PEOPLE, Gateway, Town, eventually

LABEL = re.compile(r"\bS-\d+\b")
SOON_ENOUGH = 1.0
"""So long before the end everybody must know of it, or it is moved once more."""
NOT_SOON = 540.0
"""An end that people are told of and nobody has to hurry for: how long it takes to tell them is how busy the machine is."""
ROOM = 4.0
MOST = 50.0
SAME_CLOCK = 0.05
"""Between the wall clock's end and the monotonic clock's: two readings on a busy machine are not one moment."""


@dataclass(frozen=True)
class Seen:
    """One session from outside, in CLOCK_MONOTONIC seconds. `made` is when what arrived last was sent off at the other side:
    however late a busy machine is, nothing that was made after the end may arrive."""

    person: dict[str, Any]
    asset: dict[str, Any]

    @property
    def label(self) -> str:
        """The product's own name of it, as the login's greeting has it."""
        found = LABEL.search(self.person["greeting"])
        return found[0] if found else ""

    @property
    def last(self) -> float:
        """When the last byte arrived, either way."""
        return max(self.person["last"], self.asset["heard_at"])

    @property
    def made(self) -> float:
        return max(self.person["last_made"], self.asset["heard_typed"])

    @property
    def gone(self) -> float | None:
        """When both sockets were closed; None while one is open."""
        ends = (self.person["gone"], self.asset["gone"])
        return None if None in ends else max(ends)


@dataclass
class Shift:
    """Some sessions through one gateway, some to a grant."""

    town: Town
    gateway: Gateway
    grants: list[str]
    logins: list[dict[str, Any]]
    people: list[int]

    def look(self) -> list[Seen]:
        persons = self.town.crowd.ask("look", numbers=self.people)
        assets = self.town.asset.ask("look", numbers=[person["number"] for person in persons])
        return [Seen(person, asset) for person, asset in zip(persons, assets, strict=True)]

    def of(self, grant: str) -> list[int]:
        """The places of the sessions under that grant."""
        return [place for place, login in enumerate(self.logins) if login["grant"] == grant]

    def end_in(self, seconds: float, grants: Sequence[str] | None = None) -> float:
        """Have these grants (all of them) end so soon, and wait until the gateway has told everybody. When that is, on the
        monotonic clock. A machine too busy to be told in time is given more."""
        ending = list(grants or self.grants)
        people = [self.people[place] for grant in ending for place in self.of(grant)]
        slow = self._tell(ending, people, NOT_SOON, NOT_SOON - PATIENCE)[1]
        seconds = max(seconds, SOON_ENOUGH + ROOM * slow)
        while seconds < MOST:
            end, took = self._tell(ending, people, seconds, min(SOON_ENOUGH, seconds / 3))
            if took < seconds:
                return end
            seconds *= 2
        raise AssertionError("the gateway didn't tell its people of the end of their grants")

    def _tell(
        self, grants: list[str], people: list[int], seconds: float, spare: float
    ) -> tuple[float, float]:
        """Have them end so soon. When that is, and how long it took until the gateway had told everybody: `seconds`, where
        it wasn't done so long before the end as `spare` says, or as moving it once more would take."""
        at, begun = time.time() + seconds, time.monotonic()
        self.town.office.ask("end_at", ids=grants, at=at)
        moved = time.monotonic() - begun
        words = f"at {datetime.fromtimestamp(at, UTC):%H:%M:%S} UTC"
        while (took := time.monotonic() - begun) < seconds - max(spare, 2 * moved):
            told = self.town.crowd.ask("look", numbers=people)
            if all(words in person["text"] for person in told):
                return begun + seconds, took
            if any(person["gone"] for person in told):
                raise RuntimeError("the machine is too busy: a session ended before its end could be moved")
            time.sleep(0.05)
        return begun + seconds, seconds

    def until_gone(self, seconds: float = PATIENCE, places: Sequence[int] | None = None) -> list[Seen]:
        """What was seen, once both sockets of each session are closed."""
        chosen = range(len(self.people)) if places is None else places

        def over() -> list[Seen]:
            seen = self.look()
            mine = [seen[place] for place in chosen]
            return mine if all(one.gone is not None for one in mine) else []

        return eventually(over, "all sessions are over, both sockets", seconds)

    def until_told(self, end: str, seconds: float = PATIENCE) -> list[float]:
        """When the sockets at that end of the sessions, `person` or `asset`, were closed."""

        def told() -> list[float]:
            times = [getattr(one, end)["gone"] for one in self.look()]
            return [] if None in times else times

        return eventually(told, f"every {end} is told", seconds)

    def books(self, reasons: Sequence[str], seconds: float = PATIENCE) -> dict[str, Any]:
        """The sessions' rows by label, once all have ended; each ended once, for one of these reasons."""

        def all_ended() -> dict[str, Any]:
            try:
                rows: dict[str, Any] = self.town.office.ask("ended", ids=self.grants)
            except HelperFailed:  # the database may be away for others' sake
                return {}
            return rows if all(row["state"] == "ended" for row in rows.values()) else {}

        rows = eventually(all_ended, "every session's end is in the books", seconds)
        assert len(rows) == len(self.people), f"{len(rows)} rows of {len(self.people)} sessions"
        for label, row in rows.items():
            assert row["reason"] in reasons, f"{label} ended as {row['reason']}"
            assert row["end_rows"] == 1, f"{label} has {row['end_rows']} audit rows of its end"
        return rows

    def receipts(self) -> dict[str, Any]:
        """The receipt of each session by its label, once both its sockets are in it."""

        def whole() -> dict[str, Any]:
            rows = self.town.office.ask("ended", ids=self.grants)
            found = {label: row["receipt"] for label, row in rows.items()}
            complete = all(one and one["client_gone_at"] and one["target_gone_at"] for one in found.values())
            return found if complete else {}

        return eventually(whole, "every receipt is whole")

    def refused(self, place: int = 0) -> None:
        """Nobody comes back under a grant that is over."""
        login = self.logins[place]
        why = self.town.crowd.ask("may_enter", login=login, port=self.gateway.port)
        assert why, "a session began under a grant that was over"


@contextmanager
def at_work(
    town: Town, count: int, *, grants: int = PEOPLE, gateway: Gateway | None = None, asset: str = "near",
    port: int = 0, who: Sequence[int] | None = None,
) -> Iterator[Shift]:  # fmt: skip
    """`count` sessions, half of them on terminals, half of them commands, spread over so many grants. `port`: not the
    gateway's own, but a proxy's before it. All of them have heard from the asset, and it from them."""
    chosen = (
        list(who) if who is not None else [next(town.numbers) % PEOPLE for _ in range(min(grants, count))]
    )
    given = town.office.ask("give", folder=str(town.dir), who=chosen, asset=asset)
    logins = [given[n % len(given)] | {"terminal": n // len(given) % 2 == 0} for n in range(count)]
    house = gateway or town.gateway
    try:
        people = town.crowd.ask("open", logins=logins, port=port or house.port)
    except HelperFailed as failed:
        raise AssertionError(f"{failed}\nthe gateway's last words:\n{house.part.last_words()}") from failed
    shift = Shift(town, house, [login["grant"] for login in given], logins, people)
    try:
        eventually(lambda: _all_speak(shift), "everybody hears the asset, and it hears them")
        yield shift
    finally:
        numbers = [person["number"] for person in town.crowd.ask("look", numbers=people)]
        town.crowd.ask("drop", numbers=people)
        town.asset.ask("forget", numbers=numbers)


def _all_speak(shift: Shift) -> bool:
    persons = shift.town.crowd.ask("look", numbers=shift.people)
    if not all(person["number"] for person in persons):
        ended = [person["text"] for person in persons if person["gone"] is not None]
        assert not ended, f"a session ended at its start: {ended[0]}"
        return False
    assets = shift.town.asset.ask("look", numbers=[person["number"] for person in persons])
    return all(asset["heard_at"] for asset in assets)


def nothing_made_after(end: float, seen: Sequence[Seen]) -> None:
    """Holds on the busiest machine: what was sent off after the end arrived nowhere."""
    for one in seen:
        late = one.made - end
        assert late < SAME_CLOCK, (
            f"something that was sent off {late * 1000:.0f} ms after the end was relayed"
        )
