"""`make faults`: every bad day many times over, as a table. The exit code is 1 where something demanded was not kept.

--only NAME        one condition; may be given again. --list names them
--runs N           instead of what each takes by itself
--json FILE        keep every measured value, after each condition
--markdown PAGE    put the table, or what it says of each layer, between PAGE's markers; may be given again
--from FILE        measure nothing: the table of what --json kept
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults import table
from tests.faults.table import Condition, Demand, Row, Towns

TABLE = ("<!-- table: python -m tests.faults -->", "<!-- end of table -->")
LAYERS = ("<!-- layers: python -m tests.faults -->", "<!-- end of layers -->")
SHOWN = (
    ("2, all else dead: last byte after the end", "all", "last byte"),
    ("3, both bells dead: from a revocation to the last byte", "revoke-unheard", "last byte"),
    ("3, cut off from the database: the same", "revoke-cut-off", "last byte"),
    ("4: the same", "revoke", "last byte"),
    ("5: from the end until it is written down", "tasks", "from the end until it is written down"),
    ("6: from the stop to both sockets closed", "stopped-for-good", "from the stop to both sockets closed"),
)
"""What docs/operate.md tells of each layer."""


def main() -> int:
    options = _options()
    chosen = [one for one in table.conditions() if not options.only or one.name in options.only]
    if options.list:
        print("\n".join(f"{one.name:20} {one.what}" for one in chosen))
        return 0
    if options.kept:
        kept = json.loads(options.kept.read_text())
        rows = [_row(plain) for plain in kept["rows"]]
        print("\n".join((*table.HEAD, *map(table.line, rows))))
    else:
        kept = {"facts": _facts(), "rows": []}
        rows = []
        for found in _measure(chosen, options.runs):
            rows += found
            kept["rows"] = [row.plain() for row in rows]
            _keep(options.json, kept)  # now: a run that is cut off loses only the condition it is at
    for page in options.markdown or ():
        _put(page, kept["facts"], rows)
    return int(not all(row.is_kept for row in rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, action="append", metavar="PAGE")
    parser.add_argument("--from", dest="kept", type=Path, metavar="FILE")
    return parser.parse_args()


def _keep(file: Path | None, kept: dict[str, Any]) -> None:
    """In one go: whoever looks meanwhile, or ends the run, finds the one or the other whole."""
    if file is not None:
        new = file.with_name(f"{file.name}.new")
        new.write_text(json.dumps(kept, separators=(",", ":")) + "\n")
        new.replace(file)


def _measure(chosen: list[Condition], runs: int | None) -> Iterator[list[Row]]:
    """What each condition has, as soon as it was measured."""
    towns = Towns()
    print("\n".join(table.HEAD), flush=True)
    try:
        for condition in chosen:
            started = time.monotonic()
            found = table.rows_of(condition, towns, runs or condition.runs)
            print("\n".join(map(table.line, found)), flush=True)
            print(f"{condition.name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
            yield found
            if any(row.problem for row in found):
                towns.close()  # the next one begins in a town where nothing is left of this
    finally:
        towns.close()


def _row(plain: dict[str, Any]) -> Row:
    demand = Demand(**plain["demand"])
    return Row(plain["condition"], plain["measure"], plain["values"], demand, plain["problem"])


def _put(page: Path, facts: dict[str, str], rows: list[Row]) -> None:
    words = f"Measured {facts['when']} on {facts['machine']}; load {facts['load']} at the start."
    table_of_all = "\n".join((*table.HEAD, *map(table.line, rows)))
    text = page.read_text()
    for (begin, end), said in ((TABLE, table_of_all), (LAYERS, _layers(rows))):
        head, found, rest = text.partition(begin)
        if found:
            text = f"{head}{begin}\n\n{words}\n\n{said}\n\n{end}{rest.partition(end)[2]}"
    page.write_text(text)


def _layers(rows: list[Row]) -> str:
    whats = {one.name: one.what for one in table.conditions()}
    lines = ["| layer | runs | p50 | p99 | worst |", "|---|---|---|---|---|"]
    for shown, name, measure in SHOWN:
        for row in rows:
            if (row.condition, row.measure) == (whats.get(name), measure):
                lines.append(f"| {shown} | {len(row.values)} | {table.figures(row.values)} |")
    return "\n".join(lines)


def _facts() -> dict[str, str]:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = names[0].partition(":")[2].strip() if names else platform.machine()
    return {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": f"{os.cpu_count()} cores of {processor}, {platform.system()} {platform.release()}, loopback",
        "load": f"{os.getloadavg()[0]:.1f}",
    }


if __name__ == "__main__":
    sys.exit(main())
