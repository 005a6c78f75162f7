"""From a freeze to the line on the person's screen, and from the unfreeze to the answer to what was held: in a session
that does nothing else, and in one that floods."""

from __future__ import annotations

import os
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
from tests.gateway.house import House, read_until
from tests.support.valkey import running

TIMES = 40
WANTED_MS = 300.0
ANSWER = "while read line; do echo $line >&2; done"
KINDS = {"idle": f"echo up; {ANSWER}", "under bulk": f"echo up; cat /dev/zero & {ANSWER}"}


def freezes(house: House, database: str, processes: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds by kind, each from the commit: until the person reads that it is `frozen`, and until what was held
    is `released` and answered."""
    found: dict[str, dict[str, list[float]]] = {}
    before = settings.BREAKGLASS
    with running() as valkey:
        settings.BREAKGLASS = before.model_copy(update={"redis_url": valkey.url})
        doorbell._client.cache_clear()
        gateway, port = process.start(database, processes=processes, redis_url=valkey.url)
        known = house.dir / "known-freeze"
        known.write_text(f"[127.0.0.1]:{port} {public_line()}\n")
        route = Route("", client(house.rita.key, known, port, "rita+hist-01"), house.askpass)
        try:
            time.sleep(1)  # the doorbell's listeners
            for kind, command in KINDS.items():
                rows = _session(house, route, command)
                found[kind] = {"frozen": [row[0] for row in rows], "released": [row[1] for row in rows]}
        finally:
            gateway.terminate()
            gateway.wait(60)
            settings.BREAKGLASS = before
            doorbell._client.cache_clear()
    return found


def _session(house: House, route: Route, command: str) -> list[tuple[float, float]]:
    child = subprocess.Popen(
        route.command(command), env=route.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    child.stdout.read(3)
    sink = subprocess.Popen(["cat"], stdin=child.stdout, stdout=subprocess.DEVNULL)
    child.stdout.close()
    session = SSHSession.objects.latest("number")
    try:
        return [_one(house, session, child, number) for number in range(TIMES)]
    finally:
        child.kill()
        child.wait()
        sink.wait()


def _one(
    house: House, session: SSHSession, child: subprocess.Popen[bytes], number: int
) -> tuple[float, float]:
    assert child.stdin is not None and child.stderr is not None
    services.freeze(session.pk, house.ada.person, f"round {number}", clock.now())
    begun = time.perf_counter()
    read_until(child.stderr, f"round {number}. What you send is held".encode())
    frozen = time.perf_counter()
    child.stdin.write(f"answer-{number}.\n".encode())
    child.stdin.flush()
    time.sleep(0.05)  # on its way into what is held
    services.unfreeze(session.pk, house.ada.person, clock.now())
    freed = time.perf_counter()
    read_until(child.stderr, f"answer-{number}.".encode())
    return (frozen - begun) * 1000, (time.perf_counter() - freed) * 1000


def table(house: House, database: str) -> dict[str, Any]:
    """Measure and print. Returns the raw numbers."""
    found = freezes(house, database, max(2, os.cpu_count() or 1))
    print(f"\nfreezing, ms from the commit (wanted {WANTED_MS:.0f})")
    for kind, values in found.items():
        for what, times in values.items():
            shown = f"p50 {median(times):6.2f}  p99 {percentile(times, 0.99):6.2f}  worst {max(times):6.2f}"
            print(f"  {kind:10} {what:9} {shown}")
    return found
