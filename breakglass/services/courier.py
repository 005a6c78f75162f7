"""Gives messages to chats, pagers and webhooks, all at once and none for long, in a process that holds none of our secrets."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from django.conf import settings

from breakglass import clock
from breakglass.domain.notice_kinds import kind_of

CHILD = Path(__file__).with_name("courier_child.py")
PATIENCE = 20.0
NO_ANSWER = f"no answer within {PATIENCE:.0f} s"
# What the child needs of the environment: nothing that holds a key.
KEPT = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True)
class Letter:
    """`trusted`: the address is out of the settings and may lead anywhere. `check`: only whether it can be read."""

    key: str
    address: str
    title: str = ""
    body: str = ""
    trusted: bool = False
    check: bool = False


class Round:
    """One round of letters, under way from `with` on and for `patience` seconds. `heard` tells what came of them bit by bit,
    `problems` waits for all."""

    def __init__(self, letters: Iterable[Letter], patience: float = PATIENCE) -> None:
        self._letters = list(letters)
        self._patience = patience
        self._until = 0.0
        self._open = {letter.key for letter in self._letters}
        self._rest = b""
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Round:
        self._until = clock.monotonic() + self._patience
        if self._letters:
            self._child = subprocess.Popen(
                [sys.executable, "-I", str(CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in KEPT if name in os.environ},
                start_new_session=True,
            )
            self._hand_over(self._child)
        return self

    def _hand_over(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdin
        try:
            with child.stdin:
                child.stdin.write(json.dumps([_job(letter) for letter in self._letters]).encode())
        except BrokenPipeError:
            pass  # it is gone already: nothing was given over, and `heard` says so
        child.stdin = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            if self._child.poll() is None:
                self._child.kill()
            self._child.communicate()

    @property
    def is_over(self) -> bool:
        """Whether of every letter it was said what came of it."""
        return not self._open

    def heard(self, seconds: float) -> dict[str, str]:
        """What came of letters since this was asked last, waiting no longer than `seconds` for it: by key, why it could not
        be given over; empty when it was. Who hasn't answered when the round's time is over is said to be silent."""
        if self.is_over:
            return {}
        left = self._until - clock.monotonic()
        found, ended = self._read(max(0.0, min(seconds, left)))
        if ended or left <= 0:
            found = dict.fromkeys(self._open, NO_ANSWER) | found
        self._open -= found.keys()
        return found

    def problems(self) -> dict[str, str]:
        """As `heard`, of all that are under way still."""
        found: dict[str, str] = {}
        while not self.is_over:
            found |= self.heard(self._patience)
        return found

    def _read(self, seconds: float) -> tuple[dict[str, str], bool]:
        """What the child says next, and whether it is gone."""
        assert self._child and self._child.stdout
        ear = select.poll()
        ear.register(self._child.stdout, select.POLLIN | select.POLLHUP)
        if not ear.poll(seconds * 1000):
            return {}, False
        said = os.read(self._child.stdout.fileno(), 1 << 16)
        *lines, self._rest = (self._rest + said).split(b"\n")
        told = dict(json.loads(line) for line in lines if line.endswith(b"]"))
        return {key: problem for key, problem in told.items() if key in self._open}, not said


def deliver(letter: Letter, patience: float = PATIENCE) -> str:
    """Give one letter over now. Why that failed; empty when it went well."""
    with Round([letter], patience) as under_way:
        return under_way.problems()[letter.key]


def _job(letter: Letter) -> dict[str, object]:
    kind = kind_of(letter.address, trusted=True)
    networks = settings.BREAKGLASS.notice_networks.split(",")
    return {
        "key": letter.key,
        "module": kind.module,
        "name": kind.name,
        "plain": kind.plain,
        "url": letter.address,
        "title": letter.title,
        "body": letter.body,
        "trusted": letter.trusted,
        "check": letter.check,
        "networks": [network.strip() for network in networks if network.strip()],
    }
