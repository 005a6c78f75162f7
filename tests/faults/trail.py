"""Somebody who owns the database edits the audit trail, and a notary under whose eyes it is done."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from breakglass.demo.place import ROOT
from tests.faults.table import Condition, Demand, Measured, Towns
from tests.support import installation
from tests.support.postgresql import Cluster

ORDER = 90
NAMED = "verify_audit names it"
REFUSED = "the notary stops signing and says so"
PATIENCE = 60.0


def edited(towns: Towns, runs: int) -> Measured:
    """Every edit on both databases: update, delete, insert, cut, truncate, write anew with head, checkpoints and signature."""
    del towns
    took: dict[str, list[float]] = defaultdict(list)
    for _ in range(runs):
        for kind in ("sqlite", "postgresql"):
            with house(kind) as (folder, environment):
                done = subprocess.run(
                    [sys.executable, "-m", "tests.faults.vandal", str(folder)],
                    cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
                )  # fmt: skip
                assert done.returncode == 0, f"{kind}: {done.stderr.strip().splitlines()[-12:]}"
                took[NAMED] += json.loads(done.stdout.splitlines()[-1]).values()
    return took


def under_its_eyes(towns: Towns, runs: int) -> Measured:
    """The trail is written anew while a notary runs: nothing more is signed, and the process ends with its code."""
    del towns
    return {REFUSED: [_one_rewrite() for _ in range(runs)]}


def _one_rewrite() -> float:
    with house("sqlite") as (folder, environment):
        manage(environment, "migrate", "-v0")
        manage(environment, "make_notary_key", str(folder / "key"))
        notary = subprocess.Popen(
            [sys.executable, "manage.py", "run_notary", "--key-file", str(folder / "key"), "--poll", "0.2",
             "--anchors", f"file://{folder / 'anchor'}"],
            cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            _until(lambda: (folder / "anchor").exists() and (folder / "anchor").stat().st_size > 0)
            signed = (folder / "anchor").read_text()
            with sqlite3.connect(folder / "data" / "breakglass.sqlite3", timeout=PATIENCE) as database:
                for (name,) in database.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'trigger'"
                ).fetchall():
                    database.execute(f"DROP TRIGGER {name}")
                database.execute("DELETE FROM breakglass_auditevent")
                database.execute("UPDATE breakglass_audithead SET seq = 0, hash = zeroblob(32)")
            database.close()
            begun = time.monotonic()
            _, said = notary.communicate(timeout=PATIENCE)
            took = time.monotonic() - begun
        finally:
            notary.kill()
            notary.wait()
        assert notary.returncode == 3, f"the notary ended with {notary.returncode}: {said[-500:]}"
        assert "CONTRADICTED" in said
        assert (folder / "anchor").read_text() == signed, "it signed something more"
        return took


def manage(environment: dict[str, str], *words: str) -> None:
    subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=environment, check=True, capture_output=True
    )


def _until(good: object) -> None:
    assert callable(good)
    deadline = time.monotonic() + PATIENCE
    while not good():
        assert time.monotonic() < deadline, "the notary signed nothing"
        time.sleep(0.05)


@contextmanager
def house(kind: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """An installation without a row, and the environment of its processes."""
    with tempfile.TemporaryDirectory(prefix="breakglass-trail-") as name:
        cluster = Cluster.start() if kind == "postgresql" else None
        try:
            own = installation.settings_in(Path(name), database_url=cluster.url if cluster else "")
            kept = {key: value for key, value in os.environ.items() if not key.startswith("BREAKGLASS_")}
            yield (
                Path(name),
                kept | own | {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)},
            )
        finally:
            if cluster:
                cluster.stop()


CONDITIONS = (
    Condition("superuser", "a superuser edits the audit trail, 13 ways, SQLite and PostgreSQL", edited, {NAMED: Demand()}, runs=5, few=1),
    Condition("notary", "the trail is emptied under a running notary", under_its_eyes, {REFUSED: Demand(most=5.0)}, runs=20, few=1),
)  # fmt: skip
