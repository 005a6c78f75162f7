"""The gateway's wall clock is set while people work (libfaketime; the clock that nobody can set stays true)."""

from __future__ import annotations

import time
from pathlib import Path

from tests.faults.ends import batches, on_time
from tests.faults.shift import at_work
from tests.faults.table import Condition, Demand, Measured, Towns
from tests.faults.town import Gateway, Town, eventually
from tests.support.needs import libfaketime

ORDER = 30
STEPS = {"an hour back": -3600, "a day back": -86400, "an hour forward": 3600, "a day forward": 86400}
AT_ONCE = 10
"""Below libfaketime every look at a clock reads a file behind one lock: with the threads of 50 sessions a process does
little else, and its guard ends it."""
FORWARD = "forward: from the step to the last byte"

# libfaketime 0.9.10 makes every clock_nanosleep() of Python's fail with EINVAL; nothing else of it is needed here.
MENDED_SLEEP = """\
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""


class WallClock:
    """That of one gateway, set by a file."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._file = town.dir / "wall-clock"
        self.set(0)
        library = libfaketime()
        assert library is not None, "libfaketime is not installed: sudo apt-get install libfaketime"
        self.gateway: Gateway = town.gateway_apart("wall-clock", extra=self._environment(library))

    def _environment(self, library: Path) -> dict[str, str]:
        site = self._town.dir / "wall-clock-site"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(MENDED_SLEEP)
        return {
            "PYTHONPATH": f"{site}:{self._town.environment['PYTHONPATH']}",
            "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DISABLE_SHM": "1",
            # With its "fix" of monotonic waits each wait for the interpreter's lock returns at once, and the threads spin.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }  # fmt: skip

    def set(self, seconds: int) -> float:
        """So far from the true time; when it was done."""
        written = self._file.with_suffix(".new")
        written.write_text(f"{seconds:+d}\n")
        written.replace(self._file)
        return time.monotonic()

    def said(self) -> int:
        """How often the gateway's log has told of a clock that was set."""
        log = self.gateway.part.log.read_text(errors="replace")
        return sum("clock" in line for line in log.splitlines())


def stepped(towns: Towns, runs: int) -> Measured:
    town = towns.of()
    clock = WallClock(town)
    measured: dict[str, list[float]] = {"last byte": [], "both sockets closed": [], FORWARD: []}
    try:
        steps = list(STEPS.values())[:: 1 if runs >= len(STEPS) else 3]
        for step in steps:
            for size in batches(-(-runs // len(steps)), AT_ONCE):
                (_forward if step > 0 else _backward)(town, clock, step, size, measured)
    finally:
        town.close(clock.gateway)
    return measured


def _backward(town: Town, clock: WallClock, step: int, size: int, measured: dict[str, list[float]]) -> None:
    with at_work(town, size, gateway=clock.gateway) as shift:
        end = shift.end_in(3)
        before = clock.said()
        clock.set(step)
        try:
            on_time(shift, end, measured)
            eventually(lambda: clock.said() > before, "the step is in the gateway's log")
            shift.books(["expired"])
        finally:
            clock.set(0)


def _forward(town: Town, clock: WallClock, step: int, size: int, measured: dict[str, list[float]]) -> None:
    with at_work(town, size, gateway=clock.gateway) as shift:
        before = clock.said()
        at = clock.set(step)
        try:
            for one in shift.until_gone():
                measured[FORWARD].append(one.last - at)
            eventually(lambda: clock.said() > before, "the step is in the gateway's log")
            shift.books(["expired"])
        finally:
            clock.set(0)


CONDITIONS = (
    Condition(
        "clock",
        "wall clock stepped by an hour and a day, either way",
        stepped,
        {"last byte": Demand(p99=0.5, most=1.0), FORWARD: Demand(most=1.0)},
        few=2,
    ),
)
