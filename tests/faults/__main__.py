"""`make faults`: each bad day several times, as a table."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

from tests.faults.days import DAYS
from tests.support import stack as stacks


def main() -> int:
    rounds = int(os.environ.get("ROUNDS", "3"))
    failed = False
    with tempfile.TemporaryDirectory(prefix="breakglass-faults-") as folder:
        stack = stacks.start(Path(folder) / "demo")
        try:
            print(f"| bad day | measured, {rounds} times | median s | worst s | promised s |")
            print("|---|---|---|---|---|")
            for day in DAYS:
                times = [day.live(stack) for _ in range(rounds)]
                failed |= max(times) > day.limit
                figures = f"{statistics.median(times):.2f} | {max(times):.2f} | {day.limit:.0f}"
                print(f"| {day.what} | {day.measures} | {figures} |", flush=True)
        finally:
            stack.stop()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
