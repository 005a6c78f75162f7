"""Bad days: processes killed, disks full, clients and assets that misbehave. Nothing unrecorded, nothing longer."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pexpect
import pytest
from django.conf import settings
from django.db import connection

from breakglass import clock, later
from breakglass.services import grants
from sessions import services
from sessions.gateway import watchdog
from sessions.gateway.hostkey import public_line
from sessions.gateway.packets import Packetizer
from sessions.recording.store import Store
from tests.gateway import process
from tests.gateway.house import House, eventually
from tests.gateway.stranger import Raw, failure, load, string_of
from tests.support.valkey import Valkey, running

# As quick as lines can be made, and each one different.
TICKER = "seq -f tick-%.0f 1000000000"


class Apart:
    """The house with its gateway in a process of its own."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.database = str(connection.settings_dict["NAME"])
        self.child: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self, **limits: int) -> None:
        self.child, self.port = process.start(self.database, port=self.port, **limits)
        self.house.elsewhere = self.port
        (self.house.dir / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public_line()}\n")

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait(30)
            self.child = None


@pytest.fixture
def apart(plain_house: House) -> Iterator[Apart]:
    process_house = Apart(plain_house)
    yield process_house
    process_house.kill()


def test_a_killed_gateway_loses_nothing_that_was_shown_and_its_sessions_are_closed_as_crashed(
    apart: Apart,
) -> None:
    house = apart.house
    house.grant()
    apart.start()
    client = house.popen(TICKER)
    assert client.stdout is not None
    shown = client.stdout.read(100_000)
    apart.kill()
    shown += client.stdout.read()
    client.wait(30)
    session = house.session()
    assert session.state == "live"
    apart.start()
    assert house.ended().end_reason == "crashed"
    assert services.seal_due(clock.now()) == 1
    session.recording.refresh_from_db()
    assert session.recording.state == "recovered"
    from sessions.recording import seal
    from sessions.services.recordings import recording_key, seal_key

    whole = b"".join(
        seal.open_sealed(
            Store(settings.BREAKGLASS.data_dir).sealed_path(session.pk),
            recording_key(),
            seal_key().public_key(),
        )
    ).decode()
    last = shown.decode().split()[-2]
    assert last.startswith("tick-") and last in whole
    assert house.run("echo again").stdout == b"again\n"


def test_when_the_disk_is_full_the_session_ends_and_nothing_unrecorded_was_shown(apart: Apart) -> None:
    house = apart.house
    house.grant()
    apart.start(file_limit=6_000_000)
    client = house.popen(TICKER)
    shown, err = client.communicate(timeout=60)
    assert b"could no longer be recorded" in err
    session = house.ended()
    assert session.end_reason == "cannot_record"
    recorded = house.recording(session)
    last = shown.decode().split("\n")[-2]
    assert last.startswith("tick-") and last in recorded


def test_too_little_room_for_recordings_refuses_new_sessions(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.grant()
    monkeypatch.setattr(Store, "free_bytes", lambda self: 1000)
    done = house.run("true")
    assert done.returncode == 255 and b"[cannot_record]" in done.stderr
    assert "Accepted" not in house.sshd.log


def test_a_recording_that_cannot_be_created_refuses_the_session_before_the_asset_is_dialled(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.grant()
    monkeypatch.setattr(
        Store, "open_path", lambda self, session_id: settings.BREAKGLASS.data_dir / "no" / "x.cast"
    )
    done = house.run("true")
    assert done.returncode == 255 and b"[cannot_record]" in done.stderr
    assert "Accepted" not in house.sshd.log
    assert house.ended().end_reason == "cannot_record"


@pytest.fixture
def redis(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Valkey]:
    """A doorbell that rings. Tasks stay with the broker of the test installation, which isn't there."""
    monkeypatch.setattr(later, "ask", lambda *_, **__: None)
    from breakglass import doorbell

    with running() as valkey:
        config = settings.BREAKGLASS.model_copy(update={"redis_url": valkey.url})
        settings.BREAKGLASS = config
        doorbell._client.cache_clear()
        yield valkey
        doorbell._client.cache_clear()


def test_the_doorbell_makes_a_kill_quick_and_a_dead_redis_extends_nothing(
    redis: Valkey, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "RENEW_EVERY", 3600.0)  # nothing but the doorbell makes the gateway look
    grant = house.grant()
    first = house.prompt()
    eventually(redis.somebody_listens, "the gateway listens to the doorbell")
    services.kill(house.session().pk, house.ada.person, "looks wrong", clock.now())
    first.expect("your access was withdrawn")
    monkeypatch.setattr(watchdog, "RENEW_EVERY", 0.5)
    second = house.prompt()
    redis.kill()
    house.ends_in(grant, 2)
    second.expect("the time of your grant is over")


def test_a_client_that_is_killed_ends_its_session(house: House) -> None:
    house.grant()
    client = house.popen("echo up; sleep 100")
    assert client.stdout is not None and client.stdout.readline() == b"up\n"
    client.kill()
    assert house.ended().end_reason in {"client_closed", "client_lost"}


def test_an_asset_that_goes_away_is_said(house: House) -> None:
    house.grant()
    child = house.prompt()
    child.sendline("kill -9 $PPID")
    child.expect("the asset closed it")
    child.expect(pexpect.EOF)
    assert house.ended().end_reason == "asset_closed"


@pytest.mark.parametrize("client_limit", ["default", "1M"])
def test_keys_are_exchanged_again_and_again_under_load_both_ways(
    house: House, monkeypatch: pytest.MonkeyPatch, client_limit: str
) -> None:
    monkeypatch.setattr(Packetizer, "rekey_bytes", 2_000_000)
    house.grant()
    data = os.urandom(1 << 20) * 48
    done = house.run("cat", stdin=data, options=("-o", f"RekeyLimit={client_limit}"), timeout=120)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest(), done.stderr[-500:]


def test_a_stopped_client_fills_no_memory(house: House) -> None:
    house.grant()
    client = house.popen("cat /dev/zero")
    assert client.stdout is not None
    client.stdout.read(1000)
    client.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    before = rss()
    time.sleep(2)
    assert rss() - before < 50_000_000  # in that time the asset has ten times as much to give
    client.kill()
    client.wait()


def test_a_client_that_ignores_its_window_is_cut_off(house: House) -> None:
    house.grant()
    raw = Raw(house.port)
    raw.service()
    raw.public_key("rita+hist-01", load(house.rita.key))
    failure(raw.hear())
    raw.keyboard("rita+hist-01")
    assert raw.hear()[0] == 60  # type: ignore[index]
    raw.answer(house.rita.code())
    assert raw.hear()[0] == 53  # type: ignore[index]
    assert raw.hear()[0] == 52  # type: ignore[index]
    raw.open_session()
    assert raw.hear()[0] == 91  # type: ignore[index]
    raw.send(98, b"\0\0\0\0", string_of("exec"), b"\1", string_of("sleep 30"))
    chunk = string_of("x" * 32000)
    try:
        for _ in range(200):
            raw.send(94, b"\0\0\0\0", chunk)
    except (EOFError, OSError):
        pass
    assert raw.closed()
    assert house.ended().end_reason == "protocol_error"


def test_revoking_while_the_prompt_waits_for_the_code_lets_nobody_in(house: House) -> None:
    grant = house.grant()
    command = house.ssh("echo in-$((40+2))")
    child = pexpect.spawn(command[0], command[1:], timeout=30, encoding="utf-8")
    child.expect("One-time code: ")
    grants.revoke(grant.pk, house.ada.person, "no longer", house.ada.code(), clock.now())
    child.sendline(house.rita.code())
    child.expect("grant_ended")
    child.expect(pexpect.EOF)
    assert "in-42" not in child.before


def rss() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
