"""The whole product running: web page, gateway, Celery worker and beat, Valkey and assets, as `make demo` runs them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breakglass.demo import gates
from breakglass.demo.place import ROOT, Place, here
from tests.support.codes import Codes
from tests.support.ports import free_port

START_PATIENCE = 180.0
STOP_PATIENCE = 60.0


class StackFailed(Exception):
    """The stack didn't start; the message has its words and the ends of its logs."""


@dataclass(frozen=True)
class Answer:
    """What the REST face said."""

    status: int
    body: Any


@dataclass
class Stack:
    """One running demo in a folder of its own."""

    dir: Path
    process: subprocess.Popen[bytes]
    facts: dict[str, Any]
    codes: Codes = field(default_factory=Codes)

    @property
    def web(self) -> str:
        return str(self.facts["web"])

    @property
    def gateway_port(self) -> int:
        return int(self.facts["gateway"]["port"])

    @property
    def known_hosts(self) -> Path:
        return self.dir / "known_hosts"

    def person(self, username: str) -> dict[str, Any]:
        return next(person for person in self.facts["people"] if person["username"] == username)

    def code(self, username: str) -> str:
        """A second-factor code of that person, never given before."""
        return self.codes.fresh(username)

    def ssh(self, username: str, asset: str, *command: str, options: tuple[str, ...] = ()) -> list[str]:
        """A stock `ssh` to `asset`; the code is asked for on the terminal or by SSH_ASKPASS."""
        fixed = ["-F", "none", "-p", str(self.gateway_port), "-i", self.person(username)["ssh_key"]]
        checked = ["-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "StrictHostKeyChecking=yes"]
        quiet = ["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]
        where = f"{username}+{asset}@127.0.0.1"
        return ["ssh", *fixed, *checked, *quiet, *options, where, *command]

    def askpass(self, username: str) -> dict[str, str]:
        """An environment in which ssh answers the question for a code by itself, once."""
        script = self.dir / f"askpass-{username}"
        script.write_text(f"#!/bin/sh\necho {self.code(username)}\n")
        script.chmod(0o700)
        return os.environ | {"SSH_ASKPASS": str(script), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": "none"}

    def call(self, username: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """The REST face, as that person."""
        host = self.web.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=60)
        headers = {
            "Authorization": f"Bearer {self.person(username)['token']}",
            "Content-Type": "application/json",
        }
        connection.request(method, f"/api/v1/{path}", None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        is_json = "json" in (response.getheader("Content-Type") or "")
        return Answer(response.status, json.loads(text) if is_json and text else text)

    def pid(self, name: str) -> int:
        """The process that plays `name` now: valkey, assets, web, worker, beat, gateway."""
        return int(json.loads((self.dir / "processes.json").read_text())[name])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Ends one process the hard way; the supervisor starts it again. The pid that was."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def await_health(self, patience: float = 90.0) -> None:
        """Until everything answers, as after something was killed."""
        ports = (self.gateway_port, *(asset["port"] for asset in self.facts["assets"]))
        celery = gates.celery_gate(place_of(self).redis_socket)
        web = int(self.web.rpartition(":")[2])
        deadline = time.monotonic() + patience
        while not (gates.web_answers(web) and all(map(gates.ssh_answers, ports)) and celery()):
            if time.monotonic() > deadline:
                raise StackFailed(f"not healthy after {patience} s\n{self.words()}{_log_ends(self.dir)}")
            time.sleep(0.2)

    def stop(self) -> None:
        """As Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def words(self) -> str:
        return (self.dir / "screen.txt").read_text(errors="replace")


def start(folder: Path, **environment: str) -> Stack:
    """Starts everything below `folder` and returns when all of it answers."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ports = {"DEMO_PORT": str(free_port()), "DEMO_GATEWAY_PORT": str(free_port())}
    chosen = {"DEMO_DIR": str(folder)} | ports | environment
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("BREAKGLASS_", "DEMO_"))
    }
    with (folder / "screen.txt").open("wb") as screen:
        process = subprocess.Popen(
            [sys.executable, "-m", "breakglass.demo"],
            cwd=ROOT,
            env=kept | chosen,
            stdin=subprocess.DEVNULL,
            stdout=screen,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _await_ready(folder, process)
    facts = json.loads((folder / "demo.json").read_text())
    return Stack(folder, process, facts)


def place_of(stack: Stack) -> Place:
    """The demo's own view of its folder, as for its settings."""
    ports = {"DEMO_PORT": stack.web.rpartition(":")[2], "DEMO_GATEWAY_PORT": str(stack.gateway_port)}
    return here({"DEMO_DIR": str(stack.dir)} | ports)


def _await_ready(folder: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_PATIENCE
    screen = folder / "screen.txt"
    while "\nReady after" not in screen.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(STOP_PATIENCE)
            raise StackFailed(screen.read_text(errors="replace") + _log_ends(folder))
        time.sleep(0.1)


def _log_ends(folder: Path) -> str:
    logs = sorted((folder / "logs").glob("*.log")) if (folder / "logs").exists() else []
    return "".join(f"\n== {log.name}\n" + "\n".join(log.read_text().splitlines()[-15:]) for log in logs)
