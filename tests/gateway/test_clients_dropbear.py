"""Dropbear's dbclient: commands, shells, files by scp and rsync, forwards, and its own way of jumping."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pexpect
import pytest

from sessions.gateway.hostkey import public_line
from tests.gateway import clients
from tests.gateway.house import House
from tests.support import needs, sshd
from tests.support.needs import requires

pytestmark = requires("dbclient", "dropbearconvert")


@pytest.fixture(scope="module")
def house(shared_house: House, page: int) -> House:
    shared_house.grant(channels=clients.EVERYTHING, forward_to=[f"127.0.0.1:{page}"])
    known = shared_house.dir / ".ssh" / "known_hosts"
    known.parent.mkdir(mode=0o700)
    known.write_text(f"127.0.0.1 {public_line()}\nhist-01 {public_line('hist-01')}\n")
    return shared_house


@pytest.fixture(scope="module")
def key(house: House) -> Path:
    """The person's key as Dropbear keeps keys."""
    made = house.dir / "dropbear-key"
    subprocess.run(["dropbearconvert", "openssh", "dropbear", str(house.rita.key), str(made)],
                   check=True, timeout=30, capture_output=True)  # fmt: skip
    return made


def environment(house: House) -> dict[str, str]:
    """Host keys from a known_hosts file; the code where dbclient looks for one when it has no terminal."""
    return {"HOME": str(house.dir), "DROPBEAR_PASSWORD": house.rita.code()}


def dbclient(house: House, key: Path) -> list[str]:
    return ["dbclient", "-i", str(key), "-p", str(house.port)]


def run(house: House, key: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [*dbclient(house, key), *words]
    return clients.run(house, *command, stdin=stdin, **environment(house))


def test_a_command_has_its_status_and_its_streams_apart(house: House, key: Path) -> None:
    done = run(house, key, "rita+hist-01@127.0.0.1", "cat; echo bad >&2; exit 7", stdin=b"\x00\xffin")
    assert (done.stdout, done.returncode) == (b"\x00\xffin", 7), done.stderr
    assert b"bad\n" in done.stderr


def test_a_shell_with_a_typed_code(house: House, key: Path) -> None:
    child = pexpect.spawn("dbclient", [*dbclient(house, key)[1:], "rita+hist-01@127.0.0.1"], timeout=30,
                          encoding="utf-8", env={**house.askpass(), "HOME": str(house.dir)})  # fmt: skip
    child.expect("One-time code: ")
    child.sendline(house.rita.code())
    child.expect("It is recorded")
    child.sendline("echo shell-$((40+2)); exit 6")
    child.expect("shell-42")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 6


@requires("scp", "rsync")
def test_scp_and_rsync_over_dbclient(house: House, key: Path) -> None:
    program = house.dir / "over-dbclient"
    program.write_text(f'#!/bin/sh\nexec dbclient -i {key} -p {house.port} "$@"\n')
    program.chmod(0o700)
    here = clients.some_file(house, "db-here")
    for name, command in {
        "scp": ["scp", "-q", "-O", "-S", str(program)],
        "rsync": ["rsync", "-e", str(program)],
    }.items():
        there = house.dir / f"db-{name}"
        done = clients.run(
            house, *command, str(here), f"rita+hist-01@127.0.0.1:{there}", **environment(house)
        )
        assert done.returncode == 0, done.stderr
        assert there.read_bytes() == here.read_bytes()


def test_a_forward_and_netcat_lead_to_the_named_place(house: House, key: Path, page: int) -> None:
    get = b"GET / HTTP/1.0\r\n\r\n"
    done = run(house, key, "-B", f"127.0.0.1:{page}", "rita+hist-01@127.0.0.1", stdin=get)
    assert b"status: fine" in done.stdout, done.stderr
    refused = run(house, key, "-B", f"127.0.0.1:{house.sshd.port}", "rita+hist-01@127.0.0.1", stdin=get)
    assert refused.stdout == b""  # dbclient shows nobody's reason; the trail has it
    house.ended(30)
    assert house.audited("gateway:channel:refused")[-1]["refusal"] == "forward_not_allowed"
    port = sshd.free_port()
    client = subprocess.Popen(
        [*dbclient(house, key), "-N", "-L", f"{port}:127.0.0.1:{page}", "rita+hist-01@127.0.0.1"],
        env=house.askpass() | environment(house), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        sshd.wait_for_port(port, 30)
        got = clients.run(house, "curl", "-s", "--max-time", "30", f"http://127.0.0.1:{port}/")
        assert got.stdout == b"status: fine"
    finally:
        client.terminate()
        client.wait(15)


def test_dbclients_own_jump(house: House, key: Path) -> None:
    through = f"rita@127.0.0.1/{house.port},{house.sshd.login}@hist-01/22"
    program = needs.program("dbclient") or ""  # it starts itself again, by the name that it was called
    done = clients.run(house, program, "-i", str(key), through, "echo jumped; exit 8", **environment(house))
    assert (done.stdout, done.returncode) == (b"jumped\n", 8), done.stderr
