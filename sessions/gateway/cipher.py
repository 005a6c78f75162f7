"""The cipher states of a connection, and when its keys are due."""

from __future__ import annotations

import errno
import hmac
import socket
import struct
from typing import Any, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TAG = 16
LOST = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})


class Tunnel(Protocol):
    """What stands in for a blocking socket (jump.py)."""

    def recv_into(self, buffer: memoryview, /) -> int: ...

    def sendall(self, data: bytes | memoryview, /) -> None: ...

    def send_some(self, data: bytes, seconds: float) -> int: ...

    def is_behind(self) -> bool: ...

    def taken(self) -> int | None: ...

    def settimeout(self, seconds: float | None, /) -> None: ...

    def shutdown(self, how: int, /) -> None: ...

    def close(self) -> None: ...


class Direction:
    """The cipher state of one direction."""

    def __init__(self) -> None:
        self.engine: Any = None
        self.block = 8
        self.mac_name = ""
        self.mac_size = 0
        self.mac_key = b""
        self.etm = False
        self.aead: AESGCM | None = None
        self.salt = b""
        self.counter = 0
        self.sequence = 0
        self.bytes = 0
        self.packets = 0

    def nonce(self) -> bytes:
        """The next AES-GCM nonce (RFC 5647): four fixed bytes and a counter."""
        nonce = self.salt + self.counter.to_bytes(8, "big")
        self.counter = (self.counter + 1) & 0xFFFFFFFFFFFFFFFF
        return nonce

    def mac(self, packet: bytes) -> bytes:
        return hmac.digest(self.mac_key, struct.pack(">I", self.sequence) + packet, self.mac_name)[
            : self.mac_size
        ]

    def rekeyed(
        self, engine: Any, block: int, mac: Any, mac_size: int, mac_key: bytes | None, etm: bool
    ) -> None:
        self.engine, self.block, self.mac_size = engine, block, mac_size
        self.mac_name = mac().name if mac is not None else ""
        self.mac_key = mac_key or b""
        self.etm = etm
        self.aead = None
        self.bytes = self.packets = 0

    def sealed(self, engine: AESGCM, iv: bytes) -> None:
        self.aead, self.salt, self.counter = engine, iv[:4], int.from_bytes(iv[4:], "big")


class Keyed:
    """What both directions of a connection share: the socket, their cipher states, and whether new keys are due."""

    rekey_bytes = 1 << 30
    rekey_packets = 1 << 30

    def __init__(self, sock: socket.socket | Tunnel) -> None:
        self._socket = sock
        self._initial_kex_done = False
        self._need_rekey = False
        self._switched = 0
        self._in = Direction()
        self._out = Direction()
        self.lost: OSError | None = None

    def note_lost(self, error: OSError) -> None:
        """The system says why a connection is gone once, to whoever meets it first: that it was lost, and not closed."""
        if error.errno in LOST:
            self.lost = error
