"""A trail from before rows were kept as bytes: it is checked, converted whole, and says so; a broken one is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from breakglass.demo.place import ROOT


def _bring_up(environment: dict[str, str], *spoil: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.services.old_trail", *spoil],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_an_older_trail_is_checked_converted_and_says_so(empty_database: dict[str, str]) -> None:
    done = _bring_up(empty_database)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert told["ok"]
    assert (told["rows"], told["tag"]) == (8, "audit:trail:converted")
    assert told["data"] == {"rows": 7, "old_head": told["old_head"], "new_head": told["before"]}
    assert told["head"] == told["last"]
    assert [data["n"] for data in told["kept"]] == [1, 2, 3, 4, 5, 6, 7]
    assert told["kept"][0] == {"n": 1, "text": 'ü"\\', "list": [1, {"x": None}], "half": 0.5}


def test_a_broken_older_trail_is_left_alone(empty_database: dict[str, str]) -> None:
    on_postgresql = bool(empty_database["BREAKGLASS_DATABASE_URL"])
    trigger = "audit_no_change ON breakglass_auditevent" if on_postgresql else "audit_no_update"
    spoil = f"DROP TRIGGER {trigger}"
    done = _bring_up(empty_database, spoil, "UPDATE breakglass_auditevent SET subject = 'x' WHERE seq = 4")
    assert done.returncode == 1
    assert "broken at row 4; nothing was converted" in done.stderr
