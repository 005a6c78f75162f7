"""What a hardened SSH server promises beside authentication: strict key exchange, new keys in time, no compression,
signs of life both ways."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator

import paramiko
import pytest

from sessions.gateway import watch
from sessions.gateway.packets import Packetizer
from sessions.gateway.wire import boolean, string
from tests.gateway.hostile import Line, Shown
from tests.gateway.house import House
from tests.gateway.intruder import KEXINIT, Intruder
from tests.gateway.test_hostile_assets import HostileAsset, Neighbour, asset, neighbour, person, then_leave
from tests.support import sshd

__all__ = ["asset", "neighbour"]


@pytest.fixture(scope="module")
def house(shared_house: House, neighbour: Neighbour) -> House:
    return shared_house


def test_key_exchange_is_strict_and_the_signature_algorithms_are_said(house: House) -> None:
    raw = Intruder(house.port)
    raw.service()
    assert raw.transport.agreed_on_strict_kex
    said = raw.transport.server_extensions["server-sig-algs"].decode().split(",")
    assert {"ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"} <= set(said) and "ssh-rsa" not in said
    raw.transport.close()


def test_nobody_unknown_makes_the_gateway_exchange_keys_again(house: House) -> None:
    """It costs a stranger nothing, and the gateway two multiplications each time."""
    raw = Intruder(house.port)
    raw.service()
    raw.send(20, KEXINIT)
    assert raw.is_out()


class Squeezing(paramiko.Transport):
    _preferred_compression = ("zlib@openssh.com", "zlib")


def test_a_client_that_insists_on_compression_is_turned_away(house: House) -> None:
    import socket

    client = Squeezing(socket.create_connection(("127.0.0.1", house.port), timeout=20))
    with pytest.raises((paramiko.SSHException, EOFError)):
        client.start_client(timeout=20)
    client.close()


def test_a_client_that_would_like_compression_works_without(house: House) -> None:
    done = house.run("echo in", options=("-o", "Compression=yes", "-v"), timeout=60)
    assert done.stdout == b"in\n"
    assert b"compression: none" in done.stderr and b"Enabling compression" not in done.stderr


def test_a_clients_question_for_a_sign_of_life_is_answered(house: House) -> None:
    """Without answers ssh gives up after two seconds."""
    alive = ("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2")
    assert house.run("sleep 4; echo in", options=alive, timeout=60).stdout == b"in\n"


def test_the_gateway_asks_both_sides_for_signs_of_life(
    house: House, asset: HostileAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "ASK_EVERY", 0.3)
    raw = person(house)
    raw.transport._handler_table[80] = raw._keeper(80)  # type: ignore[attr-defined]
    heard = raw.hear(20)
    assert heard is not None and heard[0] == 80 and b"keepalive@openssh.com" in heard[1]
    assert wait_until(lambda: bool(asset.shown) and 80 in asset.shown[-1].messages)
    raw.close()


def test_an_assets_question_for_a_sign_of_life_is_answered(house: House, asset: HostileAsset) -> None:
    def act(line: Line, shown: Shown) -> None:
        line.say(80, string("keepalive@openssh.com"), boolean(True))
        assert wait_until(lambda: 82 in shown.messages)
        then_leave(line, shown)

    asset.act = act
    assert house.run("true", timeout=60).returncode == 3


@pytest.fixture
def restless_asset(house: House) -> Iterator[None]:
    """The machine's own sshd wants new keys after each megabyte."""
    config = house.sshd.dir / "sshd_config"
    before = config.read_text()
    config.write_text(before + "RekeyLimit 1M\n")
    _reload(house)
    yield
    config.write_text(before)
    _reload(house)


def _reload(house: House) -> None:
    house.sshd.process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    sshd.wait_for_port(house.sshd.port)


@pytest.mark.parametrize("ours", ["1 GiB", "1 MiB"])
def test_new_keys_by_the_assets_will_and_ours_lose_no_byte(
    house: House, restless_asset: None, monkeypatch: pytest.MonkeyPatch, ours: str
) -> None:
    if ours == "1 MiB":
        monkeypatch.setattr(Packetizer, "rekey_bytes", 1 << 20)
    data = os.urandom(1 << 20) * 16
    done = house.run("cat", stdin=data, timeout=120)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest(), done.stderr[-500:]


def wait_until(true: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
