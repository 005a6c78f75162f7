"""Why a session ends: each layer alone, with the others out of action. Each test fails when its layer is taken away.

Layer 4 (push) is in test_push.py, layer 5 (what the worker writes down) in tests/services/test_ends_once.py, layer 6 (the
guard) in test_guard.py.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest
from django.db import connection

from breakglass import clock
from breakglass.models import Grant
from breakglass.services import credentials
from sessions.gateway import lease, live, watchdog
from sessions.gateway.hostkey import public_line
from sessions.gateway.live import LiveSession
from sessions.gateway.watchdog import Watchdog
from tests.gateway import process
from tests.gateway.house import House, eventually
from tests.gateway.test_ends import TICKER, look
from tests.gateway.test_ends import live as live_session
from tests.support.needs import requires
from tests.test_clock import DAY, HOUR, SetWall, step

pytestmark = requires("ssh", "sshd", "ssh-keygen")
__all__ = ["step"]
PATIENCE = 30


@pytest.fixture
def no_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watchdog, "_look_at", lambda *_, **__: None)


@pytest.fixture
def no_look_at_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveSession, "go_on", lambda *_, **__: None)


@pytest.fixture
def no_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "renew", lambda _: None)


def ticking(house: House) -> subprocess.Popen[bytes]:
    """A command that has begun to print, and goes on."""
    client = house.popen(TICKER)
    assert client.stdout is not None and client.stdout.readline() == b"tick-1\n"
    return client


def silent(house: House) -> subprocess.Popen[bytes]:
    """A command that prints nothing any more."""
    client = house.popen("echo up; sleep 1000")
    assert client.stdout is not None and client.stdout.readline() == b"up\n"
    return client


def last_words(client: subprocess.Popen[bytes]) -> str:
    """What it is told at its end, which must come while its input stays open."""
    keyboard, client.stdin = client.stdin, None
    try:
        return client.communicate(timeout=PATIENCE)[1].decode()
    finally:
        assert keyboard is not None
        keyboard.close()


def over_in(session: LiveSession, seconds: float) -> None:
    """The deadline is nearer than the grant says: nothing but the gateway's memory knows."""
    session.adopt(replace(session.authorization, deadline=clock.monotonic() + seconds))


# Layer 1 -------------------------------------------------------------------------------------------------


def log_in(house: House, grant: Grant) -> subprocess.CompletedProcess[bytes]:
    """At the asset itself, with the gateway's own credential: as who has taken the gateway over would."""
    grant.refresh_from_db()
    assert grant.ends_at is not None
    login = house.sshd.login
    shown = credentials.for_upstream(grant.pk, house.asset.pk, login, grant.ends_at, clock.now())
    assert shown.private_key is not None and shown.certificate is not None
    key = house.dir / "taken"
    key.write_text(shown.private_key)
    key.chmod(0o600)
    Path(f"{key}-cert.pub").write_text(shown.certificate)
    eventually(lambda: not 0 < left_of(grant) < 60, "its end, if that is near", 60)
    return subprocess.run(
        ["ssh", "-F", "none", "-i", str(key), "-p", str(house.sshd.port), "-o", "IdentitiesOnly=yes",
         "-o", "IdentityAgent=none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
         "-o", "BatchMode=yes", f"{login}@127.0.0.1", "echo in"],
        capture_output=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


def left_of(grant: Grant) -> float:
    assert grant.ends_at is not None
    return (grant.ends_at - clock.now()).total_seconds()


def test_the_certificate_for_the_asset_ends_with_the_grant(plain_house: House) -> None:
    grant = plain_house.grant()
    assert log_in(plain_house, grant).stdout == b"in\n"
    plain_house.ends_in(grant, 2)
    late = log_in(plain_house, grant)
    assert late.returncode == 255 and b"Permission denied" in late.stderr
    assert "Certificate invalid: expired" in plain_house.sshd.log


# Layer 2 -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_watchdog", "no_renewal")
def test_no_chunk_is_relayed_after_the_deadline(house: House) -> None:
    house.grant()
    client = ticking(house)
    over_in(live_session(house), 0.5)
    assert "the time of your grant is over" in last_words(client)


@pytest.mark.usefixtures("no_look_at_bytes", "no_renewal")
def test_the_watchdog_ends_who_sends_nothing(house: House) -> None:
    house.grant()
    client = silent(house)
    over_in(live_session(house), 0.5)
    assert "the time of your grant is over" in last_words(client)


@pytest.mark.usefixtures("no_watchdog", "no_renewal")
def test_no_chunk_is_relayed_after_the_end_by_the_wall_clock(house: House, step: SetWall) -> None:
    house.grant()
    client = ticking(house)
    step(HOUR)
    assert "the time of your grant is over" in last_words(client)


@pytest.mark.usefixtures("no_look_at_bytes", "no_renewal")
@pytest.mark.parametrize("seconds", [HOUR, DAY])
def test_a_wall_clock_set_forward_ends_it_early_and_that_is_written_down(
    house: House, step: SetWall, seconds: float
) -> None:
    house.grant()
    client = silent(house)
    step(seconds)
    assert "the time of your grant is over" in last_words(client)
    eventually(lambda: house.audited("gateway:clock:stepped"), "the audit row")
    (row,) = house.audited("gateway:clock:stepped")
    assert row["direction"] == "forward" and row["seconds"] == pytest.approx(seconds, abs=2)


def test_a_wall_clock_set_back_extends_nothing_and_is_written_down_once(house: House, step: SetWall) -> None:
    """Neither the session that lives, nor a new one under the same grant: it is over when it is over."""
    grant = house.grant()
    client = ticking(house)
    end = house.ends_in(grant, 3)
    code = house.rita.code()
    step(-HOUR)
    look(house)
    assert "the time of your grant is over" in last_words(client)
    assert clock.now() >= end
    again = house.run("true", code=code)
    assert again.returncode == 255 and b"[grant_ended]" in again.stderr
    eventually(lambda: house.audited("gateway:clock:stepped"), "the audit row")
    (row,) = house.audited("gateway:clock:stepped")
    assert row["direction"] == "back" and row["seconds"] == pytest.approx(-HOUR, abs=2)


def test_nobody_gets_more_than_the_stated_duration_whatever_the_end_in_the_books(house: House) -> None:
    """As when the end was written down by a machine whose clock was a day ahead."""
    grant = house.grant(minutes=30)
    house.ends_in(grant, DAY)
    client = silent(house)
    session = live_session(house)
    assert session.deadline - clock.monotonic() <= 30 * 60
    first = session.deadline
    house.ends_in(grant, 2 * DAY)
    before = session.confirmed
    look(house)
    eventually(lambda: session.confirmed > before, "it was confirmed again")
    assert session.deadline == first
    client.kill()
    client.communicate()


# Layer 3 -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_look_at_bytes", "no_renewal")
def test_a_session_that_isnt_confirmed_ends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.grant()
    client = silent(house)
    monkeypatch.setattr(watchdog, "LEASE", 0.5)
    assert "could not confirm your grant" in last_words(client)


def test_while_nobody_confirms_it_nothing_new_begins_and_what_is_open_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.grant()
    master, control = house.master()

    def another(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["ssh", "-S", str(control), "127.0.0.1", *words],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    session = live_session(house)
    real = lease.renew
    monkeypatch.setattr(lease, "renew", lambda _: None)
    open_already = subprocess.Popen(
        ["ssh", "-S", str(control), "127.0.0.1", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert open_already.stdin is not None and open_already.stdout is not None
    open_already.stdin.write(b"one\n")
    open_already.stdin.flush()
    assert open_already.stdout.readline() == b"one\n"
    session.confirmed = clock.monotonic() - live.UNCONFIRMED
    refused = another("true")
    assert refused.returncode != 0
    open_already.stdin.write(b"two\n")
    open_already.stdin.flush()
    assert open_already.stdout.readline() == b"two\n"
    eventually(lambda: house.audited("gateway:channel:refused"), "the audit row")
    assert house.audited("gateway:channel:refused")[0]["refusal"] == "unconfirmed"
    monkeypatch.setattr(lease, "renew", real)
    before = session.confirmed
    look(house)
    eventually(lambda: session.confirmed > before, "it is confirmed again")
    assert another("echo again").stdout == b"again\n"
    open_already.kill()
    open_already.communicate()
    master.terminate()
    assert b"[unconfirmed]" in master.communicate(timeout=PATIENCE)[1]


def test_a_channel_that_was_opened_before_begins_nothing_while_nobody_confirms_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.grant()
    name = f"rita+{house.asset.name}"
    with socket.create_connection(("127.0.0.1", house.port)) as line, paramiko.Transport(line) as client:
        client.start_client(timeout=PATIENCE)
        client.auth_publickey(name, paramiko.Ed25519Key.from_private_key_file(str(house.rita.key)))
        client.auth_interactive(name, lambda *_: [house.rita.code()])
        early, later = client.open_session(timeout=PATIENCE), client.open_session(timeout=PATIENCE)
        with monkeypatch.context() as gap:
            gap.setattr(live, "UNCONFIRMED", -1.0)
            early.exec_command("echo early")
            assert early.makefile().read() == b""
            assert b"[unconfirmed]" in early.makefile_stderr().read()
        later.exec_command("echo later")
        assert later.makefile().read() == b"later\n"
    refused = lambda: [row["refusal"] for row in house.audited("gateway:channel:refused")]  # noqa: E731
    eventually(lambda: "unconfirmed" in refused(), "the audit row")


# Stopped across the end. ---------------------------------------------------------------------------------


@pytest.fixture
def apart(plain_house: House) -> Iterator[subprocess.Popen[bytes]]:
    """The gateway as a process of its own, without a guard."""
    child, port = process.start(str(connection.settings_dict["NAME"]))
    plain_house.elsewhere = port
    (plain_house.dir / "known_hosts").write_text(f"[127.0.0.1]:{port} {public_line()}\n")
    yield child
    child.kill()
    child.communicate()


def test_a_gateway_that_slept_through_the_end_relays_nothing_when_it_wakes(
    apart: subprocess.Popen[bytes], plain_house: House
) -> None:
    house = plain_house
    grant = house.grant()
    client = ticking(house)
    end = house.ends_in(grant, 8)  # it notices within 5 s
    time.sleep(6)
    os.kill(apart.pid, signal.SIGSTOP)
    try:
        eventually(lambda: (clock.now() - end).total_seconds() > 2, "the end has passed")
    finally:
        os.kill(apart.pid, signal.SIGCONT)
    assert "the time of your grant is over" in last_words(client)
    session = house.ended()
    assert session.end_reason == "expired" and session.ended_at is not None and session.ended_at >= end
