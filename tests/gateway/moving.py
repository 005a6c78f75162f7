"""Moving files through the gateway in tests: stock clients' command lines, and what the house wrote down of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko

from sessions.models import FileOperation, SSHSession
from tests.gateway.house import House

SFTP = ["shell", "exec", "sftp"]


def words(house: House, program: str, *options: str) -> list[str]:
    """The start of an sftp's or scp's command line: ssh's own options, as they fit both."""
    return [program, *options, *("-P" if word == "-p" else word for word in house.ssh()[1:-3])]


def sftp(
    house: House, batch: str, *, options: tuple[str, ...] = (), timeout: float = 60, check: bool = True
) -> str:
    """Stock sftp, fed with commands; what it printed. A command that fails doesn't end it where it begins with `-`."""
    script = house.dir / "batch"
    script.write_text(batch)
    command = [
        *words(house, "sftp", "-o", "BatchMode=no", "-b", str(script)),
        *options,
        "rita+hist-01@127.0.0.1",
    ]
    done = subprocess.run(
        command, env=house.askpass(), capture_output=True, text=True, timeout=timeout, check=False
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def scp(house: House, *arguments: str, old: bool, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """Stock scp in its new or old protocol; `there:` stands for the gateway."""
    there = "rita+hist-01@127.0.0.1:"
    command = [*words(house, "scp", "-O" if old else "-s"), *(a.replace("there:", there) for a in arguments)]
    done = subprocess.run(command, env=house.askpass(), capture_output=True, timeout=60, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


@contextlib.contextmanager
def paramikos(house: House) -> Iterator[paramiko.Transport]:
    """paramiko's client, logged in; gone at the end."""
    with paramiko.Transport(("127.0.0.1", house.port)) as transport:
        transport.start_client(timeout=20)
        key = paramiko.Ed25519Key.from_private_key_file(str(house.rita.key))
        transport.auth_publickey("rita+hist-01", key)
        transport.auth_interactive("rita+hist-01", lambda *_: [house.rita.code()])
        yield transport


@contextlib.contextmanager
def paramikos_sftp(house: House) -> Iterator[paramiko.SFTPClient]:
    with paramikos(house) as transport:
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None
        yield client


def status(channel: paramiko.Channel) -> int:
    """The channel's exit status, waited for with patience and not for ever."""
    assert channel.status_event.wait(30), "no exit status came"
    return channel.recv_exit_status()


def rows(house: House, count: int | None = None, *, session: SSHSession | None = None) -> list[FileOperation]:
    """The latest session's file operations once it has ended; waits for `count` of them."""
    ended = session or house.ended(20)
    until = time.monotonic() + 20
    while True:
        found = list(FileOperation.objects.filter(session=ended))
        if count is None or len(found) >= count or time.monotonic() > until:
            return found
        time.sleep(0.05)


def told(row: FileOperation) -> tuple[Any, ...]:
    """What a row says in short."""
    return (row.verb, row.path, row.target, row.direction, row.outcome)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make(path: Path, size: int) -> Path:
    path.write_bytes(os.urandom(size))
    return path
