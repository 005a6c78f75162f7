"""The asset of a crowd: one process that gives every keystroke back. Real sshd takes three processes a session."""

from __future__ import annotations

import asyncio
import gc
import sys

import asyncssh


class Echo(asyncssh.SSHServerSession[bytes]):
    """A shell that says back what it hears."""

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def shell_requested(self) -> bool:
        return True

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self._channel.write(data)


class Server(asyncssh.SSHServer):
    def session_requested(self) -> Echo:
        return Echo()


async def serve(host_key: str, ca: str) -> None:
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Server, server_host_keys=[host_key], authorized_client_keys=ca,
        encoding=None, line_editor=False, backlog=1000, login_timeout=60, keepalive_interval=0,
        encryption_algs=["aes128-gcm@openssh.com"], compression_algs=["none"],
    )  # fmt: skip
    print(server.get_port(), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    gc.disable()
    asyncio.run(serve(sys.argv[1], sys.argv[2]))
