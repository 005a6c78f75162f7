"""A frozen session: what the person sends is held in order and bounded, output goes on, and nothing is sent twice."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pexpect
import pytest
from paramiko.ssh_exception import SSHException

from breakglass import clock
from breakglass.services import grants
from sessions import services
from sessions.gateway import freezing
from sessions.gateway.flow import WINDOW, Credit
from sessions.gateway.freezing import Held
from sessions.gateway.live import LiveSession
from sessions.gateway.sides import PersonSide
from sessions.gateway.watchdog import Watchdog
from sessions.models import SSHSession
from sessions.states import EndReason
from tests.gateway.house import House, eventually, read_until
from tests.gateway.moving import words
from tests.gateway.test_ends import live, look
from tests.gateway.test_jump import jump

TICKER = "i=0; while :; do i=$((i+1)); echo tick-$i $(stty size); sleep 0.05; done &"


def freeze(house: House, reason: str = "wrong machine") -> None:
    services.freeze(house.session().pk, house.ada.person, reason, clock.now())
    look(house)
    eventually(lambda: live(house).freezing, "it is frozen")


def unfreeze(house: House) -> None:
    services.unfreeze(house.session().pk, house.ada.person, clock.now())
    look(house)


def held(house: House) -> int:
    """Bytes that are held now, on all channels."""
    sides = [channel.person for channel in live(house).open_channels()]
    return sum(
        len(item)
        for side in sides
        if side._held is not None
        for item in side._held._items
        if isinstance(item, bytearray)
    )


@contextmanager
def frozen(house: House, command: str, **changes: object) -> Iterator[subprocess.Popen[bytes]]:
    """A command by stock ssh that says `up`, frozen then."""
    house.grant(**changes)  # type: ignore[arg-type]
    client = house.popen(f"echo up; {command}")
    try:
        assert client.stdout is not None
        read_until(client.stdout, b"up\n")
        freeze(house)
        yield client
    finally:
        client.kill()
        client.wait(30)


def send(client: subprocess.Popen[bytes], data: bytes, *, close: bool = False) -> threading.Thread:
    """Write into a client's stdin beside the test: it may have to wait for the window."""

    def write() -> None:
        assert client.stdin is not None
        try:
            client.stdin.write(data)
            client.stdin.flush()
            if close:
                client.stdin.close()
        except OSError:
            return

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def test_what_is_typed_into_a_frozen_shell_is_held_and_sent_on_once(house: House) -> None:
    house.grant()
    child = house.prompt()
    child.sendline(TICKER)
    child.expect("tick-3 33 111")
    freeze(house)
    child.expect("this session is frozen by Ada: wrong machine. What you send is held; output goes on.")
    typed = f"echo typed-$((40+2)) >> {house.dir}/typed"
    child.sendline(typed)
    child.setwinsize(44, 99)
    for _ in range(10):
        child.expect(r"tick-\d+ 33 111\r\n")
        assert "typed" not in child.before, "not even its echo"
    assert not (house.dir / "typed").exists()
    unfreeze(house)
    child.expect("this session goes on")
    child.expect(r"tick-\d+ 44 99\r\n")
    child.sendline(f"echo later >> {house.dir}/typed; kill %1; exit")
    session = house.ended()
    recording = house.recording(session)
    assert '"m","frozen by Ada: wrong machine"' in recording and '"m","unfrozen"' in recording
    assert "this session is frozen by Ada" in recording
    assert (house.dir / "typed").read_text() == "typed-42\nlater\n"
    assert [row["reason"] for row in house.audited("gateway:session:frozen")] == ["wrong machine"]
    assert len(house.audited("gateway:session:unfrozen")) == 1


def test_a_commands_input_is_held_within_the_window_and_comes_whole_and_in_order(house: House) -> None:
    data = os.urandom(3 * WINDOW)
    with frozen(house, "sha256sum") as client:
        assert client.stdout is not None and client.stderr is not None
        read_until(client.stderr, b"this session is frozen by Ada")
        writer = send(client, data, close=True)
        eventually(lambda: held(house) >= WINDOW, "as much came as may come")
        before = held(house)
        live(house).person_leg.ping()
        assert held(house) == before == WINDOW, "and not more"
        (channel,) = live(house).open_channels()
        assert channel.traffic_in.count == 0
        unfreeze(house)
        assert client.stdout.read().split()[0].decode() == hashlib.sha256(data).hexdigest()
        writer.join(30)
        assert client.wait(30) == 0
    row = house.ended().channels.get()
    assert (row.bytes_in, row.sha256_in) == (len(data), hashlib.sha256(data).hexdigest())


def test_frozen_again_and_again_nothing_is_lost_or_sent_twice(house: House) -> None:
    data = os.urandom(12_000_000)
    with frozen(house, "sha256sum") as client:
        writer = send(client, data, close=True)
        session = live(house)
        assert client.stdout is not None
        for round_ in range(40):
            session.unfreeze(freezing.BY_PERSON)
            session.freeze(freezing.BY_PERSON, f"round {round_}")
        unfreeze(house)
        assert client.stdout.read().split()[0].decode() == hashlib.sha256(data).hexdigest()
        writer.join(30)


def test_it_goes_on_only_when_no_cause_is_left(house: House) -> None:
    with frozen(house, "cat") as client:
        assert client.stdout is not None and client.stderr is not None
        session = live(house)
        session.freeze("disk", "because the disk is full")
        send(client, b"held\n")
        eventually(lambda: held(house) == 5, "it is held")
        unfreeze(house)
        read_until(client.stderr, b"still frozen because the disk is full")
        assert session.freezing and held(house) == 5
        session.unfreeze("disk")
        assert client.stdout.readline() == b"held\n"


def test_files_over_sftp_and_through_a_jump_are_held_too(house: House) -> None:
    house.grant(channels=["shell", "exec", "sftp"])
    here, there = house.dir / "here", house.dir / "there"
    here.write_bytes(os.urandom(200_000))
    direct = [*words(house, "sftp", "-o", "BatchMode=no"), "rita+hist-01@127.0.0.1"]
    for number, command in enumerate((direct, jump(house, "hist-01", program="sftp"))):
        client = subprocess.Popen(
            command, env=house.askpass(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )  # fmt: skip
        assert client.stdout is not None and client.stdin is not None
        send(client, b"pwd\n")
        read_until(client.stdout, b"Remote working directory")
        target = Path(f"{there}-{number}")
        freeze(house)
        send(client, f"put {here} {target}\nbye\n".encode())
        eventually(lambda: held(house) > 0, "its requests are held")
        assert not target.exists()
        unfreeze(house)
        assert client.wait(30) == 0
        assert target.read_bytes() == here.read_bytes()
        house.ended()


def test_a_forward_is_held(house: House, page: int) -> None:
    house.grant(channels=["shell", "exec", "forward"], forward_to=[f"127.0.0.1:{page}"])
    client = house.popen("-W", f"127.0.0.1:{page}")
    assert client.stdout is not None
    eventually(
        lambda: live(house).open_channels() and live(house).open_channels()[0].person.opened, "it is open"
    )
    freeze(house)
    send(client, b"GET / HTTP/1.0\r\n\r\n")
    eventually(lambda: held(house) == 18, "it is held")
    unfreeze(house)
    assert b"status: fine" in client.stdout.read()
    client.wait(30)


@contextmanager
def stuck(house: House) -> Iterator[subprocess.Popen[bytes]]:
    """A connection of several busy channels whose client is stopped: whoever writes to it waits."""
    house.grant()
    master, control = house.master()
    others = [house.started(house.ssh("yes", options=("-S", str(control)))) for _ in range(5)]
    drains = [threading.Thread(target=drain, args=(other,), daemon=True) for other in others]
    for thread in drains:
        thread.start()
    session = live(house)
    eventually(lambda: sum(c.traffic_out.count > 0 for c in session.open_channels()) == 5, "all are busy")
    master.send_signal(signal.SIGSTOP)
    try:
        eventually(lambda: at_rest(session), "the gateway waits for its client")
        yield master
    finally:
        master.kill()
        master.wait(30)
        for other in others:
            other.kill()
            other.wait(30)
        for thread in drains:
            thread.join(30)


def drain(client: subprocess.Popen[bytes]) -> None:
    assert client.stdout is not None
    while client.stdout.read(65536):
        pass


def at_rest(session: LiveSession) -> bool:
    """Whether nothing has gone to the person for a moment."""
    before = session.person_leg.packetizer.relayed_at
    time.sleep(0.3)
    return session.person_leg.packetizer.relayed_at == before


def test_who_reads_nothing_is_frozen_at_once_on_every_channel(house: House) -> None:
    """Else they would type on, and whoever confirms everybody's sessions would wait for them."""
    with stuck(house):
        session = live(house)
        freezer = threading.Thread(target=session.freeze, args=(freezing.BY_PERSON, "by Ada"), daemon=True)
        freezer.start()
        freezer.join(5)
        assert not freezer.is_alive()
        assert all(channel.person._held is not None for channel in session.open_channels())
        session.end(EndReason.KILLED)
    house.ended()


def test_a_new_channel_is_refused_with_the_reason_and_written_down(house: House) -> None:
    house.grant()
    master, control = house.master()
    freeze(house)
    refused = subprocess.run(
        ["ssh", "-S", str(control), "127.0.0.1", "true"], capture_output=True, timeout=60, check=False
    )
    assert refused.returncode != 0
    assert master.stderr is not None
    said = read_until(master.stderr, b"[session_frozen]")
    assert b"This session is frozen by Ada: wrong machine." in said
    unfreeze(house)
    eventually(lambda: not live(house).freezing, "it goes on")
    again = subprocess.run(["ssh", "-S", str(control), "127.0.0.1", "true"], timeout=60, check=False)
    assert again.returncode == 0
    master.kill()
    master.wait(30)
    house.ended()
    rows = house.audited("gateway:channel:refused")
    assert [row["refusal"] for row in rows] == ["session_frozen"]


@pytest.mark.parametrize("how", ["killed", "expired", "revoked", "client_closed"])
def test_what_is_held_at_the_end_is_never_passed_on(house: House, how: str) -> None:
    target = house.dir / "target"
    with frozen(house, f"cat > {target}") as client:
        send(client, b"held\n" * 1000, close=True)
        eventually(lambda: held(house) == 5000, "it is held")
        session, grant = house.session(), house.session().grant
        if how == "killed":
            services.kill(session.pk, house.ada.person, "enough", clock.now())
        elif how == "revoked":
            grants.revoke(grant.pk, house.ada.person, "enough", house.ada.code(), clock.now())
        elif how == "expired":
            house.ends_in(grant, 0.5)
        else:
            client.kill()
        look(house)
        client.wait(30)
        ended = house.ended()
    assert ended.end_reason == how
    assert target.read_bytes() == b"" and ended.bytes_in == 0
    assert ended.frozen_at is not None and ended.freeze_reason == "wrong machine", "it stays on record"


def test_without_a_doorbell_a_freeze_is_noticed_too(house: House) -> None:
    house.grant()
    child = house.prompt()
    services.freeze(house.session().pk, house.ada.person, "", clock.now())
    child.expect(r"this session is frozen by Ada\. What you send is held")
    services.unfreeze(house.session().pk, house.ada.person, clock.now())
    child.expect("this session goes on")


def test_a_frozen_person_is_not_idle(house: House) -> None:
    with frozen(house, "cat"):
        session = live(house)
        limit = session.authorization.idle_seconds
        session.last_typed = clock.monotonic() - limit + 60
        late = clock.monotonic() + limit
        assert Watchdog._end_of(session, late, clock.now()) in (None, EndReason.LEASE_LOST)
        session.freezing._since = clock.monotonic() - 3600
        session.last_typed -= 3600
        session.unfreeze(freezing.BY_PERSON)
        idle = clock.monotonic() - session.last_typed
        assert limit - 90 < idle < limit, "the hour in which nothing could be typed doesn't count"


@pytest.mark.parametrize("end", [EndReason.KILLED, EndReason.EXPIRED])
def test_racing_with_the_end_nothing_is_passed_on_after_it(house: House, end: EndReason) -> None:
    target = house.dir / "target"
    with frozen(house, f"cat > {target}; sleep 30") as client:
        send(client, os.urandom(300_000))
        eventually(lambda: held(house) >= 300_000, "it is held")
        session = live(house)
        racers = [
            threading.Thread(target=lambda: [toggle(session) for _ in range(50)]),
            threading.Thread(target=lambda: session.end(end)),
        ]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join(30)
        assert house.ended().end_reason == end
        eventually(lambda: not session.freezing._to_do, "nobody is at work on it any more")
        passed = house.session().bytes_in
        assert target.stat().st_size <= passed


def toggle(session: LiveSession) -> None:
    session.unfreeze(freezing.BY_PERSON)
    session.freeze(freezing.BY_PERSON, "again")


def test_a_closed_terminal_ends_a_frozen_session(house: House) -> None:
    house.grant()
    child = house.prompt()
    freeze(house)
    child.send("\r~.")
    child.expect(pexpect.EOF)
    assert house.ended().end_reason in ("client_closed", "client_lost")


# Its parts. ----------------------------------------------------------------------------------------------


def test_a_paused_credit_gives_nothing_back_and_notices_an_overrun() -> None:
    credit = Credit()
    assert credit.open(10 * WINDOW) == WINDOW
    credit.pause()
    assert credit.spend(WINDOW) == 0 and credit.grant(5) == 0
    with pytest.raises(SSHException):
        credit.spend(1)
    assert credit.resume() == WINDOW
    assert credit.spend(WINDOW // 2) > 0


def test_of_many_requests_only_so_many_are_held_and_of_resizes_the_last() -> None:
    box, done = Held(), list[int]()
    for number in range(1000):
        assert box.keep(freezing.RESIZE, lambda number=number: done.append(number))
    assert box.keep_data(memoryview(b"a" * freezing.PIECE)) and box.keep_data(memoryview(b"b"))
    for _ in range(freezing.MOST_HELD - 1):
        assert box.keep("signal", lambda: done.append(-1))
    with pytest.raises(SSHException):
        box.keep("signal", lambda: None)
    assert box.take() is None, "held"
    box.flow(True)
    first = box.take()
    assert callable(first)
    first()
    assert done == [999]
    assert (box.take(), box.take()) == (b"a" * freezing.PIECE, b"b")
    box.flow(False)
    assert box.take() is None and not box.is_over
    box.flow(True)
    while box.take() is not None:
        pass
    assert box.is_over and not box.keep_data(memoryview(b"c")) and not box.keep("signal", lambda: None)


def test_a_piece_is_passed_on_as_it_came(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the reader or by the thread that releases: in order, where one stops the other goes on."""
    seen: list[bytes] = []
    original = PersonSide._pass_on

    def passing(side: PersonSide, plain: bytearray, count: int, size: int) -> None:
        seen.append(bytes(plain[10 : 10 + count]))
        original(side, plain, count, size)

    monkeypatch.setattr(PersonSide, "_pass_on", passing)
    with frozen(house, "cat") as client:
        assert client.stdout is not None
        for number in range(5):
            send(client, f"line {number}\n".encode()).join(30)
        eventually(lambda: held(house) == 35, "they are held")
        unfreeze(house)
        for number in range(5):
            assert client.stdout.readline() == f"line {number}\n".encode()
        eventually(lambda: live(house).open_channels()[0].person._held is None, "nothing is held any more")
        send(client, b"line 5\n").join(30)
        assert client.stdout.readline() == b"line 5\n"
    lines = b"".join(seen).splitlines()
    assert all(one < other for one, other in pairwise(lines)) and len(lines) == 6
    assert SSHSession.objects.get().frozen_at is None
