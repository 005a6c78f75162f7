"""Strangers who want the gateway's memory and places: idle sockets, packets that claim to be huge, slow handshakes."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.gateway.intruder import KEXINIT, unencrypted

HUGE = b"SSH-2.0-huge\r\n" + struct.pack(">IB", 512 << 20, 4)
OFFER = unencrypted(20, KEXINIT)


class Flood:
    """All of it at once, from this address, again and again, by a process of its own, until `stop`."""

    def __init__(self, port: int, after: int = 700) -> None:
        """Returns once it has tried to connect `after` times."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.gateway.flood", str(port), str(after)],
            cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "on\n"

    def stop(self) -> int:
        """How often it tried."""
        said, _ = self._process.communicate(timeout=60)
        return int(said)


class Strangers:
    """The threads of a flood."""

    def __init__(self, port: int, *, idle: int = 500, huge: int = 10, slow: int = 30) -> None:
        self._port = port
        self._over = threading.Event()
        self.tries = 0
        self._threads = [
            threading.Thread(target=self._keep_idle, args=(idle,), daemon=True),
            threading.Thread(target=self._drip, args=(slow,), daemon=True),
            *(threading.Thread(target=self._send_huge, daemon=True) for _ in range(huge)),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _connect(self) -> socket.socket:
        self.tries += 1
        return socket.create_connection(("127.0.0.1", self._port), timeout=5)

    def _keep_idle(self, count: int) -> None:
        """Sockets that say nothing. Whoever was dropped comes again."""
        held: list[socket.socket] = []
        while not self._over.wait(0.05):
            with contextlib.suppress(OSError):
                while len(held) < count and not self._over.is_set():
                    sock = self._connect()
                    sock.setblocking(False)
                    held.append(sock)
            held = [sock for sock in held if not _is_gone(sock)]
        for sock in held:
            sock.close()

    def _drip(self, count: int) -> None:
        """Handshakes at a byte a time."""
        held: list[tuple[socket.socket, list[int]]] = []
        said = b"SSH-2.0-slow\r\n" + OFFER[:-1]
        while not self._over.wait(0.05):
            with contextlib.suppress(OSError):
                while len(held) < count and not self._over.is_set():
                    sock = self._connect()
                    sock.sendall(said[:15])
                    sock.setblocking(False)
                    held.append((sock, [15]))
            for sock, at in held:
                with contextlib.suppress(OSError):
                    sock.send(said[at[0] : at[0] + 1])
                at[0] += 1
            held = [(sock, at) for sock, at in held if not _is_gone(sock)]
        for sock, _ in held:
            sock.close()

    def _send_huge(self) -> None:
        """A packet that claims half a gigabyte, and as much of it as is taken."""
        while not self._over.is_set():
            with contextlib.suppress(OSError), self._connect() as sock:
                sock.sendall(HUGE)
                while not self._over.is_set():
                    sock.sendall(bytes(65536))
            self._over.wait(0.01)


def _is_gone(sock: socket.socket) -> bool:
    try:
        while said := sock.recv(65536):
            pass
        return not said
    except BlockingIOError:
        return False
    except OSError:
        return True


def main() -> None:
    port, after = map(int, sys.argv[1:3])
    strangers = Strangers(port)
    while strangers.tries < after:
        time.sleep(0.05)
    print("on", flush=True)
    sys.stdin.read()
    strangers.stop()
    print(strangers.tries)


if __name__ == "__main__":
    main()
