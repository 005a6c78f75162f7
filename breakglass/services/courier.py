"""Gives messages to chats, pagers and webhooks, all at once and none for long, in a process that holds none of our secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from django.conf import settings

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
    """One round of letters, under way from `with` on. `problems()` waits for the last, no longer than `patience` seconds."""

    def __init__(self, letters: Iterable[Letter], patience: float = PATIENCE) -> None:
        self._letters = list(letters)
        self._patience = patience
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Round:
        if self._letters:
            self._child = subprocess.Popen(
                [sys.executable, "-I", str(CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in KEPT if name in os.environ},
                start_new_session=True,
                text=True,
            )
            self._hand_over(self._child)
        return self

    def _hand_over(self, child: subprocess.Popen[str]) -> None:
        assert child.stdin
        try:
            with child.stdin:
                json.dump([_job(letter) for letter in self._letters], child.stdin)
        except BrokenPipeError:
            pass  # it is gone already: nothing was given over, and `problems` says so
        child.stdin = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.communicate()

    def problems(self) -> dict[str, str]:
        """By key, why it could not be given over; empty when it was. Who hasn't answered by now is said to be silent."""
        if self._child is None:
            return {}
        try:
            said, _ = self._child.communicate(timeout=self._patience)
        except subprocess.TimeoutExpired:
            self._child.kill()
            said, _ = self._child.communicate()
        told = dict(json.loads(line) for line in said.splitlines() if line.endswith("]"))
        return {letter.key: told.get(letter.key, NO_ANSWER) for letter in self._letters}


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
