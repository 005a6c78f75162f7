"""Somebody at work through the gateway of a running stack, and the hands that break things around them."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import paramiko

from breakglass import clock
from tests.support.stack import Stack

T = TypeVar("T")
AROUND_THE_GATEWAY = ("web", "worker", "beat", "valkey")


def granted(stack: Stack, username: str = "rob", approver: str = "ben") -> str:
    """The id of a fresh grant for hist-01."""
    incident = _ok(stack.call(username, "POST", "incidents", {"title": "Collector down again"}))
    ask = {
        "playbook": "historian-down",
        "incident": incident["id"],
        "assets": ["hist-01"],
        "reason": "A bad day is being rehearsed",
    }
    request = _ok(stack.call(username, "POST", "requests", ask))
    yes = {"otp": stack.code(approver), "comment": "go"}
    return str(_ok(stack.call(approver, "POST", f"requests/{request['id']}/approve", yes))["grant"])


def release(stack: Stack, grant: str, username: str = "rob") -> None:
    stack.call(username, "POST", f"grants/{grant}/release", {})


def end_in(stack: Stack, grant: str, seconds: float) -> datetime:
    """Moves a grant's end nearer, behind the product's back: the shortest that can be asked for is minutes."""
    end = clock.now() + timedelta(seconds=seconds)
    with sqlite3.connect(stack.dir / "data" / "breakglass.sqlite3", timeout=60) as database:
        written = end.strftime("%Y-%m-%d %H:%M:%S.%f")
        key = grant.replace("-", "")
        changed = database.execute("UPDATE breakglass_grant SET ends_at = ? WHERE id = ?", (written, key))
        assert changed.rowcount == 1
    database.close()
    return end


@dataclass
class Worker:
    """A shell on hist-01 through the gateway."""

    transport: paramiko.Transport
    shell: paramiko.Channel
    asked: int = 0

    def echo(self) -> float:
        """Types a line and waits for what it prints; the seconds that took."""
        self.asked += 1
        started = time.monotonic()
        self.shell.sendall(f"echo $(({self.asked}+700000))\r".encode())
        self.read_until(str(self.asked + 700_000).encode())
        return time.monotonic() - started

    def read_until(self, words: bytes) -> bytes:
        seen = b""
        while words not in seen:
            more = self.shell.recv(4096)
            assert more, f"the session ended: {seen!r}"
            seen += more
        return seen

    def read_to_the_end(self) -> bytes:
        seen = b""
        while more := self.shell.recv(4096):
            seen += more
        return seen


@contextmanager
def at_work(stack: Stack, username: str = "rob") -> Iterator[Worker]:
    """Logs in to hist-01 with key and code, and opens a shell."""
    key = paramiko.Ed25519Key.from_private_key_file(stack.person(username)["ssh_key"])
    code = stack.code(username)  # before the conversation: a fresh one may take half a minute
    with socket.create_connection(("127.0.0.1", stack.gateway_port), timeout=60) as conversation:
        transport = paramiko.Transport(conversation)
        transport.start_client(timeout=60)
        name = f"{username}+operator@hist-01"
        transport.auth_publickey(name, key)
        transport.auth_interactive(name, lambda *_: [code])
        shell = transport.open_session(timeout=60)
        shell.settimeout(60)
        shell.get_pty(width=100, height=30)
        shell.invoke_shell()
        worker = Worker(transport, shell)
        worker.echo()
        yield worker
        transport.close()


@contextmanager
def frozen(stack: Stack, *names: str) -> Iterator[None]:
    """These processes do nothing at all, yet aren't gone: worse than killed, for nobody starts them again."""
    pids = [stack.pid(name) for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def eventually(ask: Callable[[], T], good: Callable[[T], bool], patience: float = 60.0) -> T:
    """The first good answer within `patience` seconds."""
    deadline = time.monotonic() + patience
    while not good(answer := ask()):
        assert time.monotonic() < deadline, f"still {answer!r} after {patience} s"
        time.sleep(0.1)
    return answer


def latest_session(stack: Stack, username: str = "rob") -> dict[str, Any]:
    """As a reviewer sees it; an empty answer while the web page is away."""
    try:
        answer = stack.call("vera", "GET", f"sessions?person={username}&limit=1")
    except OSError:
        return {}
    items = answer.body["items"] if answer.status == 200 else []
    found: dict[str, Any] = items[0] if items else {}
    return found


def _ok(answer: Any) -> dict[str, Any]:
    assert answer.status < 300, answer
    found: dict[str, Any] = answer.body
    return found
