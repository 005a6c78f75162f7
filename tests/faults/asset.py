"""An asset for many sessions: each hears a numbered, stamped line every 20 ms, and what it types is stamped too.

A process of its own: `python -m tests.faults.asset HOST_KEY AUTHORIZED_KEYS`. Times are CLOCK_MONOTONIC seconds, which all
processes of the machine share.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
import time
from typing import Any

import asyncssh

from tests.faults import pipe

TICK = 0.02
FLOOD = "flood"
"""A command that says as much as a build or a log does, not a line at a time."""
numbers = itertools.count(1)
sessions: dict[int, Ticking] = {}


class Ticking(asyncssh.SSHServerSession[bytes]):
    """A shell or a command that never falls silent."""

    def __init__(self) -> None:
        self.number = next(numbers)
        sessions[self.number] = self
        self.ticks = 0
        self.burst = 1
        self.flows = False
        self.heard_at = 0.0
        self.heard_typed = 0.0
        self.gone: float | None = None
        self._rest = b""

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        if command == FLOOD:
            self.burst = 400
        return True

    def session_started(self) -> None:
        self.flows = True

    def pause_writing(self) -> None:
        self.flows = False

    def resume_writing(self) -> None:
        self.flows = True

    def tick(self) -> None:
        if self.flows and self.gone is None:
            now, first = time.monotonic(), self.ticks + 1
            self.ticks += self.burst
            lines = (b"t %d %d %.6f\r\n" % (self.number, tick, now) for tick in range(first, self.ticks + 1))
            self._channel.write(b"".join(lines))

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self.heard_at = time.monotonic()
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines:
            self.heard_typed = float(lines[-1].split()[-1])

    def connection_lost(self, exc: Exception | None) -> None:
        self.flows = False

    def facts(self) -> dict[str, Any]:
        return {"heard_at": self.heard_at, "heard_typed": self.heard_typed, "gone": self.gone}


class Server(asyncssh.SSHServer):
    """One connection of the gateway's."""

    def __init__(self) -> None:
        self._sessions: list[Ticking] = []

    def session_requested(self) -> Ticking:
        self._sessions.append(Ticking())
        return self._sessions[-1]

    def connection_lost(self, exc: Exception | None) -> None:
        for session in self._sessions:
            session.gone = time.monotonic()


async def tick_on() -> None:
    due = time.monotonic()
    while True:
        for session in list(sessions.values()):
            session.tick()
        due = max(due + TICK, time.monotonic())
        await asyncio.sleep(due - time.monotonic())


def look(numbers: list[int]) -> list[dict[str, Any]]:
    return [sessions[number].facts() for number in numbers]


def forget(numbers: list[int]) -> None:
    """Nobody asks about these any more."""
    for number in numbers:
        sessions.pop(number, None)
    gc.collect()


async def main(host_key: str, authorized: str) -> None:
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Server, server_host_keys=[host_key], authorized_client_keys=authorized,
        encoding=None, line_editor=False, backlog=1000, login_timeout=60, keepalive_interval=0,
        encryption_algs=["aes128-gcm@openssh.com"], compression_algs=["none"],
    )  # fmt: skip
    ticking = asyncio.create_task(tick_on())
    read = asyncio.get_running_loop().run_in_executor
    await pipe.serve(
        lambda: read(None, sys.stdin.readline), {"port": server.get_port, "look": look, "forget": forget}
    )
    ticking.cancel()


if __name__ == "__main__":
    gc.freeze()
    gc.disable()
    asyncio.run(main(sys.argv[1], sys.argv[2]))
