"""A throwaway OpenSSH server: real sshd as the asset of a test, on a loopback port, with keys of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port

LISTENING = "Server listening on"
CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {dir}/host_key
PidFile {dir}/sshd.pid
AuthorizedKeysFile {dir}/authorized_keys
{ca}
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PubkeyAuthentication yes
PermitRootLogin yes
AllowTcpForwarding yes
MaxStartups 2000
MaxSessions 500
AcceptEnv LANG LC_* FOO
SetEnv HOME={home}
PrintMotd no
PrintLastLog no
Subsystem sftp internal-sftp
LogLevel VERBOSE
{extra}
"""


def sshd_binary() -> str | None:
    """Where sshd is, or None: it insists on an absolute path."""
    found = shutil.which("sshd")
    return found or ("/usr/sbin/sshd" if os.access("/usr/sbin/sshd", os.X_OK) else None)


def descendants(pid: int) -> list[int]:
    """The processes below `pid`."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found


@dataclass
class Sshd:
    """A running server. `login` is the account that this process runs as: sshd without root knows no other."""

    dir: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def login(self) -> str:
        return getpass.getuser()

    @property
    def host_key(self) -> str:
        return (self.dir / "host_key.pub").read_text().strip()

    @property
    def log(self) -> str:
        return (self.dir / "log").read_text(errors="replace")

    def stop(self) -> None:
        """End the server and everything that it started, also what its clients left running."""
        left = descendants(self.process.pid)
        self.process.terminate()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(30)

    def listens(self, before: int) -> bool:
        """Waits until it says for more than the `before`th time that it listens. False when it ends instead."""
        until = time.monotonic() + 30
        while self.log.count(LISTENING) <= before:
            if self.process.poll() is not None or time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    def new_host_key(self) -> None:
        """From now on it shows another host key, as a rebuilt machine or an impostor does."""
        for name in ("host_key", "host_key.pub"):
            (self.dir / name).unlink()
        make_key(self.dir / "host_key")
        before = self.log.count(LISTENING)
        self.process.send_signal(signal.SIGHUP)
        assert self.listens(before), self.log


def make_key(path: Path, kind: str = "ed25519", bits: int | None = None) -> str:
    """A fresh key pair at `path`; returns the public line."""
    size = [] if bits is None else ["-b", str(bits)]
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-C", "test", "-f", str(path)], check=True
    )
    return (
        path.with_suffix(".pub").read_text().strip()
        if path.suffix
        else Path(f"{path}.pub").read_text().strip()
    )


def start(
    directory: Path,
    *,
    ca: str | None = None,
    authorized_keys: str = "",
    extra: str = "",
    port: int | None = None,
) -> Sshd:
    """A server that trusts certificates of `ca` (a public line) and the given keys."""
    binary = sshd_binary()
    assert binary, "sshd is missing: apt-get install openssh-server"
    directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    if not (directory / "host_key").exists():
        make_key(directory / "host_key")
    (directory / "authorized_keys").write_text(authorized_keys)
    ca_line = ""
    if ca is not None:
        (directory / "ca.pub").write_text(ca + "\n")
        ca_line = f"TrustedUserCAKeys {directory}/ca.pub"
    # An empty home: what this account's own .bashrc does takes time, may wait for locks, and isn't ours to test.
    home = directory / "home"
    home.mkdir(exist_ok=True)
    config, log = directory / "sshd_config", directory / "log"
    log.touch()
    before = log.read_text(errors="replace").count(LISTENING)
    for chosen in [port] if port else [free_port() for _ in range(3)]:
        config.write_text(CONFIG.format(port=chosen, dir=directory, home=home, ca=ca_line, extra=extra))
        process = subprocess.Popen(
            [binary, "-D", "-f", str(config), "-E", str(log)], stdin=subprocess.DEVNULL
        )
        server = Sshd(directory, chosen, process)
        if server.listens(before):
            return server
    raise AssertionError(f"sshd doesn't listen:\n{server.log}")


def wait_for_port(port: int, seconds: float = 30.0) -> None:
    """Until something listens there. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port}")
