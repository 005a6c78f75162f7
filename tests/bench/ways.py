"""The gateway beside OpenSSH on one machine: all ways to one asset, measured in alternating rounds."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from django.core.management import call_command
from django.db import connection

from tests.bench import measure, routes
from tests.bench.announce import say
from tests.bench.routes import Route
from tests.bench.table import Numbers
from tests.gateway import house as building
from tests.support import sshd

LINES = 300_000
PROMPTS = 3


def run(folder: Path, *, rounds: int, megabytes: int, keys: int) -> Numbers:
    """Build the house and its ways, then measure each way once a round, so that noise hits all alike."""
    say("building: database, people, an OpenSSH asset, a grant")
    call_command("migrate", verbosity=0)
    house = building.build(folder)
    with ExitStack() as stack:
        stack.callback(house.sshd.stop)
        house.grant(minutes=60)
        key = folder / "bench"
        (folder / "sshd" / "authorized_keys").write_text(sshd.make_key(key) + "\n")
        text = folder / "lines"
        text.write_text(
            "".join(f"{n:08d} a line of a log as servers write them, not too short\n" for n in range(LINES))
        )
        ways = [routes.direct(house, key), *_hops(house, key, stack)]
        straight, jumped, process = routes.gateway(house, str(connection.settings_dict["NAME"]))
        stack.callback(process.wait, 15)
        stack.callback(process.terminate)
        ways += [straight, jumped]
        numbers: Numbers = {way.name: {} for way in ways}
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            one_round(ways, numbers, megabytes << 20, keys, text)
        return numbers


def _hops(house: building.House, key: Path, stack: ExitStack) -> list[Route]:
    found = []
    made = [routes.proxy_jump(house, key), *(routes.two_hop(house, key, by) for by in ("", "script", "tlog"))]
    for pair in made:
        if pair is None:
            say("tlog is missing: sudo apt-get install tlog")
            continue
        found.append(pair[0])
        stack.callback(pair[1].stop)
    return found


def one_round(ways: list[Route], numbers: Numbers, size: int, keys: int, text: Path) -> None:
    for _ in range(PROMPTS):
        for way in ways:
            keep(numbers, way, "prompt", measure.prompt_seconds(way) * 1000)
    for name, echoes in measure.echo_seconds(ways, keys).items():
        numbers[name].setdefault("echo", []).extend(round(seconds * 1000, 4) for seconds in echoes)
    for way in ways:
        if not way.recorded or way.name.startswith("this gateway"):
            for direction, rate in (("out", measure.out_rate), ("in", measure.in_rate)):
                speed, cpu = rate(way, size)
                keep(numbers, way, direction, speed)
                if way.cpu is not None:
                    keep(numbers, way, f"cpu_{direction}", cpu)
    for way in ways:
        keep(numbers, way, "text", measure.text_rate(way, text))


def keep(numbers: Numbers, way: Route, name: str, found: float) -> None:
    numbers[way.name].setdefault(name, []).append(round(found, 4))
