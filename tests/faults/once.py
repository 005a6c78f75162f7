"""Ends are written down once: whichever of two grants ends, and whatever becomes of Redis and of Celery's tasks."""

from __future__ import annotations

import time

import redis

from tests.faults.ends import BATCH, batches, on_time
from tests.faults.shift import Shift, at_work, nothing_made_after
from tests.faults.table import Condition, Demand, Measured, Towns
from tests.faults.town import PEOPLE, Town

ORDER = 60
AFTERWARDS = 2.0
SILENCE = "longest silence of the one that lives"
WRITTEN = "from the end until it is written down"


def overlapping(towns: Towns, runs: int) -> Measured:
    """Two grants of one person for one asset, a session under each. Silences are counted around the first one's end."""
    measured: dict[str, list[float]] = {"last byte": [], "both sockets closed": [], SILENCE: []}
    town = towns.of()
    for pairs in batches(runs, BATCH // 2):
        holders = [number // 2 for number in range(PEOPLE)][: 2 * pairs]
        with at_work(town, 2 * pairs, who=holders) as shift:
            ending, living = shift.grants[0::2], shift.grants[1::2]
            places = [place for grant in ending for place in shift.of(grant)]
            others = [place for grant in living for place in shift.of(grant)]
            end = shift.end_in(3, ending)
            town.crowd.ask("mark", numbers=[shift.people[place] for place in others])
            seen = shift.until_gone(places=places)
            nothing_made_after(end, seen)
            for one in seen:
                measured["last byte"].append(one.last - end)
                measured["both sockets closed"].append((one.gone or 0.0) - end)
            time.sleep(max(0.0, end + AFTERWARDS - time.monotonic()))
            measured[SILENCE] += _lived(shift, others, end)
    return measured


def _lived(shift: Shift, places: list[int], end: float) -> list[float]:
    silences = []
    for place in places:
        person = shift.look()[place].person
        assert person["gone"] is None, f"the other grant's session ended too: {person['text'][-200:]}"
        assert person["last_made"] > end, "the other grant's session hears nothing any more"
        silences.append(person["longest"])
    return silences


def shuffled(towns: Towns, runs: int) -> Measured:
    """Redis is flushed, and each task comes too early, several times over, too late, and not at all."""
    measured: dict[str, list[float]] = {"last byte": [], "both sockets closed": [], WRITTEN: []}
    town = towns.of()
    for number, size in enumerate(batches(runs)):
        with at_work(town, size, grants=size) as shift:
            flush(town)
            town.office.ask("send", task="breakglass.end_grant", ids=shift.grants, times=2)
            end = shift.end_in(3)
            if number % 2:
                flush(town)  # lost: only the sweep is left
            on_time(shift, end, measured)
            many_times(shift)
            town.eventually(lambda shift=shift: _once(shift), "every grant's end is written down once")
            shift.books(["expired"])
            many_times(shift)
            town.eventually(lambda: not waiting(town), "all those tasks are done")
            time.sleep(0.5)
            assert _once(shift), "an end was written down again, or a grant lives again"
            shift.books(["expired"])
            rows = town.office.ask("written", ids=shift.grants)
            measured[WRITTEN] += [row["written_at"] - row["ends_at"] for row in rows]
    return measured


def many_times(shift: Shift) -> None:
    """Every task that could end, seal or review what is over."""
    sessions = shift.town.office.ask("session_ids", ids=shift.grants)
    for task, ids in (
        ("breakglass.end_grant", shift.grants),
        ("sessions.seal", sessions),
        ("sessions.grant_ended", shift.grants),
    ):
        shift.town.office.ask("send", task=task, ids=ids, times=2)


def _once(shift: Shift) -> bool:
    rows = shift.town.office.ask("written", ids=shift.grants)
    assert all(row["end_rows"] <= 1 for row in rows), f"ends written down twice: {rows}"
    return all(row["state"] == "expired" and row["ended_at"] == row["ends_at"] for row in rows)


def flush(town: Town) -> None:
    with redis.Redis(unix_socket_path=str(town.place.redis_socket)) as client:
        client.flushall()


def waiting(town: Town) -> int:
    """Tasks that no worker has taken yet."""
    with redis.Redis(unix_socket_path=str(town.place.redis_socket)) as client:
        return int(client.llen("breakglass"))


CONDITIONS = (
    Condition(
        "overlap",
        "two overlapping grants, one ends: the other lives",
        overlapping,
        {"last byte": Demand(p99=0.5, most=1.0), SILENCE: Demand(most=1.0)},
    ),
    Condition(
        "tasks",
        "Redis flushed; tasks duplicated, late, lost: one end, one audit row, no grant reopened",
        shuffled,
        {"last byte": Demand(p99=0.5, most=1.0), WRITTEN: Demand()},
    ),
)
