"""Gone without a word, or only slow: the network stops carrying, a client is stopped, a peer takes its time."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from types import SimpleNamespace
from typing import cast

import pytest

from breakglass.models import Asset
from sessions.gateway import watch, watchdog
from sessions.gateway.hostkey import public_line
from sessions.gateway.packets import Packetizer
from sessions.gateway.transport import Leg
from sessions.gateway.watch import ASK_EVERY, DOUBT, SILENT, Ear
from tests.gateway.house import House, eventually
from tests.gateway.test_ends import live
from tests.gateway.test_layers import last_words, silent
from tests.support.fault_proxy import FaultProxy
from tests.support.needs import requires

needs_clients = requires("ssh", "sshd", "ssh-keygen")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> float:
    """The same rule, a third of the patience; the seconds until silence counts."""
    monkeypatch.setattr(watchdog, "SILENT", SILENT / 3)
    monkeypatch.setattr(watchdog, "LOOK_EVERY", 0.2)
    monkeypatch.setattr(watch, "ASK_EVERY", ASK_EVERY / 3)
    monkeypatch.setattr(watch, "DOUBT", DOUBT / 3)
    return SILENT / 3


@needs_clients
def test_a_client_whose_network_carries_nothing_any_more_is_noticed(house: House, impatient: float) -> None:
    house.grant()
    assert house.gateway is not None
    with FaultProxy("127.0.0.1", house.gateway.port) as network:
        known = f"[127.0.0.1]:{network.port} {public_line()}\n"
        (house.dir / "known_hosts").write_text(known)
        command = house.ssh("echo up; sleep 1000")
        command[command.index("-p") + 1] = str(network.port)
        client = house.started(command)
        assert client.stdout is not None and client.stdout.readline() == b"up\n"
        network.stall()
        assert house.ended().end_reason == "client_lost"
        client.kill()
        client.communicate()


@needs_clients
def test_an_asset_whose_network_carries_nothing_any_more_is_noticed(house: House, impatient: float) -> None:
    house.grant()
    with FaultProxy("127.0.0.1", house.sshd.port) as network:
        Asset.objects.filter(pk=house.asset.pk).update(port=network.port)
        client = silent(house)
        network.stall()
        assert "the asset could not be reached" in last_words(client)
        assert house.ended().end_reason == "upstream_failed"


@needs_clients
def test_a_stopped_client_is_as_good_as_gone(house: House, impatient: float) -> None:
    house.grant()
    client = silent(house)
    client.send_signal(signal.SIGSTOP)
    assert house.ended().end_reason == "client_lost"
    client.kill()
    client.communicate()


@needs_clients
def test_who_shows_nothing_of_what_comes_but_lives_is_left_alone(house: House, impatient: float) -> None:
    """Nobody reads what the client prints: it is stuck, its connection isn't."""
    house.grant()
    client = house.popen("cat /dev/zero")
    session = live(house)
    time.sleep(impatient * 2)
    assert session.reason is None
    client.kill()
    client.communicate()
    eventually(lambda: session.reason is not None, "it ends with its client")


class Wire:
    """A socket on which a writer is told, once, that nobody answers; a reader reads the end of the stream then."""

    def sendall(self, data: bytes) -> None:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    def recv_into(self, buffer: memoryview) -> int:
        return 0


def test_a_lost_connection_is_not_taken_for_a_closed_one_whoever_meets_it_first() -> None:
    packets = Packetizer(cast(socket.socket, Wire()))
    with pytest.raises(EOFError, match="closed by the other side"):
        packets.read_message()
    with pytest.raises(EOFError):
        packets.send_payload(b"x")
    with pytest.raises(TimeoutError):
        packets.read_message()


# The judgement itself. -----------------------------------------------------------------------------------


class Peer:
    """What an ear knows of a leg."""

    def __init__(self) -> None:
        self.received = 0
        self.unread = False
        self.acknowledged: int | None = None

    def is_behind(self) -> bool:
        return self.unread

    def taken(self) -> int | None:
        return self.acknowledged

    def ear(self) -> Ear:
        return Ear(cast(Leg, SimpleNamespace(packetizer=self)), 0.0)


def test_silence_is_asked_about_every_five_seconds_and_noticed_within_fifteen() -> None:
    ear = Peer().ear()
    asked = [now for now in range(1, 16) if ear.silent_for(now) < SILENT and ear.is_to_be_asked(now)]
    assert asked == [5, 10]
    assert ear.silent_for(15.0) >= SILENT


def test_who_speaks_is_not_asked() -> None:
    peer = Peer()
    ear = peer.ear()
    for now in range(1, 60):
        peer.received += 1
        assert ear.silent_for(now) == 0
        assert not ear.is_to_be_asked(now)


def test_what_lies_unread_here_is_no_silence_of_theirs() -> None:
    peer = Peer()
    ear = peer.ear()
    peer.unread = True
    assert max(ear.silent_for(now) for now in range(1, 60)) < SILENT


def test_who_takes_what_is_queued_for_them_however_slowly_is_there() -> None:
    peer = Peer()
    ear = peer.ear()
    for now in range(1, 60):
        peer.acknowledged = now // 5  # a piece every five seconds
        assert ear.silent_for(now) < SILENT


def test_a_queue_that_nobody_takes_from_is_silence() -> None:
    peer = Peer()
    ear = peer.ear()
    peer.acknowledged = 1000
    assert next(now for now in range(1, 20) if ear.silent_for(now) >= SILENT) == SILENT


def test_a_process_that_stood_still_gives_everybody_a_new_start() -> None:
    ear = Peer().ear()
    ear.forgive(100.0)
    assert ear.silent_for(101.0) == 1.0
