"""`python -m tests.bench`: the gateway beside OpenSSH, in one run on one machine, as a table of ratios.

Each round measures every route once, so that noise hits all alike; the medians of the rounds are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

Numbers = dict[str, dict[str, list[float]]]
MEASURES = (
    ("prompt", "connect to first prompt, p50 ms"),
    ("echo50", "keystroke round trip, p50 ms"),
    ("echo99", "keystroke round trip, p99 ms"),
    ("out", "command output, MB/s"),
    ("in", "command input, MB/s"),
    ("cpu_out", "CPU s a 100 MB, output"),
    ("cpu_in", "CPU s a 100 MB, input"),
    ("text", "text through a terminal, MB/s"),
)
RATIOS = (
    ("prompt", "OpenSSH two-hop with tlog", "<= 0.5"),
    ("prompt", "OpenSSH two-hop with script", "<= 0.5"),
    ("echo50", "OpenSSH two-hop with tlog", "<= 1.05"),
    ("echo99", "OpenSSH two-hop with tlog", "<= 1.0"),
    ("text", "OpenSSH two-hop with tlog", ">= 2.6"),
    ("text", "OpenSSH two-hop with script", ">= 1.3"),
    ("out", "OpenSSH two-hop", ">= 0.8"),
    ("in", "OpenSSH two-hop", ">= 0.8"),
    ("cpu_out", "OpenSSH two-hop", "<= 1.3"),
    ("cpu_in", "OpenSSH two-hop", "<= 1.3"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--keys", type=int, default=400)
    parser.add_argument("--json", type=Path, help="keep the raw numbers here")
    parser.add_argument(
        "--only", choices=("plea", "gateway"), help="request to shell; or the gateway beside OpenSSH"
    )
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    if options.only != "gateway":
        from tests.bench import plea

        # A code counts once and lives for 30 s: more rounds would mostly wait for codes.
        plea.table(min(options.rounds, 3))
    if options.only == "plea":
        return
    with tempfile.TemporaryDirectory(prefix="breakglass-bench-") as folder:
        numbers = run(Path(folder), options)
    show(numbers)
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1))


def run(folder: Path, options: argparse.Namespace) -> Numbers:
    from django.core.management import call_command
    from django.db import connection

    from tests.bench import routes
    from tests.gateway import house as building
    from tests.support import sshd

    say("building: database, people, an OpenSSH asset, a grant")
    call_command("migrate", verbosity=0)
    house = building.build(folder)
    house.grant(minutes=60)
    key = folder / "bench"
    (folder / "sshd" / "authorized_keys").write_text(sshd.make_key(key) + "\n")
    lines = folder / "lines"
    lines.write_text(
        "".join(f"{n:08d} a line of a log as servers write them, not too short\n" for n in range(300_000))
    )
    servers = [house.sshd]
    ways = [routes.direct(house, key)]
    for recorder in ("", "script", "tlog"):
        made = routes.two_hop(house, key, recorder)
        if made is None:
            say("tlog is missing: sudo apt-get install tlog")
            continue
        ways.append(made[0])
        servers.append(made[1])
    straight, jumped, process = routes.gateway(house, str(connection.settings_dict["NAME"]))
    ways += [straight, jumped]
    try:
        return rounds(ways, options, lines)
    finally:
        process.terminate()
        process.wait(10)
        for server in servers:
            server.stop()


def rounds(ways: list[Any], options: argparse.Namespace, lines: Path) -> Numbers:
    from tests.bench import measure

    numbers: Numbers = {way.name: {name: [] for name, _ in MEASURES} for way in ways}
    size = options.megabytes << 20
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        for way in ways:
            kept = numbers[way.name]
            for _ in range(3):
                kept["prompt"].append(measure.prompt_seconds(way) * 1000)
            echoes = measure.echo_seconds(way, options.keys)
            kept["echo50"].append(measure.median(echoes) * 1000)
            kept["echo99"].append(measure.percentile(echoes, 0.99) * 1000)
            if not way.recorded or way.name.startswith("this gateway"):
                for direction, rate in (("out", measure.out_rate), ("in", measure.in_rate)):
                    speed, cpu = rate(way, size)
                    kept[direction].append(speed)
                    kept[f"cpu_{direction}"].append(cpu)
            kept["text"].append(measure.text_rate(way, lines))
    return numbers


def show(numbers: Numbers) -> None:
    from tests.bench.measure import median

    names = list(numbers)
    width = max(len(name) for name in names)
    print(f"\n{'':{width}}  " + "  ".join(f"{name:>8}" for name, _ in MEASURES))
    for name in names:
        cells = [median(values) if values else None for values in numbers[name].values()]
        print(f"{name:{width}}  " + "  ".join(f"{cell:8.2f}" if cell else f"{'':8}" for cell in cells))
    print()
    for name, words in MEASURES:
        print(f"{name:8} {words}")
    print("\nthis gateway, recording on, as a ratio to:")
    for measure_name, other, wanted in RATIOS:
        ours, theirs = numbers["this gateway"][measure_name], numbers.get(other, {}).get(measure_name)
        if ours and theirs and median(theirs):
            ratio = median(ours) / median(theirs)
            limit = float(wanted.split()[1])
            good = ratio <= limit if wanted.startswith("<") else ratio >= limit
            print(
                f"  {measure_name:8} {other:30} {ratio:5.2f}   wanted {wanted:8} {'' if good else 'not reached'}"
            )


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
