"""What is demanded of a bad day, what was measured, and both as a table.

A condition lives in a module of tests/faults that has a tuple CONDITIONS; it is found there by itself. To add one:

    from tests.faults.table import Condition, Demand, Towns

    def full(towns: Towns, runs: int) -> dict[str, list[float]]:
        return {"end of the session": [seconds, ...]}      # a value a run; a broken promise is an AssertionError

    CONDITIONS = (Condition("disk", "disk full", full, {"end of the session": Demand(most=1.0)}, runs=20, few=2),)

`make faults` measures `runs` of it, `make test` `few`. `towns.of("postgresql")` is the running installation, started when it is
first asked for; a condition that needs none leaves it alone.
"""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.faults import town as building
from tests.faults.pipe import HelperFailed
from tests.faults.town import Town

Measured = Mapping[str, list[float]]


@dataclass(frozen=True)
class Demand:
    """In seconds. None: it is told, nothing is demanded of it."""

    p99: float | None = None
    most: float | None = None

    def is_met(self, values: Sequence[float], slack: float = 1.0) -> bool:
        return (self.p99 is None or percentile(values, 0.99) <= self.p99 * slack) and (
            self.most is None or max(values) <= self.most * slack
        )

    def __str__(self) -> str:
        words = [f"p99 <= {_ms(self.p99)}"] if self.p99 is not None else []
        return ", ".join(words + ([f"all <= {_ms(self.most)}"] if self.most is not None else []))


class Towns:
    """The installations of this run, each started once, when it is first needed."""

    def __init__(self) -> None:
        self._towns: dict[str, Town] = {}

    def of(self, kind: str = "postgresql") -> Town:
        if kind not in self._towns:
            self._towns[kind] = building.found(kind)
        return self._towns[kind]

    def close(self, kind: str | None = None) -> None:
        for name in [kind] if kind else list(self._towns):
            if name in self._towns:
                self._towns.pop(name).stop()


@dataclass(frozen=True)
class Condition:
    """One bad day: a line of the table for each thing that is measured, with what is demanded of it. `few` is for tests."""

    name: str
    what: str
    measure: Callable[[Towns, int], Measured]
    demands: Mapping[str, Demand]
    runs: int = 200
    few: int = 5


@dataclass(frozen=True)
class Row:
    """One thing that was measured. `problem`: what was broken instead."""

    condition: str
    measure: str
    values: list[float] = field(default_factory=list)
    demand: Demand = Demand()
    problem: str = ""

    @property
    def is_kept(self) -> bool:
        return not self.problem and bool(self.values) and self.demand.is_met(self.values)

    def plain(self) -> dict[str, Any]:
        return {
            "condition": self.condition, "measure": self.measure, "values": [round(value, 6) for value in self.values],
            "demand": asdict(self.demand), "kept": self.is_kept, "problem": self.problem,
        }  # fmt: skip


def conditions() -> list[Condition]:
    """All that the modules beside this one have, in the order of each module's ORDER, then of its name."""
    import tests.faults as package

    modules = [
        importlib.import_module(f"{package.__name__}.{found.name}")
        for found in pkgutil.iter_modules(package.__path__)
        if not found.name.startswith(("test_", "__"))
        and found.name not in {"office", "asset", "crowd"}  # programs
    ]
    modules.sort(key=lambda module: (getattr(module, "ORDER", 100), module.__name__))
    return [condition for module in modules for condition in getattr(module, "CONDITIONS", ())]


def rows_of(condition: Condition, towns: Towns, runs: int) -> list[Row]:
    """Measure it. A broken promise is a row too, and so is what couldn't be measured."""
    try:
        measured = condition.measure(towns, runs)
    except AssertionError as broken:
        return [Row(condition.what, "", problem=_words(broken) or "a promise was broken")]
    except (HelperFailed, RuntimeError, OSError, subprocess.SubprocessError) as failed:
        return [Row(condition.what, "", problem=f"not measured: {_words(failed)}")]
    rows = []
    for measure, values in measured.items():
        demand = condition.demands.get(measure, Demand())
        rows.append(Row(condition.what, measure, values, demand))
    missing = condition.demands.keys() - measured.keys()
    return rows + [Row(condition.what, measure, problem="was not measured") for measure in sorted(missing)]


def _words(error: BaseException) -> str:
    """In one line of a table; the whole of it is on the screen."""
    traceback.print_exception(error)
    return " ".join(str(error).split()).replace("|", "/")[:300]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least that share of them doesn't exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * round(share * 1000) // 1000)
    return ordered[max(0, rank - 1)]


HEAD = (
    "| condition | measured | runs | demanded | p50 | p99 | worst | kept |",
    "|---|---|---|---|---|---|---|---|",
)


def line(row: Row) -> str:
    if row.problem or not row.values:
        return f"| {row.condition} | {row.measure} | | {row.demand} | | | {row.problem} | **no** |"
    kept = "" if not str(row.demand) else "yes" if row.is_kept else "**no**"
    return f"| {row.condition} | {row.measure} | {len(row.values)} | {row.demand} | {figures(row.values)} | {kept} |"


def figures(values: Sequence[float]) -> str:
    """Median, 99th percentile and the worst, as three cells."""
    return " | ".join(map(_ms, (percentile(values, 0.5), percentile(values, 0.99), max(values))))


def _ms(seconds: float | None) -> str:
    """Milliseconds below ten seconds, seconds above."""
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f} ms" if abs(seconds) < 10 else f"{seconds:.1f} s"
