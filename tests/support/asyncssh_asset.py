"""An asset that is AsyncSSH's server, as a process: `python -m tests.support.asyncssh_asset DIRECTORY` prints its port."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from pathlib import Path

import asyncssh


async def serve(directory: Path) -> None:
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[str(directory / "host_key")],
        authorized_client_keys=str(directory / "authorized_keys"), process_factory=_serve_process,
        sftp_factory=True, encoding=None,
    )  # fmt: skip
    print(server.get_port(), flush=True)
    await server.wait_closed()


async def _serve_process(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """A shell on a terminal of its own, or a command on three pipes."""
    if process.term_type is None:
        child = await asyncio.create_subprocess_shell(
            process.command or "sh", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
        status = await child.wait()
        await process.stdout.drain()
        process.exit(status)
        return
    master, slave = pty.openpty()
    _resize(master, *process.term_size[:2])
    child = await asyncio.create_subprocess_exec(
        "setsid", "-c", "sh", "-c", process.command or "exec sh", stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    loop = asyncio.get_running_loop()
    said_all = loop.create_future()

    def from_terminal() -> None:
        try:
            process.stdout.write(os.read(master, 65536))
        except OSError:  # nobody holds the terminal any more
            loop.remove_reader(master)
            said_all.set_result(None)

    loop.add_reader(master, from_terminal)
    keys = asyncio.create_task(_to_terminal(process, master))
    status = await child.wait()
    await said_all
    keys.cancel()
    os.close(master)
    process.exit(status)


async def _to_terminal(process: asyncssh.SSHServerProcess[bytes], master: int) -> None:
    while not process.stdin.at_eof():
        try:
            os.write(master, await process.stdin.read(1024))
        except asyncssh.TerminalSizeChanged as changed:
            _resize(master, changed.width, changed.height)


def _resize(master: int, columns: int, rows: int) -> None:
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
