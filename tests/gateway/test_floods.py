"""What strangers may take: turns, places, memory. Nobody is locked out by somebody else, not even of their own address."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.db import connection

from breakglass import clock
from sessions.gateway.hostkey import public_line
from sessions.gateway.limits import TABLE, Fault, Limits, Penalties, Places, Turns, source
from sessions.gateway.lobby import Guest
from tests.gateway import process
from tests.gateway.flood import Flood
from tests.gateway.house import House
from tests.gateway.stranger import Raw, load

GROWTH = 20_000_000


# A gateway in a process of its own, with its normal limits. ----------------------------------------------


@dataclass
class Apart:
    pid: int

    @property
    def rss(self) -> int:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))


@pytest.fixture
def apart(plain_house: House) -> Iterator[Apart]:
    child, port = process.start(str(connection.settings_dict["NAME"]), usual_limits=True)
    plain_house.elsewhere = port
    (plain_house.dir / "known_hosts").write_text(f"[127.0.0.1]:{port} {public_line()}\n")
    yield Apart(child.pid)
    child.kill()
    child.wait(10)


def wait_until(condition: object, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def test_a_flood_takes_little_memory_leaves_no_thread_and_keeps_nobody_out(
    plain_house: House, apart: Apart
) -> None:
    """500 idle sockets, 10 senders of huge packets and 30 slow handshakes, all from the address of the person."""
    plain_house.grant()
    for _ in range(2):  # what is loaded and cached once is there
        assert plain_house.run("echo in").stdout == b"in\n"
    plain_house.ended(30)
    assert wait_until(lambda: apart.threads < 20)
    memory, threads = apart.rss, apart.threads
    flood, most = Flood(plain_house.port), 0
    try:
        for _ in range(4):
            done = plain_house.run("echo in", timeout=120)
            assert done.stdout == b"in\n", done.stderr
            most = max(most, apart.rss)
    finally:
        flood.stop()
    assert most - memory < GROWTH, f"{(most - memory) / 1e6:.1f} MB"
    assert wait_until(lambda: apart.threads <= threads), f"{apart.threads} threads, {threads} before"


# In this process. ----------------------------------------------------------------------------------------


class TestInside:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(grace=2.0, rate_per_address=1000, burst_per_address=1000, codes_per_person=3)

    def test_strangers_of_every_kind_are_gone_after_their_time_and_no_thread_stays(
        self, house: House
    ) -> None:
        held = [socket.create_connection(("127.0.0.1", house.port)) for _ in range(15)]
        for sock in held[:5]:
            sock.sendall(b"SSH-2.0-x\r\n")
        for sock in held[5:10]:
            sock.sendall(b"SSH-2")
        raw = Raw(house.port)  # past the key exchange
        for sock in held:
            sock.settimeout(30)
            while sock.recv(65536):
                pass
        assert raw.closed(30)
        assert house.gateway is not None
        entrance = house.gateway.entrance
        assert wait_until(lambda: not len(entrance) and not entrance.everybody())
        assert wait_until(lambda: "ssh-leg" not in {thread.name for thread in threading.enumerate()})
        assert entrance.penalties.is_felt("127.0.0.1", clock.monotonic())

    def test_a_good_login_ends_the_penalty_of_its_address(self, house: House) -> None:
        house.grant()
        assert house.gateway is not None
        penalties = house.gateway.entrance.penalties
        for _ in range(100):
            penalties.add("127.0.0.1", Fault.BAD_PROTOCOL, clock.monotonic())
        assert penalties.is_felt("127.0.0.1", clock.monotonic())
        assert house.run("echo in").stdout == b"in\n"
        assert not penalties.is_felt("127.0.0.1", clock.monotonic())

    @pytest.mark.parametrize(
        "said", [b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n\x7f\xff\xff\xff", b"SSH-2.0-x\r\n\0\0\0\0", b"SSH" + b"-" * 600]
    )  # fmt: skip
    def test_nonsense_gets_no_thread(self, house: House, said: bytes) -> None:
        assert house.gateway is not None
        started = house.gateway.entrance.everybody
        sock = socket.create_connection(("127.0.0.1", house.port), timeout=30)
        sock.sendall(said)
        heard = b""
        try:
            while more := sock.recv(4096):
                heard += more
        except ConnectionResetError:
            pass
        assert heard in {b"", b"SSH-2.0-Breakglass\r\n"}
        assert started() == []

    def test_who_proved_a_key_keeps_a_bounded_number_of_places(self, house: House) -> None:
        """A stolen key without codes fills no memory, and takes nobody else's place."""
        held = []
        for _ in range(5):
            raw = Raw(house.port)
            raw.service()
            raw.public_key("rita", load(house.rita.key))
            heard = raw.hear(20)
            assert heard is not None and heard[0] == 51
            held.append(raw)
        assert held[0].closed(20) and held[1].closed(20)
        assert house.gateway is not None and len(house.gateway.entrance) == 3
        assert all(raw.transport.is_active() for raw in held[2:])
        for raw in held:
            raw.close()


# The rules alone. ----------------------------------------------------------------------------------------


def test_each_source_gets_its_own_turns() -> None:
    turns = Turns(Limits(rate_per_address=10, burst_per_address=12))
    assert sum(turns.take("192.0.2.1", 0.0, slow=False) for _ in range(50)) == 12
    assert turns.take("192.0.2.2", 0.0, slow=False)
    assert sum(turns.take("192.0.2.1", 1.0, slow=False) for _ in range(50)) == 10
    assert sum(turns.take("192.0.2.3", 1.0, slow=True) for _ in range(50)) == 3
    assert sum(turns.take("192.0.2.3", 2.0, slow=True) for _ in range(50)) == 3


def test_all_sources_together_have_a_bound_too() -> None:
    turns = Turns(Limits(rate=100))
    assert sum(turns.take(f"192.0.2.{n}", 0.0, slow=False) for n in range(250)) == 100


def test_penalties_add_up_to_a_bound_and_run_off() -> None:
    penalties = Penalties()
    penalties.add("a", Fault.WRONG_CREDENTIALS, 0.0)
    assert not penalties.is_felt("a", 0.0)
    for _ in range(1000):
        penalties.add("a", Fault.BAD_PROTOCOL, 0.0)
    assert penalties.is_felt("a", 580.0) and not penalties.is_felt("a", 600.0)
    assert not penalties.is_felt("b", 0.0)
    penalties.forgive("a")
    assert not penalties.is_felt("a", 0.0)


def test_the_tables_are_bounded_and_keep_the_worst() -> None:
    penalties = Penalties()
    for _ in range(20):
        penalties.add("worst", Fault.BAD_PROTOCOL, 0.0)
    turns = Turns(Limits(rate=1e9))
    for number in range(3 * TABLE):
        penalties.add(f"stranger {number}", Fault.LEFT, 0.0)
        turns.take(f"stranger {number}", number / 1000, slow=False)
    assert len(penalties) <= TABLE and penalties.is_felt("worst", 0.0)
    assert len(turns._buckets) <= TABLE


@dataclass(eq=False)
class Somebody:
    source: str
    arrived: float
    progress: int = 0


def test_a_full_house_gives_the_newcomer_the_place_of_who_got_least_far() -> None:
    places = Places(Limits(strangers=6, strangers_per_address=3))
    known, first, second = Somebody("a", 0, 2), Somebody("a", 1), Somebody("a", 2)
    assert [places.take(who) for who in (known, first, second)] == [None] * 3
    assert places.take(Somebody("a", 3)) is first
    assert not places.leave(first) and places.leave(known)
    others = [Somebody(f"b{n}", 4) for n in range(4)]
    assert [places.take(who) for who in others] == [None] * 4
    assert places.take(Somebody("c", 5)) is second, "from the source with most places"
    assert len(places) == 6


def test_sources_are_addresses_or_networks_of_ipv6() -> None:
    assert source("192.0.2.7") == source("::ffff:192.0.2.7") == "192.0.2.7"
    assert source("2001:db8::1") == source("2001:db8::ffff:1") != source("2001:db8:0:1::1")
    assert source("fe80::1%eth0") == source("fe80::2")


def test_exempt_networks_are_left_alone() -> None:
    limits = Limits(exempt=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32")))
    assert limits.is_exempt("10.1.2.3") and limits.is_exempt("2001:db8::7")
    assert not limits.is_exempt("11.0.0.1") and not Limits().is_exempt("10.1.2.3")


def test_several_processes_share_one_allowance() -> None:
    whole, part = Limits(), Limits().share(16)
    assert whole.strangers / 16 <= part.strangers <= 20 and Limits().share(1) == whole
    processes = [Turns(part) for _ in range(16)]
    taken = [turns.take("192.0.2.1", 5.0, slow=False) for turns in processes * 4]
    assert sum(taken) == whole.burst_per_address
    assert not processes[3].take("192.0.2.1", 5.0, slow=False)
    assert processes[3].take("192.0.2.1", 6.0, slow=False)


def test_a_first_packet_is_judged_by_its_length_alone() -> None:
    near, far = socket.socketpair()
    far.setblocking(False)
    guest = Guest(far, "192.0.2.1", "192.0.2.1", 0.0, greeted=True)
    near.sendall(b"SSH-2.0-x\r\n\0\0\0\x10")
    assert guest.hear(1.0) is None and not guest.is_ready(1.1) and guest.is_ready(1.3)
    near.sendall(bytes(16))
    assert guest.hear(1.0) is None and guest.is_ready(1.0)
    near.close()
    assert guest.hear(2.0) is Fault.LEFT
    far.close()
