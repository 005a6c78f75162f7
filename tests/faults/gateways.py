"""The gateway itself stands still, or dies."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

from tests.faults.shift import Shift, at_work, nothing_made_after
from tests.faults.table import Condition, Demand, Measured, Towns
from tests.faults.town import Gateway

ORDER = 40
STOPPED = 2.0
TO_THE_FAULT = 5
AFTER_WAKING = "from waking to the last byte"
BY_THE_GUARD = "from the stop to both sockets closed"
SOCKETS = "from the kill to both sockets closed"
RECOVERED = "from the kill to the recording recovered"


def a_few(runs: int) -> Iterator[int]:
    """The fault hits all sessions of the process at once: so several of it, with a few sessions each."""
    while runs > 0:
        yield min(runs, TO_THE_FAULT)
        runs -= TO_THE_FAULT


def stopped(towns: Towns, runs: int) -> Measured:
    """For 2 s across the end: too short for the guard."""
    measured: dict[str, list[float]] = {AFTER_WAKING: [], "from waking to both sockets closed": []}
    town = towns.of()
    for size in a_few(runs):
        with at_work(town, size, grants=1) as shift:
            serving = town.gateway.serving()
            end = shift.end_in(3)
            time.sleep(max(0.0, end - STOPPED / 2 - time.monotonic()))
            town.gateway.part.send(signal.SIGSTOP, serving)
            try:
                time.sleep(max(0.0, end + STOPPED / 2 - time.monotonic()))
            finally:
                woke = time.monotonic()
                town.gateway.part.send(signal.SIGCONT, serving)
            seen = shift.until_gone()
            nothing_made_after(end, seen)
            for one in seen:
                assert one.gone is not None
                measured[AFTER_WAKING].append(one.last - woke)
                measured["from waking to both sockets closed"].append(one.gone - woke)
            shift.books(["expired"])
    return measured


def stopped_for_good(towns: Towns, runs: int) -> Measured:
    """It never wakes: whoever guards it ends its sessions."""
    measured: dict[str, list[float]] = {BY_THE_GUARD: []}
    town = towns.of()
    for size in a_few(runs):
        with at_work(town, size, grants=1) as shift:
            serving = town.gateway.serving()
            at = time.monotonic()
            town.gateway.part.send(signal.SIGSTOP, serving)
            try:
                for one in shift.until_gone():
                    assert one.gone is not None
                    measured[BY_THE_GUARD].append(one.gone - at)
            finally:
                town.gateway.part.send(signal.SIGCONT, serving)
            up_again(town.gateway)
            shift.books(["crashed", "gateway_stopped", "lease_lost", "expired"])
    return measured


def killed(towns: Towns, runs: int) -> Measured:
    """The whole gateway at once and started again by hand; every second time only who holds the sessions."""
    measured: dict[str, list[float]] = {SOCKETS: [], RECOVERED: []}
    town = towns.of()
    for number, size in enumerate(a_few(runs)):
        with at_work(town, size, grants=1) as shift:
            at = kill(town.gateway, whole=number % 2 == 0)
            for one in shift.until_gone():
                assert one.gone is not None
                measured[SOCKETS].append(one.gone - at)
            up_again(town.gateway)
            measured[RECOVERED] += [until_recovered(shift) - at] * size
            shift.books(["crashed"])
            last = [one.last for one in shift.look()]
            time.sleep(1)
            assert last == [one.last for one in shift.look()], "a killed gateway's session went on"
    return measured


def kill(gateway: Gateway, *, whole: bool) -> float:
    at = time.monotonic()
    if whole:
        gateway.part.die()
    else:
        gateway.part.send(signal.SIGKILL, gateway.serving())
    return at


def up_again(gateway: Gateway) -> None:
    if not gateway.part.pids:
        gateway.part.start()
    gateway.part.await_up()


def until_recovered(shift: Shift) -> float:
    def recovered() -> bool:
        states = shift.town.office.ask("recordings", ids=shift.grants)
        return bool(states) and all(state == "recovered" for state in states)

    shift.town.eventually(recovered, "the recordings are recovered")
    return time.monotonic()


CONDITIONS = (
    Condition(
        "stopped",
        "gateway stopped (SIGSTOP) across the end",
        stopped,
        {AFTER_WAKING: Demand(most=1.0), "from waking to both sockets closed": Demand(most=1.0)},
        runs=20,
    ),
    Condition(
        "stopped-for-good",
        "gateway stopped (SIGSTOP) and never woken: its guard",
        stopped_for_good,
        {BY_THE_GUARD: Demand(most=6.0)},
        runs=20,
        few=2,
    ),
    Condition(
        "killed",
        "gateway killed (SIGKILL) and started again",
        killed,
        {SOCKETS: Demand(most=1.0), RECOVERED: Demand(most=10.0)},
        runs=20,
    ),
)
