"""The guard outside the gateway: whoever stands still for 5 s is ended by it, and nobody else ever is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from breakglass import clock
from sessions.gateway import guard
from sessions.gateway.guard import STALE, Watchman
from sessions.gateway.heartbeat import BEAT, BORN, PID, Page, born
from sessions.models import SSHSession
from tests.gateway.house import House
from tests.gateway.test_processes import Crew, children, ended, eventually, last_words, lives, still_echoes
from tests.support.needs import requires

pytestmark = requires("ssh", "sshd", "ssh-keygen")
PATIENCE = 30.0


def guard_of(parent: int) -> int:
    """The pid of the guard, once it runs."""

    def found() -> int:
        for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            if b"sessions.gateway.guard" in Path(f"/proc/{pid}/cmdline").read_bytes() and lives(int(pid)):
                return int(pid)
        return 0

    pid: int = eventually(found, "the guard runs")
    return pid


@pytest.fixture
def crew(plain_house: House) -> Iterator[Crew]:
    crew = Crew(plain_house)
    yield crew
    if crew.parent is not None:
        for pid in [crew.pid, *children(crew.pid)]:
            os.kill(pid, signal.SIGCONT)
    crew.stop()


def test_a_process_that_stands_still_is_ended_and_its_successor_says_so(crew: Crew) -> None:
    crew.house.grant()
    crew.start()
    pids = children(crew.pid)
    (client_0, session_0), (client_1, session_1) = crew.one_in_each()
    os.kill(pids[1], signal.SIGSTOP)
    last_words(client_1)  # both of its sockets are closed, or this would wait for ever
    eventually(lambda: ended(session_1, "crashed"), "its session is closed as crashed")
    assert still_echoes(client_0)
    (row,) = crew.house.audited("gateway:process:stalled")
    assert row["pid"] == pids[1] and row["silent_seconds"] >= STALE
    assert SSHSession.objects.get(pk=session_0.pk).state == "live"


def test_when_all_of_it_stands_still_every_connection_is_closed(crew: Crew) -> None:
    """Also the parent, which could start nobody again."""
    crew.house.grant()
    crew.start()
    pids = children(crew.pid)
    pairs = crew.one_in_each()
    guard_of(crew.pid)
    for pid in [crew.pid, *pids]:
        os.kill(pid, signal.SIGSTOP)
    for client, _ in pairs:
        last_words(client)
    eventually(lambda: not any(map(lives, pids)), "the stopped processes are gone")


def test_one_process_without_a_parent_has_its_guard_too(crew: Crew) -> None:
    crew.house.grant()
    crew.start(processes=0)
    guard_of(crew.pid)
    client = crew.house.popen("echo up; cat")
    crew.clients.append(client)
    assert client.stdout is not None and client.stdout.readline() == b"up\n"
    os.kill(crew.pid, signal.SIGSTOP)
    last_words(client)
    assert crew.parent is not None and crew.parent.wait(PATIENCE) == -signal.SIGKILL
    crew.start(processes=0)
    eventually(lambda: ended(crew.house.session(), "crashed"), "recovered")
    assert len(crew.house.audited("gateway:process:stalled")) == 1


def test_the_guard_is_started_again_and_ends_with_the_gateway(crew: Crew) -> None:
    crew.start()
    first = guard_of(crew.pid)
    assert os.getsid(first) == first
    assert b"BREAKGLASS" not in Path(f"/proc/{first}/environ").read_bytes(), "it knows no secret"
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not lives(first), "the first is gone")
    second = guard_of(crew.pid)
    assert crew.parent is not None
    crew.parent.kill()
    eventually(lambda: not lives(second), "no parent, no guard")


# Its judgement, on a clock of the test's own. ------------------------------------------------------------


class Bench:
    """One slot, a process that could be killed, and time that passes when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.page = Page(1)
        self.words = self.page.beat(0)._words
        self.watchman = Watchman(self.page, str(folder / "gateway"))
        self.note = folder / "gateway.0.killed"
        self.victim = subprocess.Popen(["sleep", "1000"])
        self.watchman._looked = self.now

    def sign_on(self) -> None:
        self.words[BEAT] = int(self.now * 1e9)
        self.words[BORN] = born(self.victim.pid)
        self.words[PID] = self.victim.pid

    def passes(self, seconds: float, *, beating: bool, looking: bool = True) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 0.2
            if beating:
                self.words[BEAT] = int(self.now * 1e9)
            if looking:
                self.watchman.look()

    @property
    def was_killed(self) -> bool:
        if not self.note.exists():
            return False
        assert self.victim.wait(PATIENCE) == -signal.SIGKILL
        return True


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    monkeypatch.setattr(clock, "monotonic", lambda: bench.now)
    monkeypatch.setattr(guard, "WORDS_WITHIN", PATIENCE)  # a busy disk isn't one that hangs
    yield bench
    bench.victim.kill()
    bench.victim.wait()


def test_it_waits_five_seconds_and_not_much_longer(bench: Bench) -> None:
    bench.sign_on()
    bench.passes(60, beating=True)
    bench.passes(4.5, beating=False)
    assert not bench.was_killed
    bench.passes(1.0, beating=False)
    assert bench.was_killed
    assert json.loads(bench.note.read_text())["pid"] == bench.victim.pid


def test_a_disk_that_hangs_under_its_words_keeps_nobody_alive(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, asked = threading.Event(), threading.Event()
    monkeypatch.setattr(guard, "WORDS_WITHIN", 0.5)
    write = Path.write_text

    def hung(*arguments: Any) -> int:
        asked.set()
        goes_on.wait(PATIENCE)
        return write(*arguments)

    monkeypatch.setattr(Path, "write_text", hung)
    try:
        bench.sign_on()
        bench.passes(2, beating=True)
        bench.passes(6, beating=False)  # returns, with the note unwritten
        assert asked.wait(PATIENCE) and not bench.note.exists()
        assert bench.victim.wait(PATIENCE) == -signal.SIGKILL
    finally:
        goes_on.set()
    eventually(bench.note.exists, "the note is written once the disk is back")


def test_its_note_is_there_though_the_log_hangs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(guard, "WORDS_WITHIN", 0.5)
    monkeypatch.setattr(guard.log, "error", lambda *_: goes_on.wait(PATIENCE))
    try:
        bench.sign_on()
        bench.passes(2, beating=True)
        bench.passes(6, beating=False)
        eventually(lambda: bench.was_killed, "the note is there")
    finally:
        goes_on.set()


@pytest.mark.parametrize("comes_back", [True, False])
def test_who_slept_when_the_guard_did_gets_two_seconds(bench: Bench, comes_back: bool) -> None:
    """The machine was suspended, or everything was stopped: nobody could beat, and nobody could look."""
    bench.sign_on()
    bench.passes(2, beating=True)
    bench.passes(3600, beating=False, looking=False)
    bench.passes(1.5, beating=False)
    assert not bench.was_killed
    bench.passes(2, beating=comes_back)
    assert bench.was_killed is not comes_back


def test_who_ends_in_order_may_take_its_time(bench: Bench) -> None:
    bench.sign_on()
    bench.passes(2, beating=True)
    bench.words[PID] = 0
    bench.passes(30, beating=False)
    assert not bench.was_killed


def test_a_number_that_is_another_process_by_the_time_the_guard_looks_is_left_alone(bench: Bench) -> None:
    bench.sign_on()
    bench.words[BORN] -= 1
    bench.passes(30, beating=False)
    assert not bench.was_killed


def test_a_number_that_is_another_process_by_now_is_left_alone(bench: Bench) -> None:
    """The pidfd means the process that was seen to beat, and that one is gone."""
    bench.sign_on()
    bench.passes(2, beating=True)
    bench.victim.kill()
    bench.victim.wait()
    bench.passes(30, beating=False)
    assert not bench.note.exists()
