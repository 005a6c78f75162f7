"""How long a login takes, and how much memory the gateway does, while strangers of the very same address flood it.

A program of its own: `python -m tests.bench.attack [--json FILE]`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

Numbers = dict[str, Any]


def measured(folder: Path, rounds: int) -> Numbers:
    """Seconds of each login, without and under attack, and bytes of memory. Django is set up."""
    from django.core.management import call_command
    from django.db import connection

    from sessions.gateway.hostkey import public_line
    from tests.gateway import house as building
    from tests.gateway import process
    from tests.gateway.flood import Flood

    call_command("migrate", verbosity=0)
    house = building.build(folder)
    house.grant()
    child, port = process.start(str(connection.settings_dict["NAME"]), usual_limits=True)
    house.elsewhere = port
    (house.dir / "known_hosts").write_text(f"[127.0.0.1]:{port} {public_line()}\n")
    try:
        quiet, _ = _logins(house, child.pid, rounds)
        before, flood = _rss(child.pid), Flood(port)
        try:
            under, most = _logins(house, child.pid, rounds)
        finally:
            tries = flood.stop()
    finally:
        child.kill()
        child.wait()
        house.sshd.stop()
    return {"quiet": quiet, "under": under, "growth": most - before, "tries": tries}


def table(numbers: Numbers) -> str:
    quiet, under = numbers["quiet"], numbers["under"]
    return "\n".join(
        (
            "| login from the flooding address itself | median s | worst s | promised s |",
            "|---|---|---|---|",
            f"| no attack | {median(quiet):.2f} | {max(quiet):.2f} | |",
            f"| 500 idle sockets, 10 huge packets, 30 slow handshakes | {median(under):.2f} | {max(under):.2f} | 3 |",
            "",
            f"The gateway grew by {numbers['growth'] / 1e6:.1f} MB (promised: 20); {numbers['tries']} connections "
            "were tried.",
        )
    )


def _logins(house: Any, pid: int, rounds: int) -> tuple[list[float], int]:
    """The seconds of each, and the most memory that the gateway had."""
    taken, most = [], 0
    for _ in range(rounds):
        started = time.monotonic()
        done = house.run("true", timeout=120)
        taken.append(time.monotonic() - started)
        assert done.returncode == 0, done.stderr
        most = max(most, _rss(pid))
    return taken, most


def _rss(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.attack", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    with tempfile.TemporaryDirectory(prefix="breakglass-attack-") as folder:
        numbers = measured(Path(folder), options.rounds)
    print(table(numbers))
    if options.json:
        options.json.write_text(json.dumps(numbers))


if __name__ == "__main__":
    main()
