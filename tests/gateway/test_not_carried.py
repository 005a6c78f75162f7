"""What stock ssh can ask for and nobody gets: the person reads why, and the trail has a row. The same through a jump."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import paramiko
import pytest

from breakglass.models import AuditEvent
from tests.gateway import clients
from tests.gateway.clients import DIRECT, JUMP
from tests.gateway.house import House
from tests.support import sshd

WAYS = pytest.mark.parametrize("way", [DIRECT, JUMP])


@pytest.fixture(scope="module")
def house(shared_house: House) -> House:
    shared_house.grant(channels=clients.EVERYTHING, forward_to=["127.0.0.1:8080"])
    clients.configure(shared_house)
    return shared_house


@pytest.fixture(scope="module")
def agent(house: House) -> Iterator[str]:
    """The socket of a running agent."""
    sock = str(house.dir / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", sock], stdout=subprocess.DEVNULL)
    yield sock
    process.terminate()
    process.wait(10)


def rows(said: str, tag: str = "gateway:channel:refused", *, more_than: int, seconds: float = 20) -> int:
    """How many audit rows say so, once there are more than that."""
    until = time.monotonic() + seconds
    while True:
        count = sum(said in str(row.data.get("message")) for row in AuditEvent.objects.filter(tag=tag))
        if count > more_than or time.monotonic() > until:
            return count
        time.sleep(0.05)


ASKED = {
    "reverse": (["-R", "0:127.0.0.1:9"], "Forwarding back to you"),
    "reverse socket": (["-R", "/tmp/not-here.sock:127.0.0.1:9"], "Forwarding back to you"),
    "agent": (["-A", "-o", "IdentityAgent={agent}"], "agent forwarding"),
    "display": (["-X"], "X11 forwarding"),
}


@WAYS
@pytest.mark.parametrize("asked", list(ASKED))
def test_what_would_lead_back_is_refused_and_the_command_still_runs(
    house: House, agent: str, way: str, asked: str
) -> None:
    options, said = ASKED[asked]
    before = rows(said, more_than=-1)
    done = clients.run(
        house, "ssh", "-F", f"{house.dir}/ssh_config", *[word.format(agent=agent) for word in options], way,
        "env; echo on", DISPLAY=":99",
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.endswith(b"on\n"), done.stderr
    assert said.encode() in done.stderr and b"[not_offered]" in done.stderr
    assert b"SSH_AUTH_SOCK" not in done.stdout and b"DISPLAY" not in done.stdout
    assert rows(said, more_than=before) == before + 1


@WAYS
def test_a_unix_socket_of_the_asset_is_no_destination(house: House, way: str) -> None:
    before, port = rows("direct-streamlocal", more_than=-1), sshd.free_port()
    client = subprocess.Popen(
        ["ssh", "-F", f"{house.dir}/ssh_config", "-N", "-L", f"{port}:/run/docker.sock", way],
        env=house.askpass(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        sshd.wait_for_port(port, 30)
        assert rows("direct-streamlocal", more_than=before) == before + 1
    finally:
        client.terminate()
        said = client.communicate(timeout=30)[1]
    assert b"direct-streamlocal@openssh.com channel is not offered here" in said and b"[not_offered]" in said


@WAYS
def test_an_unknown_subsystem_is_refused(house: House, way: str) -> None:
    before = rows("The subsystem netconf", more_than=-1)
    done = clients.run(house, "ssh", "-F", f"{house.dir}/ssh_config", "-s", way, "netconf")
    assert done.returncode == 77 and b"The subsystem netconf is not offered" in done.stderr
    assert rows("The subsystem netconf", more_than=before) > before  # one of the refusal, one of the channel


def test_tunnels_unknown_channels_and_unknown_requests_are_refused(house: House) -> None:
    with paramiko.Transport(("127.0.0.1", house.port)) as transport:
        transport.start_client(timeout=30)
        key = paramiko.Ed25519Key.from_private_key_file(str(house.rita.key))
        transport.auth_publickey("rita+hist-01", key)
        transport.auth_interactive("rita+hist-01", lambda *_: [house.rita.code()])
        for kind in (
            "tun@openssh.com",
            "x11",
            "auth-agent@openssh.com",
            "forwarded-tcpip",
            "odd@example.org",
        ):
            with pytest.raises(paramiko.ChannelException, match=r"not_offered|channel type"):
                transport.open_channel(kind, dest_addr=("127.0.0.1", 1), src_addr=("127.0.0.1", 1))
            assert rows(f"A {kind} channel", more_than=0) == 1
        assert transport.global_request("odd@example.org", wait=True) is None
        assert rows("The request odd@example.org", more_than=0) == 1
        assert transport.global_request("keepalive@openssh.com", wait=True) is None
        channel = transport.open_session()
        channel.exec_command("echo on")
        assert channel.makefile().read() == b"on\n"


def test_a_connection_without_an_asset_forwards_nothing_back_either(house: House) -> None:
    tag, said = "gateway:access:refused", "Forwarding back to you"
    before = rows(said, tag, more_than=-1)
    done = clients.run(
        house, "ssh", "-F", f"{house.dir}/ssh_config", "-R", "0:127.0.0.1:9", "gateway", "status"
    )
    assert b"remote port forwarding failed" in done.stderr
    assert rows(said, tag, more_than=before) == before + 1
