"""Crowds: hundreds of live recorded sessions with a key a second each; and one keystroke beside bulk streams."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breakglass import clock
from breakglass.models import Asset
from breakglass.services import certificates, credentials
from sessions.gateway.hostkey import public_line
from tests.bench.measure import echo_seconds, median, percentile
from tests.bench.routes import Route, client
from tests.gateway import process
from tests.gateway.house import House, Human
from tests.support import sshd

ROOT = Path(__file__).resolve().parents[2]
SIZES = (500, 1000)
KEYS_SECONDS = 20
IDLE_SECONDS = 10
WARM = 20
WANTED = {500: 5.0, 1000: 12.0}
WANTED_KB = 150.0
WANTED_BESIDE = 10.0


@dataclass(frozen=True)
class Weighed:
    """What the gateway's processes hold together: bytes that are theirs alone or shared, CPU seconds, threads."""

    bytes: int
    cpu: float
    threads: int


def weigh(parent: int) -> Weighed:
    pids = (parent, *sshd.descendants(parent))
    memory = threads = 0
    cpu = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            memory += 1024 * next(
                int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")
            )
            threads += len(os.listdir(f"/proc/{pid}/task"))
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            cpu += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return Weighed(memory, cpu, threads)


class People:
    """The crowd's process, and what it answers."""

    def __init__(self, port: int, user: str, key: Path, certificate: str = "") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.crowd_client", str(port), user, str(key), certificate],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True,
        )  # fmt: skip

    def ask(self, what: str, number: float) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{what} {number}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the crowd's process has ended; its last words are above")
        return dict(json.loads(line))

    def go(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def echo_asset(house: House) -> Iterator[None]:
    """The house's asset is the cheap one while this lasts."""
    ca = house.dir / "crowd-ca"
    ca.write_text(
        f"cert-authority {credentials.user_ca_public_key()}\n{(house.dir / 'bench.pub').read_text()}"
    )
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.crowd_asset", str(house.sshd.dir / "host_key"), str(ca)],
        stdout=subprocess.PIPE, cwd=ROOT, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    port = int(server.stdout.readline())
    Asset.objects.filter(pk=house.asset.pk).update(port=port)
    try:
        yield
    finally:
        Asset.objects.filter(pk=house.asset.pk).update(port=house.sshd.port)
        server.kill()
        server.wait()


def certified(house: House, human: Human) -> str:
    """A certificate of the broker's: a crowd of one person can't type a code each."""
    grant = human.person.grants.latest("issued_at")
    line = Path(f"{human.key}.pub").read_text()
    issued = certificates.issue(human.person, grant.pk, line, human.code(), clock.now())
    path = house.dir / "crowd-cert.pub"
    path.write_text(issued.line + "\n")
    return str(path)


def crowds(
    house: House, database: str, processes: int, sizes: tuple[int, ...] = SIZES
) -> list[dict[str, Any]]:
    """One row a size, and one for the same crowd without a gateway: what the measuring itself takes."""
    rows = []
    with echo_asset(house):
        asset = Asset.objects.get(pk=house.asset.pk)
        straight = People(asset.port, house.sshd.login, house.dir / "bench")
        try:
            straight.ask("open", sizes[-1])
            rows.append(
                {"size": sizes[-1], "way": "no gateway"} | _figures(straight.ask("keys", KEYS_SECONDS / 2))
            )
        finally:
            straight.go()
        gateway, port = process.start(database, processes=processes)
        people = People(port, "rita+hist-01", house.rita.key, certified(house, house.rita))
        try:
            people.ask("open", WARM)
            base = weigh(gateway.pid)
            for size in sizes:
                rows.append(
                    {"size": size, "way": f"{processes} processes"} | _row(people, gateway.pid, base, size)
                )
                say(f"  {rows[-1]}")
        finally:
            people.go()
            gateway.terminate()
            gateway.wait(60)
    return rows


def _row(people: People, pid: int, base: Weighed, size: int) -> dict[str, Any]:
    before = weigh(pid)
    opened = people.ask("open", size)
    now = weigh(pid)
    row: dict[str, Any] = {"login_cpu": (now.cpu - before.cpu) / max(1, len(opened["logins"]))}
    row |= {"login_p50": median(opened["logins"]) * 1000, "opened_in": opened["seconds"]}
    time.sleep(3)
    quiet = weigh(pid)
    time.sleep(IDLE_SECONDS)
    still = weigh(pid)
    row["idle_cpu"] = (still.cpu - quiet.cpu) / IDLE_SECONDS
    row |= _figures(people.ask("keys", KEYS_SECONDS))
    after = weigh(pid)
    row["keys_cpu"] = (after.cpu - still.cpu) / KEYS_SECONDS
    row["kb"] = (after.bytes - base.bytes) / 1000 / (size - WARM)
    row["threads"] = (after.threads - base.threads) / (size - WARM)
    return row


def _figures(answer: dict[str, Any]) -> dict[str, Any]:
    took = answer["took"]
    return {
        "p50": median(took) * 1000, "p99": percentile(took, 0.99) * 1000, "keys": len(took),
        "late": answer["late"], "lost": answer["lost"], "client_cpu": answer["cpu"],
    }  # fmt: skip


def beside_bulk(
    house: House, database: str, processes: int, streams: int = 4, keys: int = 600
) -> list[float]:
    """Keystroke round trips in ms beside so many streams of bytes, all through stock OpenSSH and a real sshd."""
    gateway, port = process.start(database, processes=processes)
    known = house.dir / "known-crowd"
    known.write_text(f"[127.0.0.1]:{port} {public_line()}\n")
    route = Route(
        f"{processes} processes", client(house.rita.key, known, port, "rita+hist-01"), house.askpass
    )
    bulk = []
    try:
        for _ in range(streams):
            child = subprocess.Popen(
                route.command("cat /dev/zero"), env=route.environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            assert child.stdout is not None
            child.stdout.read(1)
            bulk.append((child, subprocess.Popen(["cat"], stdin=child.stdout, stdout=subprocess.DEVNULL)))
        return [took * 1000 for took in echo_seconds([route], keys)[route.name]]
    finally:
        for child, reader in bulk:
            child.kill()
            reader.kill()
            child.wait()
            reader.wait()
        gateway.terminate()
        gateway.wait(60)


def table(house: House, database: str) -> dict[str, Any]:
    """Measure and print. Returns the raw rows."""
    processes = os.cpu_count() or 1
    rows = crowds(house, database, max(2, processes))
    print("\nlive recorded sessions, a key a second each")
    for row in rows:
        words = f"  {row['size']:5} {row['way']:12} round trip p50 {row['p50']:6.2f} p99 {row['p99']:6.2f} ms"
        if "kb" in row:
            size = row["size"]
            words += (
                f" (wanted {WANTED[size]:.0f})  {row['kb']:.0f} KB (wanted {WANTED_KB:.0f}) and"
                f" {row['threads']:.1f} threads a session  CPU idle {row['idle_cpu']:.1%}"
                f" typing {row['keys_cpu']:.1%}  a login {row['login_cpu'] * 1000:.0f} ms of CPU"
            )
        print(f"{words}  late {row['late']} lost {row['lost']}")
    beside = beside_bulk(house, database, 2)
    print(
        f"\nkeystroke beside four bulk streams, two processes: p50 {median(beside):.2f} "
        f"p99 {percentile(beside, 0.99):.2f} ms (wanted {WANTED_BESIDE:.0f})"
    )
    return {"crowds": rows, "beside": beside}


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
