"""An end closes the transport and both sockets: whatever was carried over it dies with it, by stock OpenSSH."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from breakglass import clock
from breakglass.services import grants
from tests.gateway import clients
from tests.gateway.clients import DIRECT, JUMP
from tests.gateway.house import House, eventually, read_until
from tests.gateway.test_ends import live, look
from tests.support.needs import requires
from tests.support.ports import free_port

pytestmark = requires("ssh", "sshd", "ssh-keygen", "sftp")
PATIENCE = 30


@contextmanager
def listening() -> Iterator[tuple[int, list[socket.socket]]]:
    """Something behind the asset that a forward leads to, and keeps open."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                while True:
                    one, _ = server.accept()
                    held.append(one)
                    one.sendall(b"here\n")
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], held
    for one in held:
        one.close()


def started(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )


@pytest.mark.parametrize("way", [DIRECT, JUMP])
def test_shells_files_and_forwards_over_one_connection_end_with_it(house: House, way: str) -> None:
    with listening() as (place, _), clients_master(house, way, place) as (shared, grant_id):
        shell = started("ssh", *shared, "-tt", way, "echo up; cat")
        command = started("ssh", *shared, way, "echo up; sleep 1000")
        for client in (shell, command):
            assert client.stdout is not None and b"up" in client.stdout.read(4)
        files = started("sftp", *shared, way)
        assert files.stdin is not None and files.stdout is not None
        files.stdin.write(b"pwd\n")
        read_until(files.stdout, b"Remote working directory")
        local = free_port()
        forward = ["ssh", *shared, "-O", "forward", "-L", f"{local}:127.0.0.1:{place}", way]
        subprocess.run(forward, check=True, capture_output=True, timeout=PATIENCE)
        with socket.create_connection(("127.0.0.1", local), timeout=PATIENCE) as through:
            assert through.recv(10) == b"here\n"
            session = live(house)
            grants.revoke(grant_id, house.ada.person, "wrong machine", house.ada.code(), clock.now())
            look(house)
            for client in (shell, command):
                _, said = client.communicate(timeout=PATIENCE)
                assert client.returncode != 0
            assert b"your access was withdrawn" in said
            assert b"your access was withdrawn" in files.communicate(timeout=PATIENCE)[1]
            assert through.recv(10) == b"", "the forwarded connection is closed"
        for leg in (session.person_leg, session.asset_leg):
            eventually(lambda leg=leg: leg.packetizer.closed, "both connections are closed")  # type: ignore[misc]
        again = clients.run(house, "ssh", "-F", shared[1], "-o", "ControlPath=none", way, "true")
        assert again.returncode == 255 and b"[grant_ended]" in again.stderr
        assert house.ended().end_reason == "revoked"


@contextmanager
def clients_master(house: House, way: str, place: int) -> Iterator[tuple[list[str], UUID]]:
    """A shared connection under a grant for everything, and that grant."""
    grant = house.grant(channels=clients.EVERYTHING, forward_to=[f"127.0.0.1:{place}"])
    with clients.master(house, way) as shared:
        yield shared, grant.pk
