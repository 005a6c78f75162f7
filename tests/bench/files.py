"""`python -m tests.bench.files`: files by stock sftp, decoded and hashed by the gateway, beside OpenSSH in the same run."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MB = 1_000_000
DIRECTIONS = ("put", "get")


@contextmanager
def client(route: Any, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Stock sftp, connected by that way, taking commands on its standard input."""
    wrapper = folder / "ssh-by-route"
    wrapper.write_text(f"#!/bin/sh\nexec {shlex.join([*route.command(), '-s', 'sftp'])}\n")
    wrapper.chmod(0o755)
    child = subprocess.Popen(
        ["sftp", "-q", "-b", "-", "-S", str(wrapper), "ignored@ignored"],
        env=route.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield child
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait(30)


def until(child: subprocess.Popen[bytes], command: str, word: str) -> float:
    """Seconds that the command took."""
    assert child.stdin is not None and child.stdout is not None
    started = time.perf_counter()
    child.stdin.write(f"{command}\n!echo {word}\n".encode())
    child.stdin.flush()
    while line := child.stdout.readline():
        if line.strip() == word.encode():
            return time.perf_counter() - started
    raise RuntimeError(f"sftp ended before {word}")


def rates(route: Any, folder: Path, size: int) -> dict[str, tuple[float, float]]:
    """MB/s and CPU seconds a 100 MB of the processes in between, for put and get."""
    here = folder / "moved"
    if not here.exists() or here.stat().st_size != size:
        here.write_bytes(os.urandom(size))
    found = {}
    with client(route, folder) as child:
        until(child, "pwd", "up")
        for direction in DIRECTIONS:
            before = route.cpu() if route.cpu else 0.0
            took = until(child, f"{direction} {here} {folder}/back", direction + "-done")
            cpu = (route.cpu() - before) / (size / 100 / MB) if route.cpu else 0.0
            found[direction] = (size / MB / took, cpu)
            assert (folder / "back").stat().st_size == size
            (folder / "back").unlink()
    return found


def two_hop(house: Any, key: Path) -> tuple[Any, Any]:
    """OpenSSH that forces a second ssh with the same subsystem: what a shop would build."""
    from tests.bench import routes
    from tests.support import sshd

    folder = house.dir / "hop-sftp"
    folder.mkdir()
    inner = (
        f"ssh {' '.join(routes.COMMON)} -i {key} -o UserKnownHostsFile={house.dir}/known-asset -p {house.sshd.port} "
        f"-l {house.sshd.login} -s 127.0.0.1 sftp"
    )
    (folder / "hop").write_text(f"#!/bin/sh\nexec {inner}\n")
    (folder / "hop").chmod(0o755)
    server = sshd.start(
        folder, authorized_keys=Path(f"{key}.pub").read_text(), extra=f"ForceCommand {folder}/hop\n"
    )
    known = folder / "known"
    known.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
    command = routes.client(key, known, server.port, server.login)
    return routes.Route(
        "OpenSSH two-hop", command, routes.plain_environment, cpu=lambda: _tree_cpu(server)
    ), server


def _tree_cpu(server: Any) -> float:
    """CPU seconds of sshd and of what it started, as long as they live: asked while the connection is open."""
    from tests.bench import routes
    from tests.support import sshd

    found = 0.0
    for pid in [server.process.pid, *sshd.descendants(server.process.pid)]:
        try:
            found += routes.cpu_of(pid, children=True)
        except OSError:
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.files", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--json", type=Path, help="keep the raw numbers here")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="breakglass-bench-", dir=place) as folder:
        numbers = run(Path(folder), options.rounds, options.megabytes * MB)
    show(numbers)
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1))


def run(folder: Path, rounds: int, size: int) -> dict[str, dict[str, list[float]]]:
    from django.core.management import call_command
    from django.db import connection

    from tests.bench import routes
    from tests.gateway import house as building
    from tests.support import sshd

    call_command("migrate", verbosity=0)
    house = building.build(folder)
    house.grant(minutes=60, channels=["shell", "exec", "sftp"])
    key = folder / "bench"
    (folder / "sshd" / "authorized_keys").write_text(sshd.make_key(key) + "\n")
    direct = routes.direct(house, key)
    hop, server = two_hop(house, key)
    straight, jumped, process = routes.gateway(house, str(connection.settings_dict["NAME"]))
    ways = [direct, hop, straight, jumped]
    numbers: dict[str, dict[str, list[float]]] = {
        way.name: {f"{kind}{name}": [] for name in DIRECTIONS for kind in ("", "cpu_")} for way in ways
    }
    try:
        for _ in range(rounds):
            for way in ways:
                for name, (rate, cpu) in rates(way, folder, size).items():
                    numbers[way.name][name].append(rate)
                    numbers[way.name][f"cpu_{name}"].append(cpu)
    finally:
        process.terminate()
        process.wait(10)
        server.stop()
        house.sshd.stop()
    return numbers


def show(numbers: dict[str, dict[str, list[float]]]) -> None:
    from tests.bench.measure import median

    print(f"{'':20} {'put MB/s':>9} {'get MB/s':>9} {'CPU s put':>9} {'CPU s get':>9}   (CPU a 100 MB)")
    found = {name: {what: median(values) for what, values in kept.items()} for name, kept in numbers.items()}
    for name, kept in found.items():
        print(
            f"{name:20} {kept['put']:9.0f} {kept['get']:9.0f} {kept['cpu_put']:9.2f} {kept['cpu_get']:9.2f}"
        )
    for ours in ("this gateway", "this gateway, -J"):
        for name in DIRECTIONS:
            ratio = found[ours][name] / found["OpenSSH two-hop"][name]
            print(f"{ours}: {name} to the two-hop {ratio:.2f} (wanted >= 0.8)")


if __name__ == "__main__":
    main()
