"""How sessions end: on time, when somebody says so, and with the reason on the person's screen. No byte after it."""

from __future__ import annotations

import subprocess
import threading
import time
from datetime import datetime, timedelta

import pexpect
import pytest
from django.db import OperationalError

from breakglass import clock, queries
from breakglass.models import Grant
from breakglass.services import grants, locks, people
from sessions import services
from sessions.gateway import pep, watchdog
from sessions.gateway.live import LiveSession
from sessions.gateway.relay import PersonSide, SplicedChannel
from sessions.gateway.transport import LegGone
from sessions.models import SSHSession
from sessions.states import EndReason
from tests.gateway import house as building
from tests.gateway.house import House, eventually, read_until

TICKER = "i=0; while :; do i=$((i+1)); echo tick-$i; sleep 0.02; done"


# A busy machine may be late with the gateway's loop. How late it is on a quiet one, tests/bench measures.
SLACK = 2.0


def live(house: House) -> LiveSession:
    gateway = house.gateway
    assert gateway is not None
    eventually(lambda: gateway._sessions, "a session is live")
    (session,) = gateway._sessions.values()
    return session


def look(house: House) -> None:
    """As the doorbell does: Redis isn't part of these tests."""
    assert house.gateway is not None
    house.gateway._watchdog.look_again()


def ends_soon(house: House, grant: Grant, seconds: float) -> datetime:
    """Moves the grant's end and waits until the gateway knows: the session ends after `seconds`."""
    end = house.ends_in(grant, seconds)
    session = live(house)
    look(house)
    eventually(lambda: session.deadline <= clock.monotonic() + seconds, "the gateway knows the new end")
    return end


def on_time(session: SSHSession, end: datetime) -> bool:
    """Whether nothing passed from `end` on, by the gateway's own record, and it didn't end before either."""
    return session.ended_at is not None and -0.1 < (session.ended_at - end).total_seconds() < SLACK


def test_a_shell_is_cut_at_the_end_of_the_grant_with_the_reason(house: House) -> None:
    grant = house.grant()
    child = house.prompt()
    end = ends_soon(house, grant, 1.5)
    child.expect("the time of your grant is over")
    child.expect(pexpect.EOF)
    session = house.ended()
    assert session.end_reason == "expired" and on_time(session, end)


def test_a_command_under_load_gets_no_byte_after_the_end(house: House) -> None:
    grant = house.grant()
    client = house.popen("cat /dev/zero")
    assert client.stdout is not None
    client.stdout.read(1_000_000)
    end = ends_soon(house, grant, 1.5)
    while client.stdout.read(1 << 20):
        pass
    client.wait(30)
    assert client.stderr is not None
    assert b"the time of your grant is over" in client.stderr.read()
    session = house.ended()
    assert session.end_reason == "expired" and on_time(session, end)


def test_a_multiplexed_connection_ends_for_all_its_channels(house: House) -> None:
    grant = house.grant()
    master, control = house.master()
    slaves = [
        subprocess.Popen(
            ["ssh", "-S", str(control), "127.0.0.1", TICKER],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    for slave in slaves:
        assert slave.stdout is not None
        assert slave.stdout.readline() == b"tick-1\n"
    house.ends_in(grant, 1)
    look(house)
    for slave in slaves:
        assert slave.wait(30) != 0
        assert slave.stderr is not None
        assert b"the time of your grant is over" in slave.stderr.read()
    assert master.wait(30) != 0
    assert house.ended().end_reason == "expired"
    after = house.run("true")
    assert b"grant_ended" in after.stderr and after.returncode == 255


def test_setting_the_wall_clock_back_gives_no_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = house.grant()
    child = house.prompt()
    ends_soon(house, grant, 2)
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() - timedelta(hours=1))
    look(house)
    child.expect("the time of your grant is over")


def test_a_grant_whose_clock_starts_at_first_use_starts_with_the_first_connection(house: House) -> None:
    grant = house.grant(clock={"starts": "first_use", "use_within_minutes": 30})
    assert grant.state == "armed"
    assert house.run("true").returncode == 0
    grant.refresh_from_db()
    assert grant.state == "active" and grant.ends_at is not None


def test_an_end_never_waits_for_a_disk_that_the_books_of_a_channel_wait_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the one thread that ends sessions stands still, and the guard kills everybody's."""
    house.grant()
    master, control = house.master()
    session, slow, disk = live(house), threading.Event(), threading.Event()
    close = session._close_books

    def close_slowly(channel: SplicedChannel) -> None:
        slow.set()
        disk.wait(30)
        close(channel)

    monkeypatch.setattr(session, "_close_books", close_slowly)
    command = house.started(house.ssh("true", options=("-S", str(control))))
    try:
        assert slow.wait(30)
        ending = threading.Thread(target=session.end, args=(EndReason.KILLED,), daemon=True)
        ending.start()
        ending.join(5)
        assert not ending.is_alive()
    finally:
        disk.set()
        command.communicate(timeout=30)
        master.communicate(timeout=30)
    assert house.ended().channels.get().closed_at is not None, "and they are closed before the session's"


@pytest.mark.parametrize(
    ("minutes", "left", "said"),
    [(30, 600, "in 10 minutes"), (30, 300, "in 5 minutes"), (30, 60, "in 1 minute")],
)
def test_warnings_come_before_the_end(house: House, minutes: int, left: int, said: str) -> None:
    grant = house.grant(minutes=minutes)
    child = house.prompt()
    house.ends_in(grant, left + 0.7)
    look(house)
    child.expect(f"ends {said}")
    child.sendline("echo still-$((1+1))")
    child.expect("still-2")
    child.sendline("exit")
    session = house.ended()
    assert f"ends {said}" in house.recording(session)


def test_a_warning_to_a_command_goes_to_its_errors_and_not_into_its_output(house: House) -> None:
    grant = house.grant()
    client = house.popen("echo up; read line; echo done")
    assert client.stdout is not None and client.stderr is not None
    assert client.stdout.readline() == b"up\n"
    ends_soon(house, grant, 60.5)
    read_until(client.stderr, b"ends in 1 minute")
    out, _ = client.communicate(b"on\n", timeout=30)
    assert out == b"done\n"


def test_a_revoked_grant_ends_its_session_at_once(house: House) -> None:
    grant = house.grant()
    child = house.prompt()
    grants.revoke(grant.pk, house.ada.person, "wrong machine", house.ada.code(), clock.now())
    look(house)
    child.expect("your access was withdrawn")
    assert house.ended().end_reason == "revoked"


def test_a_released_grant_ends_its_session(house: House) -> None:
    grant = house.grant()
    child = house.prompt()
    grants.release(grant.pk, house.rita.person, clock.now())
    look(house)
    child.expect("you released the grant")
    assert house.ended().end_reason == "released"


def test_without_a_doorbell_a_revocation_is_noticed_within_six_seconds(house: House) -> None:
    grant = house.grant()
    child = house.prompt()
    revoked = clock.now()
    grants.revoke(grant.pk, house.ada.person, "wrong machine", house.ada.code(), revoked)
    child.expect("your access was withdrawn")
    ended = house.ended().ended_at
    assert ended is not None and (ended - revoked).total_seconds() < 6 + SLACK


def test_one_session_is_killed_and_its_neighbour_lives_on(house: House) -> None:
    house.grant()
    first = house.prompt()
    killed = house.session()
    second = house.prompt()
    services.kill(killed.pk, house.ada.person, "looks wrong", clock.now())
    look(house)
    first.expect(r"your access was withdrawn.*\[session_ended\]")
    first.expect(pexpect.EOF)
    assert "kill" not in first.before and "looks wrong" not in first.before
    second.sendline("echo alive-$((20+1))")
    second.expect("alive-21")
    killed.refresh_from_db()
    second.sendline("exit")
    house.ended()
    killed.refresh_from_db()
    assert killed.end_reason == "killed"


def test_a_lock_ends_the_sessions_that_it_is_about(house: House) -> None:
    house.grant()
    child = house.prompt()
    admin = building.human(house.dir, "admin", ["administrators"])
    locks.place(admin.person, "asset", "hist-01", "impostor suspected", admin.code(), clock.now())
    look(house)
    child.expect("your access was withdrawn")
    assert house.ended().end_reason == "locked"


def test_a_disabled_person_loses_the_session(house: House) -> None:
    house.grant()
    child = house.prompt()
    people.disable(house.rita.person, by=None, now=clock.now())
    look(house)
    child.expect("your access was withdrawn")
    assert house.ended().end_reason == "not_authorized"


def aged(session: LiveSession, *, typed: float = 0, confirmed: float = 0) -> bool:
    """Makes the last sign so old, again and again: a confirmation may be on its way. Whether the session is over."""
    now = clock.monotonic()
    session.last_typed = min(session.last_typed, now - typed)
    session.confirmed = min(session.confirmed, now - confirmed)
    return session.ended.is_set()


def test_a_shell_in_which_nothing_is_typed_ends_idle(house: House) -> None:
    house.grant()
    child = house.prompt()
    child.sendline(TICKER)
    child.expect("tick-3")
    session = live(house)
    eventually(lambda: aged(session, typed=600), "ended idle")
    child.expect("nothing was typed for too long")
    assert house.ended().end_reason == "idle"


def test_a_session_that_nobody_can_confirm_ends_after_a_minute(house: House) -> None:
    house.grant()
    child = house.prompt()
    session = live(house)
    eventually(lambda: aged(session, confirmed=61), "ended for want of a confirmation")
    child.expect("could not confirm your grant")
    assert house.ended().end_reason == "lease_lost"


def test_a_playbook_may_let_a_session_outlast_an_outage_but_not_its_grant(house: House) -> None:
    grant = house.grant(hold_until_expiry=True)
    child = house.prompt()
    live(house).confirmed -= 61
    time.sleep(0.5)
    child.sendline("echo still-$((1+1))")
    child.expect("still-2")
    ends_soon(house, grant, 1)
    child.expect("the time of your grant is over")


def test_while_the_database_is_away_nobody_gets_in_and_who_is_in_works_on_until_the_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = house.grant()
    child = house.prompt()
    ends_soon(house, grant, 8)

    def away(*_: object) -> None:
        raise OperationalError("the database is away")

    code = house.rita.code()
    monkeypatch.setattr(queries, "access_facts", away)
    monkeypatch.setattr(pep, "Standing", away)
    look(house)
    refused = house.run("true", code=code)
    assert refused.returncode == 255 and b"[database_unavailable]" in refused.stderr
    child.sendline("echo still-$((1+1))")
    child.expect("still-2")
    child.expect("the time of your grant is over")


def test_a_decision_that_fails_in_a_way_nobody_expected_ends_the_session(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.grant(hold_until_expiry=True)
    child = house.prompt()
    monkeypatch.setattr(pep, "Standing", lambda *_: 1 / 0)
    look(house)
    child.expect("could not confirm your grant")


def test_a_live_session_leaves_a_sign_in_the_database(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "SIGN_EVERY", 0.2)
    house.grant()
    child = house.prompt()
    first = house.session().renewed_at
    assert first is not None
    eventually(lambda: house.session().renewed_at != first, "a newer sign")
    child.sendline("exit")


def test_a_stopped_gateway_tells_its_people_and_writes_its_books(house: House) -> None:
    house.grant()
    child = house.prompt()
    house.stop()
    child.expect("the gateway is going down")
    session = house.session()
    assert (session.state, session.end_reason) == ("ended", "gateway_stopped")


def test_a_kill_reaches_the_client_while_its_command_still_runs(house: House) -> None:
    house.grant()
    client = house.popen("echo up; sleep 30")
    assert client.stdout is not None and client.stdout.readline() == b"up\n"
    session = live(house)
    session.end(EndReason.KILLED)
    client.wait(30)


@pytest.mark.parametrize("met", ["the session's end", "the asset's end"])
def test_the_farewell_reaches_a_client_whose_message_meets_the_end(
    house: House, monkeypatch: pytest.MonkeyPatch, met: str
) -> None:
    """The reader of the person's connection is in the middle of a message while the session ends around it."""
    house.grant()
    original = PersonSide.on_adjust

    def meeting(side: PersonSide, count: int) -> None:
        if met == "the session's end":
            side.channel.session.end(EndReason.EXPIRED)
        raise LegGone(side.channel.session.asset_leg, EOFError("gone")) if count else original(side, count)

    client = house.popen("cat /dev/zero")
    assert client.stdout is not None and client.stderr is not None
    client.stdout.read(1_000_000)
    monkeypatch.setattr(PersonSide, "on_adjust", meeting)
    _, err = client.communicate(timeout=30)
    said = b"the time of your grant is over" if met == "the session's end" else b"the asset"
    assert said in err and b"Received disconnect from" in err
