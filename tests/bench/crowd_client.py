"""A crowd of people in one process, each with a shell of their own. Told what to do by lines on standard input:

`open N` connects until N are there; `keys S` has each type a key a second for S seconds, the first at a moment of
chance. Each answer is one line of JSON. `cpu` in it is this process's own, for its part of the time is no gateway's.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import resource
import sys
import time
from typing import Any

import asyncssh

AT_ONCE = 6


class Shell(asyncssh.SSHClientSession[bytes]):
    """One person's shell: notes how long each key took to come back."""

    def __init__(self) -> None:
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.typed_at = 0.0
        self.took: list[float] = []
        self.is_over = False

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if self.typed_at:
            self.took.append(time.perf_counter() - self.typed_at)
            self.typed_at = 0.0

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True


class Crowd:
    def __init__(self, port: int, user: str, key: str, certificate: str) -> None:
        self._port, self._user = port, user
        held = asyncssh.read_private_key(key)
        self._keys: list[Any] = [(held, asyncssh.read_certificate(certificate))] if certificate else [held]
        self._shells: list[Shell] = []
        self._connections: list[asyncssh.SSHClientConnection] = []

    async def open(self, count: int) -> dict[str, Any]:
        started, turns = time.perf_counter(), asyncio.Semaphore(AT_ONCE)
        logins: list[float] = []

        async def one() -> None:
            async with turns:
                since = time.perf_counter()
                connection = await asyncssh.connect(
                    "127.0.0.1", self._port, username=self._user, client_keys=self._keys, known_hosts=None,
                    agent_path=None, config=None, encryption_algs=["aes128-gcm@openssh.com"],
                    compression_algs=["none"], connect_timeout=60, login_timeout=60,
                )  # fmt: skip
                channel, shell = await connection.create_session(
                    Shell, term_type="xterm", term_size=(80, 24), encoding=None
                )
                shell.channel = channel
                self._connections.append(connection)
                self._shells.append(shell)
                logins.append(time.perf_counter() - since)

        await asyncio.gather(*(one() for _ in range(count - len(self._shells))))
        return {"open": len(self._shells), "seconds": time.perf_counter() - started, "logins": logins}

    async def keys(self, seconds: float) -> dict[str, Any]:
        gc.collect()
        gc.freeze()
        gc.disable()
        for shell in self._shells:
            shell.took, shell.typed_at = [], 0.0
        before = _cpu()
        late = sum(await asyncio.gather(*(_type(shell, seconds) for shell in self._shells)))
        await asyncio.sleep(1)
        return {
            "took": [took for shell in self._shells for took in shell.took],
            "late": late,
            "lost": sum(shell.is_over for shell in self._shells),
            "cpu": _cpu() - before,
        }


async def _type(shell: Shell, seconds: float) -> int:
    """A key a second; who still waits for the last one counts as late and types none. How often that was."""
    late = 0
    await asyncio.sleep(random.random())
    for _ in range(int(seconds)):
        if shell.typed_at:
            late += 1
        elif shell.channel is not None and not shell.is_over:
            shell.typed_at = time.perf_counter()
            shell.channel.write(b"x")
        await asyncio.sleep(1)
    return late


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def main() -> None:
    crowd = Crowd(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4])
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        what, number = line.split()
        answer = await (crowd.open(int(number)) if what == "open" else crowd.keys(float(number)))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main())
