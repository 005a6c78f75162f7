"""Loopback ports for servers that must be told one."""

from __future__ import annotations

import random
import socket

# Below those that the kernel hands out: no outgoing connection takes the port before its server does.
LOWEST, HIGHEST = 24_000, 32_000


def free_port() -> int:
    """A port on which nothing listens now."""
    while True:
        port = random.randrange(LOWEST, HIGHEST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
