"""`make demo`: everything runs, is described truly, mends itself, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from breakglass.demo.place import ROOT
from tests.support import needs
from tests.support import stack as stacks
from tests.support.needs import requires
from tests.support.stack import Stack

T = TypeVar("T")


def test_demo_json_is_private_and_says_what_scripts_rely_on(stack: Stack) -> None:
    file = stack.dir / "demo.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    facts = json.loads(file.read_text())
    assert set(facts) == {"web", "gateway", "people", "assets", "playbooks"}
    assert set(facts["gateway"]) == {"host", "port", "host_key"}
    assert {role for person in facts["people"] for role in person["roles"]} == {
        "responder",
        "approver",
        "supervisor",
        "reviewer",
        "auditor",
        "administrator",
    }
    for person in facts["people"]:
        assert {"username", "password", "totp_secret", "roles", "ssh_key", "token"} <= set(person)
        assert Path(person["ssh_key"]).read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert len(facts["assets"]) >= 3
    assert len(facts["playbooks"]) >= 5


def test_a_finished_session_waits_for_its_review(stack: Stack) -> None:
    sessions = eventually(lambda: stack.call("vera", "GET", "sessions?person=nora").body["items"], sealed)
    assert sessions[0]["end_reason"] == "client_closed"
    assert stack.call("vera", "GET", "reviews?state=due").body["count"] == 1
    recording = stack.call("vera", "GET", f"sessions/{sessions[0]['id']}/recording.cast")
    assert recording.status == 200
    assert "clearing the disk queue" in recording.body


def test_devtotp_prints_a_code_that_opens(stack: Stack) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "devtotp", "admin"],
        cwd=ROOT,
        env=environment_of(stack),
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.strip()) == 6
    assert done.stdout.strip().isdigit()


@pytest.mark.parametrize("name", ["web", "gateway", "worker", "beat", "notary", "stream", "valkey", "assets"])
def test_what_dies_is_started_again_and_said_so(stack: Stack, name: str) -> None:
    before = stack.kill(name)
    eventually(lambda: stack.pid(name), lambda pid: pid not in (0, before))
    assert f"{name} was ended by SIGKILL; starting it again" in stack.words()
    stack.await_health()


def test_the_trail_is_signed_and_anchored_as_it_grows(stack: Stack) -> None:
    """Signed by a process of its own; `verify_audit` finds the anchor's checkpoints among the rows."""

    def point() -> Any:
        return stack.call("otto", "GET", "audit/checkpoint").body

    before = eventually(point, lambda found: "size" in found)["size"]
    stack.call("nora", "POST", "incidents", {"title": "Something new to sign"})
    stack.kill("notary")  # its next start signs what is new at once
    grown = eventually(
        point,
        # Mails are thinned out: one an hour, and one at each start of the notary.
        lambda found: found["size"] > before and all(one["size"] > before for one in found["anchors"]),
    )
    assert {one["name"].split(":")[0] for one in grown["anchors"]} == {"file", "mailto"}
    assert stat.S_IMODE((stack.dir / "notary" / "key").stat().st_mode) == 0o600
    done = subprocess.run(
        [sys.executable, "manage.py", "verify_audit", "--vkey", grown["key"], "--no-recordings"],
        cwd=ROOT, env=environment_of(stack), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of them outside" in done.stdout


@requires("ssh")
def test_the_printed_ssh_command_reaches_the_gateway_and_its_pinned_key(stack: Stack) -> None:
    command = stack.ssh("rita", "hist-01", "true", options=("-o", "BatchMode=yes"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    # The key is taken; the code can't be given in batch mode.
    assert "Permission denied (keyboard-interactive)" in done.stderr


def test_a_second_demo_in_the_same_folder_is_refused(stack: Stack) -> None:
    said = refused_start({"DEMO_DIR": str(stack.dir)})
    assert "another demo runs in" in said
    assert "DEMO_DIR=" in said


def test_a_port_in_use_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused_start({"DEMO_DIR": str(tmp_path), "DEMO_PORT": str(port)})
    assert f"port {port} is in use" in said
    assert "DEMO_PORT=" in said


# Real sshd as assets where they can run: their processes are the ones that are hardest to get rid of.
KIND = {"DEMO_ASSETS": "sshd"} if os.getuid() == 0 and needs.found("sshd") else {}


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A demo of this test's own, to be ended by the test."""
    running = stacks.start(tmp_path / "demo", **KIND)
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.mark.slow
def test_it_leaves_no_process_behind_however_it_ends_and_starts_again(own_stack: Stack) -> None:
    assert len(processes_of(own_stack.dir)) >= 7
    os.kill(own_stack.process.pid, signal.SIGKILL)
    own_stack.process.wait()
    eventually(lambda: processes_of(own_stack.dir), lambda left: not left)

    again = stacks.start(own_stack.dir, **KIND)
    os.killpg(again.process.pid, signal.SIGINT)
    assert again.process.wait(60) == 0
    assert "database and playbooks as before" in again.words()
    assert "Stopped: no process of the demo is left." in again.words()
    assert processes_of(own_stack.dir) == []


def processes_of(folder: Path) -> list[int]:
    """Processes whose environment or command line names the folder."""
    mark = os.fsencode(folder)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            named = mark in (entry / "environ").read_bytes() or mark in (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if named and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def environment_of(stack: Stack) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BREAKGLASS_")}
    return kept | {"DEMO_DIR": str(stack.dir), "DJANGO_SETTINGS_MODULE": "breakglass.settings"}


def refused_start(environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "breakglass.demo"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    return done.stdout


def sealed(sessions: list[dict[str, str]]) -> bool:
    return bool(sessions) and sessions[0]["recording"] == "sealed"


def eventually(ask: Callable[[], T], good: Callable[[T], bool], patience: float = 60.0) -> T:
    """The first good answer within `patience` seconds."""
    deadline = time.monotonic() + patience
    while not good(answer := ask()):
        assert time.monotonic() < deadline, f"still {answer!r} after {patience} s"
        time.sleep(0.1)
    return answer
