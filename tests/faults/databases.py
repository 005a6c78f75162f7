"""The town's database: a server that can be killed or stopped, or a file that somebody else holds locked."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

from tests.support.postgresql import Cluster

LOCKS_OF_WAL, HOW_MANY = 120, 8
"""Where SQLite's write-ahead log keeps its locks in the -shm file: one writer, checkpoint, recovery, five readers."""


class Database(Protocol):
    """`die` and `freeze` take it away, the first at once and in the open, the second without a word; `live` gives it back."""

    kind: str
    url: str

    def die(self) -> None: ...

    def freeze(self) -> None: ...

    def live(self) -> None: ...

    def stop(self) -> None: ...


class Postgres:
    """A server of its own on loopback."""

    kind = "PostgreSQL"

    def __init__(self) -> None:
        self._cluster = Cluster.start(tcp=True)
        self.port = self._cluster.port
        self.url = self.url_by(self.port)

    @staticmethod
    def url_by(port: int) -> str:
        """By whatever listens on that port of this machine: the server, or a proxy before it."""
        return f"postgresql://breakglass@127.0.0.1:{port}/breakglass"

    def die(self) -> None:
        self._cluster.send(signal.SIGKILL)

    def freeze(self) -> None:
        self._cluster.send(signal.SIGSTOP)

    def live(self) -> None:
        self._cluster.send(signal.SIGCONT)
        self._cluster.serve_again()

    def stop(self) -> None:
        self._cluster.send(signal.SIGCONT)
        self._cluster.stop()


class Sqlite:
    """A file. It doesn't die: another process takes every lock of it and keeps them."""

    kind = "SQLite"
    url = ""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._holder: subprocess.Popen[bytes] | None = None

    def die(self) -> None:
        self._holder = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.databases", f"{self._file}-shm"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).resolve().parents[2],
        )  # fmt: skip
        assert self._holder.stdout is not None
        if not self._holder.stdout.readline():
            raise RuntimeError("the database's file couldn't be locked; its last words are above")

    freeze = die

    def live(self) -> None:
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
            self._holder = None

    stop = live


def hold(shm: str) -> None:
    """Take the locks one after the other, each as soon as nobody has it, and keep them until standard input ends."""
    descriptor = os.open(shm, os.O_RDWR)
    for place in range(LOCKS_OF_WAL, LOCKS_OF_WAL + HOW_MANY):
        until = time.monotonic() + 20
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.001)
    print("held", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    hold(sys.argv[1])
