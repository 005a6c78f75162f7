"""A run of `make faults` takes an hour: what was measured so far is kept when it is cut off."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.faults import __main__ as program
from tests.faults import table
from tests.faults.table import Condition, Demand, Measured, Towns


def test_a_run_that_is_cut_off_has_kept_what_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(towns: Towns, runs: int) -> Measured:
        return {"the end": [0.5] * runs}

    def cut_off(towns: Towns, runs: int) -> Measured:
        raise KeyboardInterrupt

    demands = {"the end": Demand(most=1.0)}
    short = [Condition("one", "one day", measured, demands), Condition("two", "two days", cut_off, demands)]
    monkeypatch.setattr(table, "conditions", lambda: short)
    kept = tmp_path / "kept.json"
    monkeypatch.setattr(sys, "argv", ["faults", "--runs", "3", "--json", str(kept)])

    with pytest.raises(KeyboardInterrupt):
        program.main()

    rows = json.loads(kept.read_text())["rows"]
    assert [(row["condition"], row["values"]) for row in rows] == [("one day", [0.5, 0.5, 0.5])]
