"""A web server with recordings to replay and nothing else: no gateway, no Celery, no Redis. SQLite always.

`Playhouse.open(folder, "tour", "hostile")` makes those sessions (`tests.support.plays`) and starts the server; people
come with their cookie.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext

from tests.support import installation
from tests.support.ports import free_port

PATIENCE = 90.0


@dataclass(frozen=True)
class Playhouse:
    """A server that runs: its address, the sessions by name, and a login cookie for each person."""

    web: str
    sessions: dict[str, str]
    cookies: dict[str, str]
    process: subprocess.Popen[bytes]

    def address(self, name: str, rest: str = "") -> str:
        return f"{self.web}/sessions/{self.sessions[name]}/replay/{rest}"

    def visitor(self, browser: Browser, username: str, **options: Any) -> BrowserContext:
        """A browser window in which that person is logged in."""
        context = browser.new_context(base_url=self.web, **options)
        context.add_cookies([{"name": "sessionid", "value": self.cookies[username], "url": self.web}])
        return context


@contextmanager
def opened(folder: Path, *plays: str) -> Iterator[Playhouse]:
    """Makes the sessions and serves them until the block ends."""
    port = free_port()
    web = f"http://localhost:{port}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BREAKGLASS_")}
    environment = kept | installation.settings_in(folder)
    environment |= {"DJANGO_SETTINGS_MODULE": "tests.support.screens", "BREAKGLASS_PUBLIC_URL": web}
    made = subprocess.run(
        [sys.executable, "-m", "tests.support.plays", *plays],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    facts = json.loads(made.stdout.splitlines()[-1])
    server = [sys.executable, "-m", "uvicorn", "breakglass.asgi:application", "--port", str(port)]
    with (folder / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [*server, "--host", "127.0.0.1", "--log-level", "warning"],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        _await(f"http://127.0.0.1:{port}/healthz", process, folder / "web.log")
        yield Playhouse(web, facts["sessions"], facts["cookies"], process)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the web server doesn't answer: {error}\n{log.read_text()}") from error
            time.sleep(0.1)
        else:
            return
