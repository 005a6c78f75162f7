"""What the tests of clients share: one ssh configuration with both ways in, the direct one and the jump."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sessions.gateway.hostkey import public_line
from tests.gateway.house import House

DIRECT, JUMP = "direct", "hist-01"
EVERYTHING = ["shell", "exec", "sftp", "forward"]


def configure(house: House) -> Path:
    """`direct` is PERSON+ASSET at the gateway, `hist-01` the asset behind ProxyJump; both host keys are checked."""
    known = house.dir / "known_hosts"
    known.write_text(f"[127.0.0.1]:{house.port} {public_line()}\nhist-01 {public_line('hist-01')}\n")
    config = house.dir / "ssh_config"
    config.write_text(
        f"Host gateway\n User rita\n"
        f"Host {DIRECT}\n User rita+hist-01\n"
        f"Host gateway {DIRECT}\n HostName 127.0.0.1\n Port {house.port}\n"
        f"Host {JUMP}\n User {house.sshd.login}\n ProxyJump gateway\n"
        f"Host *\n IdentityFile {house.rita.key}\n IdentitiesOnly yes\n IdentityAgent none\n"
        f" UserKnownHostsFile {known}\n StrictHostKeyChecking yes\n"
        f" PreferredAuthentications publickey,keyboard-interactive\n"
    )
    return config


def run(
    house: House, *command: str, stdin: bytes = b"", timeout: float = 60, **more: str
) -> subprocess.CompletedProcess[bytes]:
    """A client's command with a code at hand, its streams as bytes. `more` goes into its environment."""
    return subprocess.run(
        command, input=stdin, capture_output=True, env=house.askpass() | more, timeout=timeout, check=False,
    )  # fmt: skip


@contextmanager
def master(house: House, to: str) -> Iterator[list[str]]:
    """The options with which ssh, scp, sftp and others share one connection to `to`, opened with a code."""
    socket = house.dir / f"cm-{to}"
    shared = ["-F", str(configure(house)), "-o", f"ControlPath={socket}"]
    opened = run(house, "ssh", *shared, "-o", "ControlMaster=yes", "-o", "ControlPersist=60", "-f", "-N", to)
    assert opened.returncode == 0, opened.stderr
    try:
        yield shared
    finally:
        subprocess.run(["ssh", *shared, "-O", "exit", to], capture_output=True, timeout=60, check=False)


def some_file(house: House, name: str, size: int = 300_000) -> Path:
    path = house.dir / name
    path.write_bytes(os.urandom(size))
    return path
