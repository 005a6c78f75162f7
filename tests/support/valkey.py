"""A throwaway Valkey or Redis on a private Unix socket."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from breakglass.demo import gates
from breakglass.demo import valkey as server


class Valkey:
    """A server that can be killed and started again; it keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "valkey.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        command = server.command(self.socket)
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self.socket.parent)
        deadline = time.monotonic() + 10
        while not gates.redis_answers(self.socket):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} doesn't answer on {self.socket}")
            time.sleep(0.02)

    def somebody_listens(self) -> bool:
        """Whether a process of the product has subscribed to what is rung here."""
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            return bool(client.pubsub_numpat() or client.pubsub_channels())

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def running() -> Iterator[Valkey]:
    """A fresh server, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="breakglass-valkey-"))
    valkey = Valkey(folder)
    valkey.start()
    try:
        yield valkey
    finally:
        valkey.kill()
        shutil.rmtree(folder, ignore_errors=True)
