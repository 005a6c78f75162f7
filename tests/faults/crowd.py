"""Many people at work in one process: each listens to the asset's stamped lines and types stamped lines of their own.

Everything that arrives and goes is noted with CLOCK_MONOTONIC, which all processes of the machine share. What is counted is the
asset's lines alone: what the gateway says for itself, such as why it ends, is text.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import resource
import sys
import time
from typing import Any

import asyncssh

from tests.faults import pipe

AT_ONCE = 8
TYPE_EVERY = 0.05
MOST_TEXT = 4000
numbers = itertools.count(1)
people: dict[int, Person] = {}


class Line(asyncssh.SSHClient):
    """The connection below a session: its end is the socket's."""

    person: Person | None = None
    greeting = ""

    def auth_banner_received(self, msg: str, lang: str) -> None:
        self.greeting += msg

    def connection_lost(self, exc: Exception | None) -> None:
        if self.person is not None:
            self.person.over(exc)


class Person(asyncssh.SSHClientSession[bytes]):
    """One session: from its first line to its end."""

    def __init__(self) -> None:
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.connection: asyncssh.SSHClientConnection | None = None
        self.greeting = ""
        self.number = 0
        self.first = self.last = self.last_made = self.longest = self.typed = 0.0
        self.typed_count = 0
        self.marked = 0.0
        self.gone: float | None = None
        self.text = b""
        self._rest = b""

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        now = time.monotonic()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            words = line.split()
            if len(words) == 4 and words[0] == b"t":
                self._tick(int(words[1]), float(words[3]), now)
            else:
                self._hear(line + b"\n")
        if self._rest[:1] not in (b"", b"t"):
            self._hear(self._rest)
            self._rest = b""

    def _tick(self, number: int, made: float, now: float) -> None:
        self.number = number
        self.first = self.first or now
        self.longest = max(self.longest, now - max(self.last, self.marked)) if self.last else 0.0
        self.last, self.last_made = now, made

    def _hear(self, text: bytes) -> None:
        self.text = (self.text + text)[-MOST_TEXT:]

    def type(self) -> None:
        if self.channel is None or self.gone is not None:
            return
        with contextlib.suppress(OSError, asyncssh.Error):
            self.typed_count += 1
            self.typed = time.monotonic()
            self.channel.write(b"k %d %.6f\n" % (self.typed_count, self.typed))

    def over(self, exc: Exception | None) -> None:
        self.gone = time.monotonic()
        if exc is not None:
            self._hear(str(exc).encode())

    def facts(self) -> dict[str, Any]:
        return {
            "number": self.number, "first": self.first, "last": self.last, "last_made": self.last_made,
            "longest": max(self.longest, time.monotonic() - max(self.last, self.marked)), "typed": self.typed, "gone": self.gone,
            "greeting": self.greeting,
            "text": self.text.decode(errors="replace"),
        }  # fmt: skip


async def open_all(logins: list[dict[str, Any]], port: int) -> list[int]:
    """Log all of them in; the numbers by which they are asked about."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(login: dict[str, Any]) -> int:
        async with turns:
            person = await enter(login, port)
        number = next(numbers)
        people[number] = person
        return number

    return list(await asyncio.gather(*(one(login) for login in logins)))


async def enter(login: dict[str, Any], port: int) -> Person:
    keys = [(asyncssh.read_private_key(login["key"]), asyncssh.read_certificate(login["certificate"]))]
    connection, line = await asyncssh.create_connection(
        Line, "127.0.0.1", port, username=login["user"], client_keys=keys, known_hosts=None, agent_path=None, config=None,
        encryption_algs=["aes128-gcm@openssh.com"], compression_algs=["none"], connect_timeout=60, login_timeout=60,
    )  # fmt: skip
    terminal: dict[str, Any] = {"term_type": "xterm", "term_size": (80, 24)}
    how = terminal if login.get("terminal") else {"command": "tick"}
    channel, person = await connection.create_session(Person, encoding=None, **how)
    line.person = person
    person.greeting = line.greeting
    person.channel, person.connection = channel, connection
    return person


async def may_enter(login: dict[str, Any], port: int) -> str:
    """Whether a login still leads anywhere: what the gateway says against it, or an empty text when a line came."""
    try:
        person = await enter(login, port)
        until = time.monotonic() + 10
        while not person.first and person.gone is None and time.monotonic() < until:
            await asyncio.sleep(0.02)
        assert person.connection is not None
        person.connection.abort()
        return "" if person.first else person.text.decode(errors="replace") or "nothing came"
    except (asyncssh.Error, OSError) as error:
        return str(error) or type(error).__name__


def look(numbers: list[int]) -> list[dict[str, Any]]:
    return [people[number].facts() for number in numbers]


def mark(numbers: list[int]) -> None:
    """From now on the longest silence is counted anew."""
    for number in numbers:
        people[number].marked, people[number].longest = time.monotonic(), 0.0


def drop(numbers: list[int]) -> None:
    for number in numbers:
        person = people.pop(number)
        if person.connection is not None:
            person.connection.abort()
    gc.collect()


async def type_on() -> None:
    while True:
        for person in list(people.values()):
            person.type()
        await asyncio.sleep(TYPE_EVERY)


async def main() -> None:
    typing = asyncio.create_task(type_on())
    read = asyncio.get_running_loop().run_in_executor
    does = {"open": open_all, "may_enter": may_enter, "look": look, "mark": mark, "drop": drop}
    await pipe.serve(lambda: read(None, sys.stdin.readline), does)
    typing.cancel()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.freeze()
    gc.disable()
    asyncio.run(main())
