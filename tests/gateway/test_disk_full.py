"""A full disk, a real one: sessions freeze and go on or end in order, nothing is lost, and the rest stays up."""

from __future__ import annotations

import ctypes
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from breakglass import clock
from breakglass.models import AuditEvent, Notice
from sessions import services
from sessions.gateway import watchdog
from sessions.models import SSHSession
from sessions.recording.transcript import Transcript, exact_bytes, read_file
from sessions.services.recordings import store
from tests.gateway import house as building
from tests.gateway.house import House, eventually

DISK = 24 << 20
LEFT = 2 << 20
LINES = 400_000
TICKER = f"seq -f tick-%.0f {LINES}"
TICKS = b"".join(b"tick-%d\n" % number for number in range(1, LINES + 1))
WITHOUT_END = "seq -f tick-%.0f 1000000000"
FROZEN = b"frozen because the disk for recordings is full"


@pytest.fixture
def disk(plain_house: House) -> Iterator[Path]:
    """A small disk for the recordings, mounted in their place."""
    where: Path = django_settings.BREAKGLASS.data_dir / "recordings"
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.mount(b"none", bytes(where), b"tmpfs", 0, f"size={DISK}".encode()) != 0:
        pytest.skip("only root may mount the small disk of this test")
    yield where
    plain_house.stop()
    libc.umount2(bytes(where), 2)
    shutil.rmtree(where, ignore_errors=True)


@pytest.fixture
def patience(settings: Any) -> Callable[[int], None]:
    def set_to(seconds: int) -> None:
        settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"disk_full_patience": seconds})

    return set_to


def fill(disk: Path, left: int = LEFT) -> Path:
    """Somebody else takes the disk, but for `left` bytes."""
    found = os.statvfs(disk)
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(found.f_bavail * found.f_frsize - left, 4096))
    return ballast


class Client:
    """A command by stock ssh, whose output and errors are read as they come."""

    def __init__(self, house: House, command: str, options: tuple[str, ...] = ()) -> None:
        self.process = house.popen(command, options=options)
        self.out, self.err = bytearray(), bytearray()
        assert self.process.stdout and self.process.stderr
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.out), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.err), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: Any, into: bytearray) -> None:
        while piece := stream.read1(65536):
            into += piece

    def end(self, seconds: float = 60) -> int:
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(seconds)
        return code


def begun(house: House, command: str, disk: Path) -> tuple[Client, Path]:
    """A command whose output fills the disk, frozen, and what must go for it to go on."""
    client = Client(house, f"echo up; read go; {command}")
    eventually(lambda: b"up\n" in client.out, "the command runs")
    ballast = fill(disk)
    assert client.process.stdin
    client.process.stdin.write(b"go\n")
    client.process.stdin.flush()
    eventually(lambda: FROZEN in client.err, "the person is told that the session is frozen")
    return client, ballast


def recorded(session: SSHSession, *, stderr: bool = False) -> bytes:
    return b"".join(exact_bytes(read_file(store().open_path(session.pk)), 1, stderr=stderr))


def audited(tag: str) -> int:
    return AuditEvent.objects.filter(tag=tag).count()


def test_a_session_freezes_while_the_disk_is_full_and_goes_on_where_it_stopped(
    plain_house: House, disk: Path, patience: Callable[[int], None]
) -> None:
    house = plain_house
    admin = building.human(house.dir, "otto", ["administrators"])
    house.grant()
    patience(600)
    house.start()
    client, ballast = begun(house, TICKER, disk)
    shown = len(client.out)
    refused = house.run("true")
    assert refused.returncode == 255
    assert b"[cannot_record]" in refused.stderr and b"MiB are needed" in refused.stderr
    assert "cannot_record" in [row["refusal"] for row in house.audited("gateway:access:refused")]
    assert house.session().state == "live"
    assert shown <= len(client.out) < len(TICKS)
    assert not store().reserve.is_whole
    ballast.unlink()
    assert client.end() == 0, bytes(client.err)
    assert bytes(client.out) == b"up\n" + TICKS
    assert b"this session goes on" in client.err
    session = house.ended()
    assert session.end_reason in {"client_closed", "asset_closed"}
    assert recorded(session) == b"up\n" + TICKS
    told = recorded(session, stderr=True)
    assert FROZEN in told and b"this session goes on" in told
    eventually(lambda: audited("gateway:disk:back") == 1, "that there is room again is in the trail")
    assert store().reserve.is_whole
    assert audited("gateway:disk:full") == 1
    alarms = Notice.objects.filter(person=admin.person, topic="disk:recordings")
    assert alarms.count() == 1
    assert house.run("echo again").stdout == b"again\n"


def test_a_session_ends_in_order_where_no_room_comes_back_and_nothing_unrecorded_was_shown(
    plain_house: House, disk: Path, patience: Callable[[int], None]
) -> None:
    house = plain_house
    house.grant()
    patience(1)
    house.start()
    client, _ = begun(house, WITHOUT_END, disk)
    assert client.end() == 255
    assert b"could no longer be recorded" in client.err
    session = house.ended()
    assert session.end_reason == "cannot_record"
    assert recorded(session).startswith(bytes(client.out))
    transcript = Transcript(read_file(store().open_path(session.pk)))
    marks = [moment.data for moment in transcript if moment.code == "m"]
    assert transcript.ended == "cut"
    assert "No space left on device" in marks[-1]


@pytest.mark.parametrize(("how", "reason"), [("kill", "killed"), ("expiry", "expired")])
def test_a_session_that_waits_for_room_is_ended_like_any_other(
    plain_house: House,
    disk: Path,
    patience: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    reason: str,
) -> None:
    monkeypatch.setattr(watchdog, "RENEW_EVERY", 1.5)
    house = plain_house
    grant = house.grant()
    patience(600)
    house.start()
    client, _ = begun(house, WITHOUT_END, disk)
    if how == "kill":
        services.kill(house.session().pk, house.ada.person, "looks wrong", clock.now())
    else:
        house.ends_in(grant, 3)
    client.end()
    session = house.ended()
    assert session.end_reason == reason
    assert recorded(session).startswith(bytes(client.out))
    assert b'"e","closed"' in store().open_path(session.pk).read_bytes()[-40:]


def test_what_is_typed_while_the_disk_is_full_is_held_and_then_done_once(
    plain_house: House, disk: Path, patience: Callable[[int], None]
) -> None:
    house = plain_house
    house.grant()
    patience(600)
    house.start()
    shell = house.prompt()
    ballast = fill(disk)
    proof = house.dir / "proof"
    shell.sendline(f"{TICKER} | tail -c 3000000; echo ended-$((40+2))")
    shell.expect(FROZEN.decode())
    shell.sendline(f"echo typed >> {proof}")
    time.sleep(1)
    assert not proof.exists()
    ballast.unlink()
    shell.expect("this session goes on", timeout=60)
    shell.expect("ended-42", timeout=60)
    eventually(proof.exists, "what was typed is done")
    shell.sendline("exit")
    shell.wait()
    assert proof.read_text() == "typed\n"
    assert "ended-42" in house.recording(house.ended())


def test_many_sessions_wait_at_once_and_all_go_on(
    plain_house: House, disk: Path, patience: Callable[[int], None]
) -> None:
    house = plain_house
    house.grant()
    patience(600)
    house.start()
    lines = 150_000
    clients = []
    for number in range(5):
        clients.append(Client(house, f"echo up; read go; seq -f tick-%.0f {lines}"))
        eventually(lambda: b"up\n" in clients[-1].out, f"command {number} runs")
    ballast = fill(disk, 0)
    for client in clients:
        assert client.process.stdin
        client.process.stdin.write(b"go\n")
        client.process.stdin.flush()
    for client in clients:
        eventually(lambda: FROZEN in client.err, "each is told")  # noqa: B023 - asked at once
    ballast.unlink()
    for client in clients:
        assert client.end() == 0, bytes(client.err)
        assert bytes(client.out) == b"up\n" + b"".join(
            b"tick-%d\n" % number for number in range(1, lines + 1)
        )
    assert audited("gateway:disk:full") == 1
