"""Sessions end on time, whatever else is dead."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from tests.faults.shift import Seen, Shift, at_work, nothing_made_after
from tests.faults.table import Condition, Demand, Measured, Towns
from tests.faults.town import Town

ORDER = 10
BATCH = 50
A_RENEWAL = 6.5
"""Sessions are confirmed every 5 s: one confirmation at least falls into an outage that lasts so long."""
AT_THE_END = {"last byte": Demand(p99=0.5, most=1.0), "both sockets closed": Demand()}
AND_MEANWHILE = AT_THE_END | {"longest silence while it is dead": Demand(most=2.0)}
Without = Callable[[Town, int], AbstractContextManager[None]]
"""What is dead while it lasts; the number of the turn says how."""


def batches(runs: int, size: int = BATCH) -> Iterator[int]:
    while runs > 0:
        yield min(runs, size)
        runs -= size


def expiry(towns: Towns, runs: int) -> Measured:
    measured: dict[str, list[float]] = {"last byte": [], "both sockets closed": []}
    receipts: dict[str, list[float]] = {}
    town = towns.of()
    for size in batches(runs):
        with at_work(town, size) as shift:
            end = shift.end_in(3)
            seen = on_time(shift, end, measured)
            shift.books(["expired"])
            shift.refused()
            compare(seen, shift.receipts(), receipts)
    return measured | receipts


def on_time(shift: Shift, end: float, measured: dict[str, list[float]]) -> list[Seen]:
    """Wait for the end, hold what holds on any machine, and note how late it was."""
    seen = shift.until_gone()
    nothing_made_after(end, seen)
    for one in seen:
        assert one.last > end - 1, f"a session fell silent {end - one.last:.1f} s before its end"
        assert one.gone is not None
        measured["last byte"].append(one.last - end)
        measured["both sockets closed"].append(one.gone - end)
    return seen


def compare(seen: list[Seen], told: dict[str, dict[str, Any]], receipts: dict[str, list[float]]) -> None:
    """How far the receipts are from what was seen outside."""
    wall = time.time() - time.monotonic()
    for one in seen:
        receipt = told[one.label]
        outside = {
            "last_byte_at": one.last, "client_gone_at": one.person["gone"], "target_gone_at": one.asset["gone"],
        }  # fmt: skip
        for name, at in outside.items():
            if receipt[name] is not None:
                key = f"receipt's {name.removesuffix('_at').replace('_', ' ')}, off by"
                receipts.setdefault(key, []).append(abs(receipt[name] - wall - at))


def around_dead(towns: Towns, runs: int, *, kind: str, without: Without, lead: float) -> Measured:
    """The end comes while something is dead or stands still: the one and the other in turn. `lead`: for so long, about."""
    measured: dict[str, list[float]] = {"last byte": [], "both sockets closed": []}
    silences = measured["longest silence while it is dead"] = []
    town = towns.of(kind)
    for number, size in enumerate(batches(runs)):
        with at_work(town, size) as shift:
            end = shift.end_in(lead)
            town.crowd.ask("mark", numbers=shift.people)
            with without(town, number):
                time.sleep(max(0.0, end - 0.3 - time.monotonic()))
                silences += [person["longest"] for person in town.crowd.ask("look", numbers=shift.people)]
                on_time(shift, end, measured)
            shift.books(["expired"])
        town.mind()  # what was killed starts again: not while the next ones log in
    return measured


def parts_dead(*names: str) -> Without:
    """Killed, and every second time stopped: that is worse, for nobody notices. No name: all but gateway and database."""

    @contextmanager
    def dead(town: Town, number: int) -> Iterator[None]:
        chosen = [town.parts[name] for name in names] or town.around()
        for part in chosen:
            part.freeze() if number % 2 else part.die()
        try:
            yield
        finally:
            for part in chosen:
                part.live()

    return dead


@contextmanager
def database_dead(town: Town, number: int) -> Iterator[None]:
    town.office.ask("hang_up")
    (town.database.freeze if number % 2 else town.database.die)()
    try:
        yield
    finally:
        town.database.live()


@contextmanager
def all_dead(town: Town, number: int) -> Iterator[None]:
    with parts_dead()(town, number), database_dead(town, number):
        yield


def dead(
    name: str, what: str, without: Without, kind: str = "postgresql", lead: float = 3.0, few: int = 5
) -> Condition:
    measure = partial(around_dead, kind=kind, without=without, lead=lead)
    return Condition(name, what, measure, AND_MEANWHILE, few=few)


# Beat and web page alone are left to the long form: in the short one they are dead with all the others.
CONDITIONS = (
    Condition(
        "expiry",
        "normal expiry with 50 live sessions",
        expiry,
        AT_THE_END
        | {
            f"receipt's {what}, off by": Demand(p99=0.1)
            for what in ("last byte", "client gone", "target gone")
        },
    ),
    dead("redis", "expiry, Redis dead", parts_dead("valkey")),
    dead("worker", "expiry, Celery worker dead", parts_dead("worker")),
    dead("beat", "expiry, Celery beat dead", parts_dead("beat"), few=0),
    dead("web", "expiry, web page dead", parts_dead("web"), few=0),
    dead("postgresql", "expiry, database dead (PostgreSQL killed, stopped)", database_dead, lead=A_RENEWAL),
    dead("all", "expiry, all of these dead", all_dead, lead=A_RENEWAL),
    dead(
        "sqlite", "expiry, database dead (SQLite's file locked by another process)", database_dead, "sqlite"
    ),
)
