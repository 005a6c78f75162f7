"""PuTTY's plink, psftp and pscp, with a .ppk key; the code is typed, as these tools take it from a terminal only."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pexpect
import pytest

from sessions.gateway.hostkey import host_key
from tests.gateway import clients
from tests.gateway.house import House
from tests.support.needs import requires

pytestmark = requires("plink", "psftp", "pscp", "puttygen")


@pytest.fixture(scope="module")
def house(shared_house: House, page: int) -> House:
    shared_house.grant(channels=clients.EVERYTHING, forward_to=[f"127.0.0.1:{page}"])
    return shared_house


@pytest.fixture(scope="module")
def ppk(house: House) -> Path:
    """The person's key as PuTTY keeps keys."""
    key = house.dir / "rita.ppk"
    subprocess.run(["puttygen", str(house.rita.key), "-O", "private", "-o", str(key)], check=True, timeout=30)
    return key


def fingerprint(asset: str = "") -> str:
    return host_key(asset).fingerprint if asset else host_key().fingerprint


def start(
    house: House, ppk: Path, program: str, *words: str, to: str = "rita+hist-01@127.0.0.1"
) -> pexpect.spawn[str]:
    """The tool with the host key given, the code typed."""
    child = pexpect.spawn(
        program,
        ["-i", str(ppk), "-noagent", "-P", str(house.port), "-hostkey", fingerprint(), *[w.format(to=to) for w in words]],
        timeout=30, encoding="utf-8", env={**house.askpass(), "HOME": str(house.dir)}, dimensions=(30, 200),
    )  # fmt: skip
    child.expect("One-time code: ")
    child.sendline(house.rita.code())
    return child


def status_of(child: pexpect.spawn[str]) -> int | None:
    child.expect(pexpect.EOF)
    child.wait()
    return child.exitstatus


def test_plink_runs_a_command_with_its_status(house: House, ppk: Path) -> None:
    child = start(house, ppk, "plink", "-no-antispoof", "{to}", "echo out-$((40+2)); exit 7")
    child.expect("out-42")
    assert status_of(child) == 7


def test_plink_has_a_shell(house: House, ppk: Path) -> None:
    child = start(house, ppk, "plink", "-no-antispoof", "-t", "{to}")
    child.expect("It is recorded")
    child.sendline("echo shell-$((40+2)); test -t 0 && exit 6")
    child.expect("shell-42")
    assert status_of(child) == 6


def test_psftp_puts_and_gets(house: House, ppk: Path) -> None:
    here = clients.some_file(house, "putty-up")
    child = start(house, ppk, "psftp", "{to}")
    child.expect("psftp> ")
    for line in (
        f"put {here} {house.dir}/putty-there",
        f"get {house.dir}/putty-there {house.dir}/putty-back",
    ):
        child.sendline(line)
        child.expect("=> (local|remote)")
        child.expect("psftp> ")
    child.sendline("quit")
    assert status_of(child) == 0
    assert (house.dir / "putty-back").read_bytes() == here.read_bytes()


@pytest.mark.parametrize("protocol", ["-sftp", "-scp"])
def test_pscp_in_both_its_protocols_and_directions(house: House, ppk: Path, protocol: str) -> None:
    here = clients.some_file(house, "pscp-here")
    there, back = house.dir / f"pscp{protocol}", house.dir / f"pscp{protocol}-back"
    assert status_of(start(house, ppk, "pscp", protocol, str(here), f"{{to}}:{there}")) == 0
    assert status_of(start(house, ppk, "pscp", protocol, f"{{to}}:{there}", str(back))) == 0
    assert back.read_bytes() == here.read_bytes()


def test_plink_reaches_the_named_place(house: House, ppk: Path, page: int) -> None:
    child = start(house, ppk, "plink", "-no-antispoof", "-nc", f"127.0.0.1:{page}", "{to}")
    child.expect("End of keyboard-interactive")
    child.send("GET / HTTP/1.0\r\n\r\n")
    child.expect("status: fine")
    child.close(force=True)


def test_plink_jumps_with_a_saved_session(house: House, ppk: Path) -> None:
    """PuTTY's own ProxyJump: the proxy type "SSH to proxy and use port forwarding" of a saved session."""
    sessions = house.dir / ".putty" / "sessions"
    sessions.mkdir(parents=True, exist_ok=True)
    (sessions / "gateway").write_text(
        f"PresentInSession=1\nHostName=127.0.0.1\nPortNumber={house.port}\nProtocol=ssh\nUserName=rita\n"
        f"PublicKeyFile={ppk}\nTryAgent=0\nSSHManualHostKeys={fingerprint()}\n"
    )
    (sessions / "hist-01").write_text(
        f"PresentInSession=1\nHostName=hist-01\nPortNumber=22\nProtocol=ssh\nUserName={house.sshd.login}\n"
        f"TryAgent=0\nSSHManualHostKeys={fingerprint('hist-01')}\nProxyMethod=6\nProxyHost=gateway\nProxyPort=22\n"
        f"ProxyDNS=2\n"
    )
    child = pexpect.spawn(
        "plink", ["-no-antispoof", "-load", "hist-01", "echo jumped-$((40+2)); exit 8"], timeout=30,
        encoding="utf-8", env={**house.askpass(), "HOME": str(house.dir)}, dimensions=(30, 200),
    )  # fmt: skip
    child.expect("One-time code: ")
    child.sendline(house.rita.code())
    child.expect("jumped-42")
    assert status_of(child) == 8
