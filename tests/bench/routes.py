"""The ways from here to a shell on the asset that are compared: straight, by OpenSSH twice, through the gateway."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sessions.gateway.hostkey import public_line
from tests.gateway import process
from tests.gateway.house import House
from tests.support import needs, sshd

COMMON = (
    "-F", "none", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "StrictHostKeyChecking=yes",
    "-o", "Ciphers=aes128-gcm@openssh.com", "-o", "LogLevel=ERROR",
)  # fmt: skip


@dataclass
class Route:
    """One way: the ssh command line for some words, its environment, and the CPU seconds spent in between so far."""

    name: str
    command: Callable[..., list[str]]
    environment: Callable[[], dict[str, str]]
    cpu: Callable[[], float] | None = None
    recorded: bool = False


def plain_environment() -> dict[str, str]:
    return dict(os.environ)


def client(key: Path, known_hosts: Path, port: int, user: str) -> Callable[..., list[str]]:
    def command(*words: str, terminal: bool = False) -> list[str]:
        return [
            "ssh", *COMMON, "-i", str(key), "-o", f"UserKnownHostsFile={known_hosts}", "-p", str(port),
            *(("-tt",) if terminal else ("-T",)), "-l", user, "127.0.0.1", *words,
        ]  # fmt: skip

    return command


def direct(house: House, key: Path) -> Route:
    known = house.dir / "known-asset"
    known.write_text(f"[127.0.0.1]:{house.sshd.port} {house.sshd.host_key}\n")
    return Route("direct OpenSSH", client(key, known, house.sshd.port, house.sshd.login), plain_environment)


def proxy_jump(house: House, key: Path) -> tuple[Route, sshd.Sshd]:
    """OpenSSH's own ProxyJump: a jump host that sees nothing, and so records nothing."""
    folder = house.dir / "proxy"
    folder.mkdir()
    server = sshd.start(folder, authorized_keys=Path(f"{key}.pub").read_text())
    known, config = folder / "known", folder / "config"
    known.write_text(
        f"[127.0.0.1]:{server.port} {server.host_key}\n[127.0.0.1]:{house.sshd.port} {house.sshd.host_key}\n"
    )
    config.write_text(
        f"Host *\n HostName 127.0.0.1\n IdentityFile {key}\n UserKnownHostsFile {known}\n"
        " StrictHostKeyChecking yes\n IdentitiesOnly yes\n IdentityAgent none\n LogLevel ERROR\n"
        " Ciphers aes128-gcm@openssh.com\n"
        f"Host hop\n Port {server.port}\n User {server.login}\n"
        f"Host asset\n Port {house.sshd.port}\n User {house.sshd.login}\n ProxyJump hop\n"
    )

    def command(*words: str, terminal: bool = False) -> list[str]:
        return ["ssh", "-F", str(config), "-tt" if terminal else "-T", "asset", *words]

    cpu = lambda: cpu_of(server.process.pid, children=True)  # noqa: E731
    return Route("OpenSSH ProxyJump", command, plain_environment, cpu=cpu), server


def two_hop(house: House, key: Path, recorder: str) -> tuple[Route, sshd.Sshd] | None:
    """OpenSSH that forces a second ssh, under `script` or tlog where the shop wants a recording."""
    folder = house.dir / f"hop-{recorder or 'plain'}"
    folder.mkdir()
    inner = (
        f"ssh {' '.join(COMMON)} -i {key} -o UserKnownHostsFile={house.dir}/known-asset -p {house.sshd.port} "
        f"-l {house.sshd.login} 127.0.0.1"
    )
    hop = folder / "hop"
    again = f"""if [ -t 0 ]; then T=-tt; else T=-T; fi
exec {inner.replace("ssh ", "ssh $T ", 1)} ${{SSH_ORIGINAL_COMMAND:+"$SSH_ORIGINAL_COMMAND"}}
"""
    (folder / "inner").write_text("#!/bin/sh\n" + again)
    if recorder == "script":
        body = f"exec script -q -f -c {folder}/inner {folder}/typescript.$$\n"
    elif recorder == "tlog":
        if needs.program("tlog-rec") is None:
            return None
        Path("/run/utmp").touch()
        body = f"exec tlog-rec --writer=file -o {folder}/rec.$$ {folder}/inner\n"
    else:
        body = f"exec {folder}/inner\n"
    hop.write_text("#!/bin/sh\n" + body)
    for program in (hop, folder / "inner"):
        program.chmod(0o755)
    server = sshd.start(folder, authorized_keys=Path(f"{key}.pub").read_text(), extra=f"ForceCommand {hop}\n")
    known = folder / "known"
    known.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
    name = "OpenSSH two-hop" + (f" with {recorder}" if recorder else "")
    return (
        Route(
            name, client(key, known, server.port, server.login), plain_environment,
            cpu=lambda: cpu_of(server.process.pid, children=True), recorded=bool(recorder),
        ),
        server,
    )  # fmt: skip


def gateway(house: House, database: str) -> tuple[Route, Route, subprocess.Popen[bytes]]:
    """Straight and through ProxyJump, and the process."""
    child, port = process.start(database)
    known = house.dir / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {public_line()}\n")
    command = client(house.rita.key, known, port, "rita+hist-01")
    straight = Route(
        "this gateway", command, house.askpass, cpu=lambda: cpu_of(child.pid, children=False), recorded=True
    )
    return straight, jump(house, straight, port), child


def jump(house: House, straight: Route, port: int) -> Route:
    """The same gateway through stock ProxyJump: the inner connection ends there too."""
    known, config = house.dir / "known-jump", house.dir / "jump"
    known.write_text(f"[127.0.0.1]:{port} {public_line()}\nhist-01 {public_line('hist-01')}\n")
    config.write_text(
        f"Host gateway\n HostName 127.0.0.1\n Port {port}\n User rita\n IdentityFile {house.rita.key}\n"
        f"Host *\n UserKnownHostsFile {known}\n StrictHostKeyChecking yes\n IdentitiesOnly yes\n IdentityAgent none\n"
        f" Ciphers aes128-gcm@openssh.com\n LogLevel ERROR\n"
        f"Host hist-01\n User {house.sshd.login}\n ProxyJump gateway\n"
    )

    def command(*words: str, terminal: bool = False) -> list[str]:
        return ["ssh", "-F", str(config), "-tt" if terminal else "-T", "hist-01", *words]

    return Route("this gateway, -J", command, house.askpass, cpu=straight.cpu, recorded=True)


def cpu_of(pid: int, *, children: bool) -> float:
    """CPU seconds of a process, and of those of its descendants that have ended."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(int(word) for word in words[11 : 15 if children else 13])
    return ticks / os.sysconf("SC_CLK_TCK")
