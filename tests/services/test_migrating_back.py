"""Back to the release before and forth again, with rows that the release before had no place for."""

from __future__ import annotations

import json
import subprocess
import sys

from breakglass.demo.place import ROOT


def test_notices_without_a_person_go_and_the_others_stay(empty_database: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.services.old_notices"],
        cwd=ROOT, env=empty_database, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"old": ["Rita's"], "new": ["Rita's"], "deliveries": [["Rita's"]]}
