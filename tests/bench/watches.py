"""A session whose person types, watched by nobody and by fifty, in turns: the round trip of each keystroke, and for each of
the fifty how long after the person they saw it. The gateway, the web page and the watchers are processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore

from breakglass import clock, doorbell
from breakglass.models import TotpFactor
from sessions.gateway.hostkey import public_line
from sessions.models import SSHSession
from sessions.services import watching
from tests.bench.measure import median, percentile
from tests.bench.routes import Route, client
from tests.gateway import process
from tests.gateway.house import House
from tests.support.ports import free_port
from tests.support.valkey import running

WATCHERS = 50
ROUNDS = 3
KEYS = 150
PAUSE = 0.02
WANTED_MS = 300.0


def watches(house: House, database: str) -> dict[str, Any]:
    """Milliseconds: `alone` and `watched`, each keystroke's round trip; `behind`, each watcher's delay for each of them."""
    before = settings.BREAKGLASS
    with running() as valkey:
        settings.BREAKGLASS = before.model_copy(update={"redis_url": valkey.url})
        doorbell._client.cache_clear()
        gateway, port = process.start(database, processes=max(2, os.cpu_count() or 1), redis_url=valkey.url)
        known = house.dir / "known-watch"
        known.write_text(f"[127.0.0.1]:{port} {public_line()}\n")
        route = Route("", client(house.rita.key, known, port, "rita+hist-01"), house.askpass)
        try:
            with _web(database) as web:
                return _measured(house, route, web)
        finally:
            gateway.terminate()
            gateway.wait(60)
            settings.BREAKGLASS = before
            doorbell._client.cache_clear()


def _measured(house: House, route: Route, web: int) -> dict[str, Any]:
    child = subprocess.Popen(
        route.command("cat"), env=route.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    found: dict[str, Any] = {"alone": [], "watched": [], "behind": []}
    try:
        _type(child, 0, 20)
        session = SSHSession.objects.latest("number")
        for turn in range(ROUNDS):
            found["alone"] += _type(child, turn * 2 * KEYS + 100, KEYS)[0]
            with _watchers(house, session, web) as seen:
                times, shown = _type(child, (turn * 2 + 1) * KEYS + 100, KEYS)
                found["watched"] += times
                time.sleep(1)
            for number, at in shown.items():
                moments = seen.get(str(number), [])
                found["missed"] = found.get("missed", 0) + WATCHERS - len(moments)
                found["behind"] += [(moment - at) * 1000 for moment in moments]
    finally:
        child.kill()
        child.wait()
    return found


def _type(child: subprocess.Popen[bytes], first: int, count: int) -> tuple[list[float], dict[int, float]]:
    """The round trip of each, and when it was on the person's screen."""
    assert child.stdin is not None and child.stdout is not None
    times, shown = [], {}
    for number in range(first, first + count):
        key = b"k%07d." % number
        begun = time.monotonic()
        child.stdin.write(key)
        child.stdin.flush()
        got = b""
        while len(got) < len(key):
            got += os.read(child.stdout.fileno(), 4096)
        shown[number] = time.monotonic()
        times.append((shown[number] - begun) * 1000)
        time.sleep(PAUSE)
    return times, shown


@contextmanager
def _web(database: str) -> Iterator[int]:
    """The web page, as uvicorn runs it, on the bench's database. Yields its port."""
    port = free_port()
    web = subprocess.Popen([sys.executable, "-m", "tests.bench.watch_web", database, str(port)])
    try:
        until = time.monotonic() + 60
        while subprocess.run(
            ["curl", "-sf", f"http://127.0.0.1:{port}/healthz"], capture_output=True, check=False
        ).returncode:
            if time.monotonic() > until:
                raise SystemExit("the web page did not start")
            time.sleep(0.2)
        yield port
    finally:
        web.send_signal(signal.SIGKILL)
        web.wait()


@contextmanager
def _watchers(house: House, session: SSHSession, web: int) -> Iterator[dict[str, list[float]]]:
    """Fifty streams in a process of their own. What they saw, and when, is in the dict after the block."""
    ids = [str(watching.begin(session.pk, house.ada.person, clock.now()).pk) for _ in range(WATCHERS)]
    path = f"/sessions/{session.pk}/watch/stream/"
    words = [sys.executable, "-m", "tests.bench.watch_crowd", str(web), path, _cookie(house), *ids]
    crowd = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert crowd.stdin is not None and crowd.stdout is not None
    assert crowd.stdout.readline() == b"all are there\n"
    seen: dict[str, list[float]] = {}
    yield seen
    crowd.stdin.close()
    seen.update(json.loads(crowd.stdout.read()))
    crowd.wait(30)
    for one in ids:
        watching.end(type(session.pk)(one), watching.LEFT, clock.now())


def _cookie(house: House) -> str:
    """Ada's web login."""
    person, store = house.ada.person, SessionStore()
    store["_auth_user_id"] = str(person.pk)
    store["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
    store["_auth_user_hash"] = person.get_session_auth_hash()
    store["otp_device_id"] = TotpFactor.objects.get(user=person).persistent_id
    store.create()
    return f"{settings.SESSION_COOKIE_NAME}={store.session_key}"


def table(house: House, database: str) -> dict[str, Any]:
    """Measure and print. Returns the raw numbers."""
    found = watches(house, database)
    print(f"\na keystroke's round trip through the gateway, ms, watched by nobody and by {WATCHERS}")
    for name in ("alone", "watched"):
        values = found[name]
        print(
            f"  {name:8} p50 {median(values):6.2f}  p99 {percentile(values, 0.99):6.2f}  worst {max(values):6.2f}"
        )
    values = found["behind"]
    print(
        f"each watcher behind the person, ms (wanted {WANTED_MS:.0f}); missed by a watcher: {found['missed']}"
    )
    print(
        f"  behind   p50 {median(values):6.2f}  p99 {percentile(values, 0.99):6.2f}  worst {max(values):6.2f}"
    )
    return found
