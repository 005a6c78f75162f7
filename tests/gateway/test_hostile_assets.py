"""Assets that mean harm: the person reads why it ended, and nobody else notices."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from breakglass.models import Asset, AssetHostKey
from breakglass.services.keys import fingerprint
from sessions.gateway import upstream, watch, watchdog
from sessions.gateway.wire import boolean, string, u32
from tests.gateway.hostile import HostileAsset, Line, Shown, data
from tests.gateway.house import House
from tests.gateway.intruder import KEXINIT, unencrypted
from tests.gateway.stranger import Raw, failure, load, string_of
from tests.gateway.test_jump import jump
from tests.gateway.test_jump import run as run_jump

MOST_GROWTH = 20_000_000
Act = Callable[[Line, Shown], None]


def rss() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Neighbour:
    """Somebody else's session, on a machine that means well."""

    def __init__(self, house: House) -> None:
        self.client = house.popen("cat")
        self.lines = 0
        self.echoes()

    def echoes(self) -> None:
        assert self.client.stdin is not None and self.client.stdout is not None
        self.lines += 1
        line = b"still here %d\n" % self.lines
        self.client.stdin.write(line)
        self.client.stdin.flush()
        assert self.client.stdout.readline() == line

    def leave(self) -> None:
        self.client.kill()
        self.client.wait()


@pytest.fixture(scope="module")
def neighbour(shared_house: House) -> Iterator[Neighbour]:
    shared_house.grant()
    there = Neighbour(shared_house)
    yield there
    there.leave()


@pytest.fixture
def asset(shared_house: House, neighbour: Neighbour) -> Iterator[HostileAsset]:
    """hist-01 is a hostile machine now. Afterwards the neighbour's session goes on, and memory hasn't grown."""
    hostile, before = HostileAsset(), rss()
    registered = Asset.objects.filter(pk=shared_house.asset.pk)
    key = AssetHostKey.objects.get(asset=shared_house.asset)
    registered.update(port=hostile.port)
    blob = base64.b64decode(hostile.key.get_base64())
    AssetHostKey.objects.filter(pk=key.pk).update(
        type="ssh-ed25519", blob=blob, fingerprint=fingerprint(blob)
    )
    try:
        yield hostile
        neighbour.echoes()
        assert rss() - before < MOST_GROWTH
    finally:
        hostile.stop()
        key.save()
        registered.update(port=shared_house.sshd.port)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes ten seconds takes two here."""
    monkeypatch.setattr(upstream, "HANDSHAKE_SECONDS", 2.0)


# Before and amid the login. ------------------------------------------------------------------------------


def endless_line(sock: socket.socket) -> None:
    for _ in range(10_000):
        sock.sendall(b"x" * 10_000)


def endless_lines(sock: socket.socket) -> None:
    for _ in range(100_000):
        sock.sendall(b"welcome\r\n" * 100)


def dripping_lines(sock: socket.socket) -> None:
    for _ in range(100):
        sock.sendall(b"wait\r\n")
        time.sleep(0.2)


def oversized_packet(sock: socket.socket) -> None:
    sock.sendall(b"SSH-2.0-x\r\n" + struct.pack(">IB", 512 << 20, 4))
    for _ in range(10_000):
        sock.sendall(bytes(10_000))


def nonsense_offer(sock: socket.socket) -> None:
    sock.sendall(b"SSH-2.0-x\r\n" + unencrypted(20, bytes(16) + u32(0xFFFFFFF0) + b"x" * 20))
    sock.recv(65536)


def never_ending_exchange(sock: socket.socket) -> None:
    sock.sendall(b"SSH-2.0-x\r\n" + unencrypted(20, KEXINIT))
    for _ in range(100_000):
        sock.sendall(unencrypted(2, string(bytes(200))) * 50)


def silence(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


@pytest.mark.parametrize(
    "first_words",
    [
        endless_line,
        endless_lines,
        dripping_lines,
        oversized_packet,
        nonsense_offer,
        never_ending_exchange,
        silence,
    ],
)
def test_one_that_never_gets_to_a_login_is_given_up_with_a_reason(
    shared_house: House, asset: HostileAsset, impatient: None, first_words: Callable[[socket.socket], None]
) -> None:
    asset.raw = first_words
    done = shared_house.run("true", timeout=60)
    assert done.returncode == 255 and b"[upstream_unreachable]" in done.stderr, done.stderr
    assert shared_house.ended(30).end_reason == "upstream_failed"


def test_one_that_is_silent_at_the_login_is_given_up_with_a_reason(
    shared_house: House, asset: HostileAsset, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.gateway.hostile.Server.check_auth_publickey", lambda *_: time.sleep(4) or 2)
    done = shared_house.run("true", timeout=60)
    assert done.returncode == 255 and b"[upstream_" in done.stderr, done.stderr


@pytest.mark.parametrize("way", ["direct", "jump"])
def test_a_changed_host_key_is_refused_before_any_credential_is_sent(
    shared_house: House, asset: HostileAsset, way: str
) -> None:
    other = base64.b64decode(shared_house.sshd.host_key.split()[1])
    AssetHostKey.objects.filter(asset=shared_house.asset).update(blob=other, fingerprint=fingerprint(other))
    if way == "direct":
        done = shared_house.run("true", timeout=60)
    else:
        done = run_jump(shared_house, jump(shared_house, "true"))
    assert done.returncode == 255 and b"[host_key_changed]" in done.stderr, done.stderr
    assert asset.shown and asset.logins == 0
    assert shared_house.audited("gateway:host_key:alarm")


# After it. -----------------------------------------------------------------------------------------------


def malformed_data(line: Line, shown: Shown) -> None:
    line.say(94, u32(shown.channel), u32(500), b"short")


def unknown_channel(line: Line, shown: Shown) -> None:
    line.say(94, *data(shown.channel + 70, b"for whom?"))


def empty_message(line: Line, shown: Shown) -> None:
    line.say(98)


def close_storm(line: Line, shown: Shown) -> None:
    line.flood(97, u32(shown.channel), times=1000)


def unasked_replies(line: Line, shown: Shown) -> None:
    line.flood(99, u32(shown.channel), times=10)


def second_confirmation(line: Line, shown: Shown) -> None:
    line.say(91, u32(shown.channel), u32(1), u32(1000), u32(1000))


def huge_adjusts(line: Line, shown: Shown) -> None:
    line.flood(93, u32(shown.channel), u32(0xFFFFFFFF), times=5)


def huge_packet(line: Line, shown: Shown) -> None:
    line.sock.sendall(b"\x7f\xff\xff\xf0")
    with contextlib.suppress(OSError):
        for _ in range(1000):
            line.sock.sendall(bytes(100_000))


def garbage(line: Line, shown: Shown) -> None:
    line.sock.sendall(struct.pack(">I", 64) + bytes(200))


def unknown_number(line: Line, shown: Shown) -> None:
    line.say(255, b"what?")


def compressed(line: Line, shown: Shown) -> None:
    """An offer of keys amid the session that offers nothing but compression, which nobody asked for."""
    line.say(20, KEXINIT.replace(string("none"), string("zlib")))


@pytest.mark.parametrize(
    "act",
    [malformed_data, unknown_channel, empty_message, close_storm, unasked_replies, second_confirmation, huge_adjusts,
     huge_packet, garbage, unknown_number, compressed],
)  # fmt: skip
def test_one_that_breaks_the_protocol_ends_its_own_session_with_a_reason(
    shared_house: House, asset: HostileAsset, act: Act
) -> None:
    asset.act = act
    done = shared_house.run("true", timeout=60)
    session = shared_house.ended(30)
    if act is close_storm:  # the first close is right, and all that the person needs
        assert session.end_reason in {"protocol_error", "client_closed"}
        return
    assert b"[session_ended]" in done.stderr and b"broke the protocol" in done.stderr, done.stderr
    assert session.end_reason == "protocol_error"


def test_more_data_than_its_window_allows_ends_the_session(shared_house: House, asset: HostileAsset) -> None:
    asset.act = lambda line, shown: line.flood(94, *data(shown.channel, bytes(20_000)), times=400)
    raw = person(shared_house)
    raw.send(90, string_of("session"), u32(0), u32(1000), u32(32768))
    assert raw.hear(20)[0] == 91  # type: ignore[index]
    raw.send(98, u32(0), string_of("exec"), b"\1", string_of("x"))
    assert raw.closed(20)
    raw.close()
    assert shared_house.ended(30).end_reason == "protocol_error"


def then_leave(line: Line, shown: Shown) -> None:
    line.say(94, *data(shown.channel, b"done\n"))
    line.say(98, u32(shown.channel), string("exit-status"), boolean(False), u32(3))
    line.say(97, u32(shown.channel))


def open_storm(line: Line, shown: Shown) -> None:
    line.flood(90, string("forwarded-tcpip"), u32(7), u32(1 << 20), u32(32768), bytes(20), times=3000)


def request_storm(line: Line, shown: Shown) -> None:
    line.flood(98, u32(shown.channel), string("what@example"), boolean(True), times=3000)


def global_storm(line: Line, shown: Shown) -> None:
    line.flood(80, string("hostkeys-00@openssh.com"), boolean(True), string(bytes(60)), times=3000)


def noise_storm(line: Line, shown: Shown) -> None:
    for number in (2, 4, 53):
        line.flood(number, boolean(True) if number == 4 else b"", string("noise"), string(""), times=1000)


def odd_streams(line: Line, shown: Shown) -> None:
    line.flood(95, u32(shown.channel), u32(9), string("which stream?"), times=1000)


def empty_data(line: Line, shown: Shown) -> None:
    line.flood(94, *data(shown.channel, b""), times=3000)


@pytest.mark.parametrize(
    "act", [open_storm, request_storm, global_storm, noise_storm, odd_streams, empty_data]
)
def test_a_storm_of_what_leads_nowhere_is_sat_out(shared_house: House, asset: HostileAsset, act: Act) -> None:
    def storm(line: Line, shown: Shown) -> None:
        act(line, shown)
        then_leave(line, shown)

    asset.act = storm
    done = shared_house.run("true", timeout=60)
    assert (done.stdout, done.returncode) == (b"done\n", 3), done.stderr
    assert shared_house.ended(30).end_reason in {"client_closed", "client_lost"}


def test_one_that_takes_nothing_stops_its_own_person_only(shared_house: House, asset: HostileAsset) -> None:
    """A window of zero: what the person sends stays with the person."""
    asset.window = 0

    def act(line: Line, shown: Shown) -> None:
        time.sleep(1)
        assert 94 not in shown.messages
        then_leave(line, shown)

    asset.act = act
    done = shared_house.run("true", stdin=bytes(8_000_000), timeout=60)
    assert done.returncode == 3, done.stderr


def test_an_exit_without_a_close_leaves_the_person_able_to_go(
    shared_house: House, asset: HostileAsset
) -> None:
    asset.act = lambda line, shown: line.say(
        98, u32(shown.channel), string("exit-status"), boolean(False), u32(0)
    )
    client = shared_house.popen("true")
    wait_until(lambda: bool(asset.shown) and asset.shown[-1].started.is_set())
    time.sleep(0.2)
    client.send_signal(signal.SIGTERM)
    client.wait(20)
    assert shared_house.ended(30).end_reason in {"client_closed", "client_lost"}


def hang(line: Line, shown: Shown) -> None:
    """It says nothing any more, and answers nothing."""


def endless_rekey(line: Line, shown: Shown) -> None:
    line._handler_table[20] = lambda m: time.sleep(20)  # type: ignore[attr-defined]
    line.say(20, KEXINIT)


@pytest.mark.parametrize("act", [hang, endless_rekey])
def test_one_that_falls_silent_is_given_up_with_a_reason(
    shared_house: House, asset: HostileAsset, monkeypatch: pytest.MonkeyPatch, act: Act
) -> None:
    asset.act = act
    monkeypatch.setattr(watch, "ASK_EVERY", 0.5)
    monkeypatch.setattr(watchdog, "SILENT", 6.0)
    done: subprocess.CompletedProcess[bytes] = shared_house.run("true", timeout=60)
    assert b"the asset could not be reached" in done.stderr, done.stderr
    assert shared_house.ended(30).end_reason == "upstream_failed"


def person(house: House) -> Raw:
    """rita, logged in, by hand."""
    raw = Raw(house.port)
    raw.service()
    raw.public_key("rita+hist-01", load(house.rita.key))
    failure(raw.hear(20))
    raw.keyboard("rita+hist-01")
    assert raw.hear(20)[0] == 60  # type: ignore[index]
    raw.answer(house.rita.code())
    while (heard := raw.hear(20)) is not None and heard[0] == 53:
        pass
    assert heard is not None and heard[0] == 52
    return raw


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
