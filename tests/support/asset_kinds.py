"""Assets that aren't OpenSSH's: Dropbear, AsyncSSH's server, the demo's on paramiko, and sshd as it was long ago."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from breakglass.demo import asset as demo_asset
from breakglass.demo.asset_book import AssetFiles
from breakglass.demo.cast import Machine, Way
from breakglass.services.assets import LoginForm
from tests.support import needs, sshd

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "sesame-open-7319"
# Of PASSWORD, as in a shadow file.
PASSWORD_HASH = (
    "$6$breakglass$p9gCQX1V.npgdEI0r.Pdv.fW5Db4ALpaLH55dJFpHplbmeHYiiC/f8MCO9.Rjvcab0tV37MaL9cbRAoXJcvoj0"
)
OLD = """\
KexAlgorithms diffie-hellman-group14-sha1
HostKeyAlgorithms ssh-rsa
Ciphers aes128-cbc
MACs hmac-sha1
PubkeyAcceptedAlgorithms ssh-rsa
HostKey {dir}/rsa_key
"""


@dataclass
class Running:
    """A server that runs: where, what it shows, and how to get in."""

    port: int
    host_key: str
    login: LoginForm
    stop: Callable[[], None] = field(repr=False)
    has_sftp: bool = True


def openssh(directory: Path, ca: str) -> Running:
    """Today's sshd, by certificate, with an RSA host key (SHA-2 signatures)."""
    directory.mkdir()
    sshd.make_key(directory / "rsa_key", "rsa", 2048)
    server = sshd.start(
        directory, ca=ca, extra=f"HostKeyAlgorithms rsa-sha2-512\nHostKey {directory}/rsa_key"
    )
    return Running(
        server.port, _line(directory / "rsa_key"), LoginForm(server.login, "certificate"), server.stop
    )


def old_sshd(directory: Path, ca: str) -> Running:
    """sshd that speaks nothing younger than 2006, by a vaulted RSA key that signs with SHA-1."""
    directory.mkdir()
    sshd.make_key(directory / "rsa_key", "rsa", 2048)
    person = sshd.make_key(directory / "vaulted", "rsa", 2048)
    server = sshd.start(directory, authorized_keys=person + "\n", extra=OLD.format(dir=directory))
    login = LoginForm(server.login, "key", (directory / "vaulted").read_text())
    return Running(server.port, _line(directory / "rsa_key"), login, server.stop)


def dropbear(directory: Path, ca: str) -> Running:
    """Dropbear, by a vaulted password; an ECDSA host key. It takes accounts from the system: from files of ours here."""
    home, port = directory / "home", sshd.free_port()
    home.mkdir(parents=True)
    me = f"{os.getuid()}:{os.getgid()}"
    (directory / "passwd").write_text(f"operator:x:{me}:Operator:{home}:/bin/sh\n")
    (directory / "group").write_text(f"operator:x:{os.getgid()}:\n")
    (directory / "shadow").write_text(f"operator:{PASSWORD_HASH}:19000:0:99999:7:::\n")
    made = subprocess.run(
        ["dropbearkey", "-t", "ecdsa", "-f", str(directory / "host_key")],
        check=True,
        capture_output=True,
        text=True,
    )
    files = {f"NSS_WRAPPER_{name.upper()}": str(directory / name) for name in ("passwd", "group", "shadow")}
    program = needs.program("dropbear")
    assert program
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-F", "-E", "-r", str(directory / "host_key"), "-p", f"127.0.0.1:{port}", "-P", str(directory / "pid")],
            env=os.environ | files | {"LD_PRELOAD": str(needs.nss_wrapper())}, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    sshd.wait_for_port(port)
    line = next(line for line in made.stdout.splitlines() if line.startswith("ecdsa-"))
    return Running(port, line, LoginForm("operator", "password", PASSWORD), _stopper(process))


def asyncssh_server(directory: Path, ca: str) -> Running:
    """AsyncSSH's server, by a vaulted Ed25519 key: a process of its own."""
    directory.mkdir()
    sshd.make_key(directory / "host_key")
    person = sshd.make_key(directory / "vaulted")
    (directory / "authorized_keys").write_text(person + "\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.asyncssh_asset", str(directory)], cwd=ROOT,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    port = int(process.stdout.readline())
    login = LoginForm("operator", "key", (directory / "vaulted").read_text())
    return Running(port, _line(directory / "host_key"), login, _stopper(process))


def paramiko_server(directory: Path, ca: str) -> Running:
    """The demo's asset, by certificate."""
    (directory).mkdir()
    (directory / "ca.pub").write_text(ca + "\n")
    port = sshd.free_port()
    machine = Machine("demo", "Demo's asset", "OT", "historian", ("operator",), Way.CERTIFICATE, port)
    files = AssetFiles(machine, port, directory / "files", directory / "ca.pub")
    files.make()
    threading.Thread(target=demo_asset.serve, args=(files,), name="demo-asset", daemon=True).start()
    sshd.wait_for_port(port)
    return Running(port, files.host_key(), LoginForm("operator", "certificate"), lambda: None)


def _line(key: Path) -> str:
    return Path(f"{key}.pub").read_text().strip()


def _stopper(process: subprocess.Popen[bytes]) -> Callable[[], None]:
    def stop() -> None:
        left = sshd.descendants(process.pid)
        process.terminate()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        process.wait(10)

    return stop
