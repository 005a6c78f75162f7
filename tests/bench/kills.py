"""From a kill to the end of the client's process: of a shell that does nothing, and of one that floods."""

from __future__ import annotations

import os
import select
import subprocess
import time
from typing import Any

from django.conf import settings

from breakglass import clock, doorbell
from sessions import services
from sessions.gateway.hostkey import public_line
from sessions.models import SSHSession
from tests.bench.measure import median, percentile
from tests.bench.routes import Route, client
from tests.gateway import process
from tests.gateway.house import House
from tests.support.valkey import running

TIMES = 60
PATIENCE_MS = 20_000
KINDS = {"idle": ("echo up; exec sleep 1000", 10.0), "under bulk": ("echo up; exec cat /dev/zero", 25.0)}


def kills(
    house: House, database: str, processes: int, times: int = TIMES
) -> dict[str, dict[str, list[float]]]:
    """Milliseconds by kind: from the moment that the kill is asked for (with its commit in the database) and from its
    commit, until the client's process has ended."""
    found: dict[str, dict[str, list[float]]] = {}
    before = settings.BREAKGLASS
    with running() as valkey:
        settings.BREAKGLASS = before.model_copy(update={"redis_url": valkey.url})
        doorbell._client.cache_clear()
        gateway, port = process.start(database, processes=processes, redis_url=valkey.url)
        known = house.dir / "known-kill"
        known.write_text(f"[127.0.0.1]:{port} {public_line()}\n")
        route = Route("", client(house.rita.key, known, port, "rita+hist-01"), house.askpass)
        try:
            time.sleep(1)  # the doorbell's listeners
            for kind, (command, _) in KINDS.items():
                rows = [_one(house, route, command) for _ in range(times)]
                found[kind] = {"asked": [row[0] for row in rows], "committed": [row[1] for row in rows]}
        finally:
            gateway.terminate()
            gateway.wait(60)
            settings.BREAKGLASS = before
            doorbell._client.cache_clear()
    return found


def _one(house: House, route: Route, command: str) -> tuple[float, float]:
    child = subprocess.Popen(
        route.command(command), env=route.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert child.stdout is not None
    child.stdout.read(3)
    sink = subprocess.Popen(["cat"], stdin=child.stdout, stdout=subprocess.DEVNULL)
    child.stdout.close()
    time.sleep(0.2)
    session = SSHSession.objects.latest("number")
    ended = select.poll()
    watched = os.pidfd_open(child.pid)
    ended.register(watched, select.POLLIN)
    asked = time.perf_counter()
    services.kill(session.pk, house.ada.person, "the bench", clock.now())
    committed = time.perf_counter()
    if not ended.poll(PATIENCE_MS):
        raise RuntimeError("a killed session's client did not end")
    over = time.perf_counter()
    os.close(watched)
    child.wait()
    sink.wait()
    return (over - asked) * 1000, (over - committed) * 1000


def table(house: House, database: str) -> dict[str, Any]:
    """Measure and print. Returns the raw numbers."""
    found = kills(house, database, max(2, os.cpu_count() or 1))
    print("\nfrom a kill to the end of the client's process, ms")
    for kind, (_, wanted) in KINDS.items():
        for since, values in found[kind].items():
            print(
                f"  {kind:10} since it was {since:9}  p50 {median(values):6.2f}  p99 {percentile(values, 0.99):6.2f}"
                + (f"  (wanted {wanted:.0f})" if since == "committed" else "")
            )
    return found
