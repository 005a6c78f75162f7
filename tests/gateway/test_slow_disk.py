"""A disk that takes what is recorded and doesn't bring it home: sessions wait, and go on or end; nothing hangs unsaid."""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sessions.gateway import live, slow_disk
from sessions.models import SSHSession
from sessions.recording import files
from sessions.recording.transcript import exact_bytes, read_file
from sessions.services.recordings import store
from tests.gateway import clients
from tests.gateway.house import House, eventually
from tests.gateway.test_disk_full import Client
from tests.support.ports import free_port

FROZEN = b"frozen because the disk for recordings doesn't keep up"
TICKER = "n=0; while :; do n=$((n+1)); echo tick-$n; sleep 0.02; done"
QUIET = 25
"""Looks, 20 ms apart, that a ticker must be silent for."""


class Disk:
    """Syncing of the first recording that comes by can be made to hang, and with it the thread that syncs all."""

    def __init__(self) -> None:
        self._sync, self._flows, self._late = files.sync_data, threading.Event(), slow_disk.LATE
        self._flows.set()
        self._victim = ""

    def sync(self, descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if not self._flows.is_set() and name.endswith(".cast") and self._victim in ("", name):
            self._victim = name
            self._flows.wait()
        self._sync(descriptor)

    def stand_still(self) -> None:
        """And be noticed soon: not before, for a busy machine's own disk may stand still for a moment too."""
        self._flows.clear()
        slow_disk.LATE = 2.0

    def go_on(self) -> None:
        slow_disk.LATE = self._late
        self._flows.set()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk()
    monkeypatch.setattr(live, "BOOKS", 0.5)
    monkeypatch.setattr(files, "sync_data", made.sync)
    yield made
    made.go_on()


@pytest.fixture
def patience(settings: Any) -> Any:
    def set_to(seconds: int) -> None:
        settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"disk_full_patience": seconds})

    return set_to


def ticking(house: House, count: int) -> list[Client]:
    """One after the other: they read their codes from one file."""
    clients: list[Client] = []
    for _ in range(count):
        clients.append(Client(house, TICKER))
        eventually(lambda: b"tick-3\n" in clients[-1].out, "output flows")
    return clients


def silent(client: Client) -> bool:
    before = len(client.out)
    for _ in range(QUIET):
        client.process.poll()
        threading.Event().wait(0.02)
    return len(client.out) == before


def shown(client: Client) -> list[bytes]:
    return bytes(client.out).splitlines()


def test_sessions_whose_recordings_do_not_reach_the_disk_wait_and_go_on_without_a_gap(
    plain_house: House, disk: Disk, patience: Any
) -> None:
    house = plain_house
    house.grant()
    patience(600)
    house.start()
    clients = ticking(house, 2)  # the second one's recording waits behind the first one's
    disk.stand_still()
    for client in clients:
        eventually(lambda client=client: FROZEN in client.err, "the person is told")
        eventually(lambda client=client: silent(client), "what can't be kept isn't shown", 60)
    held = [len(shown(client)) for client in clients]
    disk.go_on()
    for client, before in zip(clients, held, strict=True):
        eventually(lambda client=client: b"this session goes on" in client.err, "the person is told")
        eventually(lambda client=client, before=before: len(shown(client)) > before + 3, "output flows")
        client.process.terminate()
        client.end()
    eventually(lambda: SSHSession.objects.filter(state="ended").count() == 2, "both sessions are over")
    tapes = [
        b"".join(exact_bytes(read_file(store().open_path(session.pk)), 1))
        for session in SSHSession.objects.all()
    ]
    for client in clients:
        lines = shown(client)[:-1]
        assert lines == [b"tick-%d" % number for number in range(1, len(lines) + 1)]
        assert any(tape.startswith(b"\n".join(lines)) for tape in tapes)


@pytest.fixture
def pulse() -> Iterator[int]:
    """A service beside the asset that talks to whoever connects. Yields its port."""

    class Talk(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                while True:
                    self.request.sendall(b"tick")
                    time.sleep(0.02)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_what_is_not_recorded_waits_for_the_disk_as_well(
    plain_house: House, disk: Disk, patience: Any, pulse: int
) -> None:
    house = plain_house
    house.grant(channels=clients.EVERYTHING, forward_to=[f"127.0.0.1:{pulse}"])
    patience(600)
    house.start()
    here = free_port()
    client = Client(house, "echo up; cat", options=("-L", f"{here}:127.0.0.1:{pulse}"))
    eventually(lambda: b"up\n" in client.out, "output flows")
    assert client.process.stdin
    with socket.create_connection(("127.0.0.1", here), timeout=30) as forward:

        def comes() -> bool:
            """Whether the forward carries more; what had come is taken first."""
            forward.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while forward.recv(65536):
                    pass
            forward.settimeout(QUIET * 0.02)
            try:
                return bool(forward.recv(1))
            except TimeoutError:
                return False

        eventually(comes, "the forward flows")
        disk.stand_still()
        client.process.stdin.write(
            b"recorded\n"
        )  # and nothing after it: it isn't the shell that holds the forward
        client.process.stdin.flush()
        eventually(lambda: FROZEN in client.err, "the person is told")
        eventually(lambda: not comes(), "the forward waits", 60)
        assert not comes()
        disk.go_on()
        eventually(comes, "the forward goes on")
    client.process.terminate()
    client.end()


def test_a_session_whose_recording_stays_behind_ends_and_is_written_down_while_the_disk_stands_still(
    plain_house: House, disk: Disk, patience: Any
) -> None:
    house = plain_house
    house.grant()
    patience(1)
    house.start()
    clients = ticking(house, 2)
    disk.stand_still()
    for client in clients:
        assert client.end() != 0
        assert b"could no longer be recorded" in client.err
    eventually(
        lambda: SSHSession.objects.filter(end_reason="cannot_record").count() == 2, "it is in the books"
    )
