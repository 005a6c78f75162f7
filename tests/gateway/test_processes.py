"""Several processes on one port: what ends a session reaches it wherever it lives, and none outlives the others' parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from breakglass import clock, later
from sessions import services
from sessions.gateway import throttle
from sessions.gateway.hostkey import public_line
from sessions.gateway.shared import Counters, Line
from sessions.models import SSHSession
from tests.gateway import process
from tests.gateway.house import House
from tests.support.valkey import running

PATIENCE = 30.0
ATTEMPTS = 40


def eventually(holds: Callable[[], Any], what: str) -> Any:
    """What `holds` says once it says something true."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE:.0f} s: {what}")


def children(parent: int) -> list[int]:
    """The processes that serve. The guard is none: it is in a session of its own."""
    pids = [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    ours = os.getsid(parent)
    return [pid for pid in pids if lives(pid) and os.getsid(pid) == ours]


def lives(pid: int) -> bool:
    """Whether that process still runs; a zombie doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Crew:
    """The house's gateway as two processes under a parent."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.redis_url = ""
        self.parent: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.clients: list[subprocess.Popen[bytes]] = []

    def start(self, processes: int = 2) -> None:
        self.parent, self.port = process.start(
            str(connection.settings_dict["NAME"]),
            port=self.port,
            processes=processes,
            redis_url=self.redis_url,
        )
        self.house.elsewhere = self.port
        (self.house.dir / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public_line()}\n")

    @property
    def pid(self) -> int:
        assert self.parent is not None
        return self.parent.pid

    def one_in_each(self) -> list[tuple[subprocess.Popen[bytes], SSHSession]]:
        """A client that works in each of the two processes. The kernel chooses: more are tried until both have one."""
        found: dict[str, tuple[subprocess.Popen[bytes], SSHSession]] = {}
        for _ in range(ATTEMPTS):
            client = self.house.popen("echo up; cat")
            self.clients.append(client)
            assert client.stdout is not None
            assert client.stdout.readline() == b"up\n"
            session = self.house.session()
            if session.gateway_id in found:
                client.kill()
                client.communicate()
            else:
                found[session.gateway_id] = (client, session)
            if len(found) == 2:
                return [found[name] for name in sorted(found)]
        raise AssertionError(f"{ATTEMPTS} connections all went to one process")

    def stop(self) -> None:
        for client in self.clients:
            client.kill()
            client.wait(PATIENCE)
        if self.parent is not None:
            self.parent.kill()
            self.parent.communicate()


def still_echoes(client: subprocess.Popen[bytes]) -> bool:
    assert client.stdin is not None and client.stdout is not None
    client.stdin.write(b"still here\n")
    client.stdin.flush()
    return client.stdout.readline() == b"still here\n"


def last_words(client: subprocess.Popen[bytes]) -> bytes:
    """What it is told until it ends by itself: its input stays open."""
    keyboard, client.stdin = client.stdin, None
    try:
        return client.communicate(timeout=PATIENCE)[1]
    finally:
        client.stdin = keyboard


def ended(session: SSHSession, reason: str) -> bool:
    session.refresh_from_db()
    return session.state == "ended" and session.end_reason == reason


@pytest.fixture
def crew(plain_house: House) -> Iterator[Crew]:
    crew = Crew(plain_house)
    yield crew
    crew.stop()


@pytest.fixture
def belled(crew: Crew, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    """With a doorbell that all of them hear."""
    from breakglass import doorbell

    monkeypatch.setattr(later, "ask", lambda *_, **__: None)
    with running() as valkey:
        settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"redis_url": valkey.url})
        doorbell._client.cache_clear()
        crew.redis_url = valkey.url
        yield crew
        doorbell._client.cache_clear()


def test_a_kill_reaches_whichever_process_holds_the_session_and_no_other_session(belled: Crew) -> None:
    belled.house.grant()
    belled.start()
    pairs = belled.one_in_each()
    assert {session.gateway_id.rpartition(":")[2] for _, session in pairs} == {"0", "1"}
    (first, killed), (second, other) = pairs
    services.kill(killed.pk, belled.house.ada.person, "looks wrong", clock.now())
    assert b"your access was withdrawn" in last_words(first)
    eventually(lambda: ended(killed, "killed"), "the killed session's end in the books")
    assert still_echoes(second)
    services.kill(other.pk, belled.house.ada.person, "this one too", clock.now())
    assert b"your access was withdrawn" in last_words(second)


def test_a_process_that_dies_takes_its_own_sessions_only_and_is_back_at_once(crew: Crew) -> None:
    house = crew.house
    house.grant()
    crew.start()
    before = children(crew.pid)
    (client_0, session_0), (client_1, session_1) = crew.one_in_each()
    os.kill(before[1], signal.SIGKILL)
    last_words(client_1)
    eventually(lambda: ended(session_1, "crashed"), "the dead process's session stands as crashed")
    assert still_echoes(client_0)
    session_0.refresh_from_db()
    assert session_0.state == "live"
    after = eventually(lambda: len(found := children(crew.pid)) == 2 and found, "two processes again")
    assert before[0] in after and before[1] not in after
    for _ in crew.one_in_each():
        pass  # both take people in again


def test_a_stopped_gateway_drains_every_process(crew: Crew) -> None:
    crew.house.grant()
    crew.start()
    pids = children(crew.pid)
    pairs = crew.one_in_each()
    assert crew.parent is not None
    crew.parent.terminate()
    for client, _ in pairs:
        assert b"the gateway is going down" in last_words(client)
    assert crew.parent.wait(PATIENCE) == 0
    eventually(lambda: not any(map(lives, pids)), "its processes are gone")
    assert all(ended(session, "gateway_stopped") for _, session in pairs)


def test_no_process_outlives_a_parent_that_was_killed_and_the_next_one_recovers_also_with_fewer(
    crew: Crew,
) -> None:
    crew.house.grant()
    crew.start()
    pids = children(crew.pid)
    pairs = crew.one_in_each()
    assert crew.parent is not None
    crew.parent.kill()
    crew.parent.wait(PATIENCE)
    for client, _ in pairs:
        last_words(client)
    eventually(lambda: not any(map(lives, pids)), "its processes are gone")
    assert all(SSHSession.objects.get(pk=session.pk).state == "live" for _, session in pairs)
    services.recover_abandoned(
        f"{pairs[0][1].gateway_id.rpartition(':')[0]}", [pairs[0][1].gateway_id], clock.now()
    )
    assert ended(pairs[1][1], "crashed") and not ended(pairs[0][1], "crashed")
    crew.start()
    eventually(lambda: ended(pairs[0][1], "crashed"), "the other one at the next start")


def test_a_second_gateway_on_the_port_is_refused_and_ends_nobodys_session(crew: Crew) -> None:
    crew.house.grant()
    crew.start()
    client = crew.house.popen("echo up; cat")
    crew.clients.append(client)
    assert client.stdout is not None and client.stdout.readline() == b"up\n"
    with pytest.raises(AssertionError, match="did not start"):
        process.start(str(connection.settings_dict["NAME"]), port=crew.port, processes=2)
    assert still_echoes(client)
    assert crew.house.session().state == "live"


def test_wrong_answers_are_counted_for_all_processes_together() -> None:
    """The parent's end of each line is answered here as its loop does."""
    counters = Counters()
    ends = [Pipe() for _ in range(2)]

    def answer(ours: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                ours.send_bytes(counters.answer(ours.recv_bytes()) or b"")

    for ours, _ in ends:
        threading.Thread(target=answer, args=(ours,), daemon=True).start()
    first, second = (Line(theirs) for _, theirs in ends)
    for _ in range(throttle.FREE):
        assert second.throttle.wait("rita", "192.0.2.1", 100.0) == 0.0
        first.throttle.wrong("rita", "192.0.2.1", 100.0)
    assert second.throttle.wait("rita", "192.0.2.1", 100.0) > 0.0
    assert second.throttle.wait("rita", "192.0.2.2", 100.0) == 0.0
    second.throttle.right("rita", "192.0.2.1")
    assert first.throttle.wait("rita", "192.0.2.1", 100.0) == 0.0
    for ours, theirs in ends:
        theirs.close()
        ours.close()
