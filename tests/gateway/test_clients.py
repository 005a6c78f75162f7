"""Clients other than OpenSSH's ssh: each gets in with key and code, and works."""

from __future__ import annotations

import os
import subprocess

import paramiko
import pexpect
import pytest

from tests.gateway.house import House
from tests.support.needs import requires


@requires("dbclient", "dropbearconvert")
def test_dropbears_client(house: House) -> None:
    house.grant()
    key = house.dir / "dropbear-key"
    subprocess.run(["dropbearconvert", "openssh", "dropbear", str(house.rita.key), str(key)], check=True)
    words = ["-y", "-y", "-i", str(key), "-p", str(house.port), "-l", "rita+hist-01", "127.0.0.1"]
    child = pexpect.spawn("dbclient", [*words, "echo from-$((40+2))"], timeout=30, encoding="utf-8")
    child.expect("One-time code: ")
    child.sendline(house.rita.code())
    child.expect("from-42")


def test_paramikos_client_with_many_channels(house: House) -> None:
    house.grant(channels=["shell", "exec", "sftp"])
    with paramiko.Transport(("127.0.0.1", house.port)) as transport:
        transport.start_client(timeout=30)
        assert transport.auth_publickey(
            "rita+hist-01", paramiko.Ed25519Key.from_private_key_file(str(house.rita.key))
        ) == ["keyboard-interactive"]
        transport.auth_interactive("rita+hist-01", lambda *_: [house.rita.code()])
        channel = transport.open_session()
        channel.exec_command("echo out; exit 3")
        assert channel.makefile().read() == b"out\n"
        assert channel.recv_exit_status() == 3
        files = paramiko.SFTPClient.from_transport(transport)
        assert files is not None
        assert "hosts" in files.listdir("/etc")


def test_a_command_with_a_nul_byte_is_refused_at_once_and_the_session_lives_on(house: House) -> None:
    house.grant()
    with paramiko.Transport(("127.0.0.1", house.port)) as transport:
        transport.start_client(timeout=30)
        transport.auth_publickey(
            "rita+hist-01", paramiko.Ed25519Key.from_private_key_file(str(house.rita.key))
        )
        transport.auth_interactive("rita+hist-01", lambda *_: [house.rita.code()])
        channel = transport.open_session()
        channel.settimeout(30)
        channel.exec_command("echo a\x00; echo b")
        assert b"NUL byte" in channel.makefile_stderr().read()
        assert channel.makefile().read() == b""
        channel = transport.open_session()
        channel.exec_command("echo on")
        assert channel.makefile().read() == b"on\n"
    refused = house.ended().channels.get(number=1)
    assert refused.refusal == "bad_input"


@pytest.mark.parametrize("protocol", ["-s", "-O"])
def test_scp_in_both_its_protocols(house: House, protocol: str) -> None:
    house.grant(channels=["shell", "exec", "sftp"])
    (house.dir / "here").write_bytes(os.urandom(300_000))
    words = ["-P" if word == "-p" else word for word in house.ssh()[3:-3]]
    there = f"rita+hist-01@127.0.0.1:{house.dir}/there"
    done = subprocess.run(
        ["scp", protocol, *words, str(house.dir / "here"), there],
        env=house.askpass(), capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (house.dir / "there").read_bytes() == (house.dir / "here").read_bytes()
    channel = house.ended().channels.get()
    assert channel.kind == ("exec" if protocol == "-O" else "sftp")
    assert channel.bytes_in > 300_000


GOOD = (
    ("-o", "Ciphers=aes256-ctr", "-o", "MACs=hmac-sha2-512-etm@openssh.com"),
    ("-o", "Ciphers=aes128-ctr", "-o", "MACs=hmac-sha2-256"),
    ("-o", "Ciphers=aes256-gcm@openssh.com"),
    ("-o", "KexAlgorithms=curve25519-sha256@libssh.org"),
    ("-C",),
)
OLD = (
    ("-o", "Ciphers=aes128-cbc"),
    ("-o", "KexAlgorithms=diffie-hellman-group14-sha256"),
    ("-o", "Ciphers=aes128-ctr", "-o", "MACs=hmac-sha1"),
)


def test_each_algorithm_that_is_offered_works(house: House) -> None:
    house.grant()
    data = os.urandom(1_000_000)
    for options in GOOD:
        done = house.run("cat", stdin=data, options=options)
        assert done.stdout == data, (options, done.stderr)


def test_old_algorithms_are_not_offered(house: House) -> None:
    house.grant()
    for options in OLD:
        done = house.run("true", options=options)
        assert done.returncode == 255 and b"no matching" in done.stderr, options
