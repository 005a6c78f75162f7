"""The SSH binary packet layer of a leg: takes the place of paramiko's `Packetizer` (by `packetizer_class`).

The two halves are in inbound.py and outbound.py; this is what paramiko's transport asks of both.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import sys
import termios
from typing import Any

from paramiko.ssh_exception import SSHException

from sessions.gateway.cipher import Tunnel
from sessions.gateway.inbound import CHANNEL_DATA, FULL_BUFFER, MAX_LINE, MAX_PACKET, Inbound, Sink
from sessions.gateway.outbound import Outbound

ACKED_AT = 120  # tcpi_bytes_acked in Linux's struct tcp_info


class Packetizer(Inbound, Outbound):
    """One socket's packets. One thread at a time reads; any thread may write."""

    def __init__(self, sock: socket.socket | Tunnel) -> None:
        super().__init__(sock)
        self._closed = False
        self._prepare_inbound()
        self._prepare_outbound()

    def continue_after(self, heard: bytes) -> None:
        """Take over a connection whose version line was sent already, and from which `heard` was read."""
        self._buffer[: len(heard)] = heard
        self._end = self.received = len(heard)
        self._greeted = True

    def is_behind(self) -> bool:
        """Whether something of the other side's waits here that nobody has read yet."""
        try:
            if not isinstance(self._socket, socket.socket):
                return self._socket.is_behind()
            return _count_of(self._socket, termios.FIONREAD) > 0
        except (OSError, ValueError):
            return False

    def taken(self) -> int | None:
        """How many bytes of ours the other side's system has taken, while more wait for it; None when nothing does."""
        try:
            if not isinstance(self._socket, socket.socket):
                return self._socket.taken()
            if not hasattr(socket, "TCP_INFO") or not _count_of(self._socket, termios.TIOCOUTQ):
                return None
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, ACKED_AT + 8)
            return int.from_bytes(info[ACKED_AT : ACKED_AT + 8], sys.byteorder)
        except (OSError, ValueError):
            return None

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def set_log(self, log: object) -> None: ...

    def set_hexdump(self, hexdump: bool) -> None: ...

    def get_hexdump(self) -> bool:
        return False

    def start_handshake(self, timeout: float) -> None: ...

    def complete_handshake(self) -> None: ...

    def handshake_timed_out(self) -> bool:
        return False

    def set_keepalive(self, interval: int, callback: object) -> None: ...

    def set_outbound_compressor(self, compressor: object) -> None:
        raise SSHException("compression is off")

    set_inbound_compressor = set_outbound_compressor

    def reset_seqno_out(self) -> None:
        self._out.sequence = 0

    def reset_seqno_in(self) -> None:
        self._in.sequence = 0

    def need_rekey(self) -> bool:
        return self._need_rekey

    def ignore_next(self) -> None:
        """Drop the next packet unread: a wrong guess at the key exchange."""
        self._ignored = 1

    def ask_rekey(self) -> None:
        self._need_rekey = True

    def set_outbound_cipher(
        self, block_engine: Any, block_size: int, mac_engine: Any, mac_size: int, mac_key: bytes | None,
        sdctr: bool = False, etm: bool = False, aead: bool = False, iv_out: bytes | None = None,
    ) -> None:  # fmt: skip
        with self.write_lock:
            self._out.rekeyed(block_engine, block_size, mac_engine, mac_size, mac_key, etm)
            if aead and iv_out is not None:
                self._out.sealed(block_engine, iv_out)
            self._switch(1)

    def set_inbound_cipher(
        self, block_engine: Any, block_size: int, mac_engine: Any, mac_size: int, mac_key: bytes | None,
        etm: bool = False, aead: bool = False, iv_in: bytes | None = None,
    ) -> None:  # fmt: skip
        self._in.rekeyed(block_engine, block_size, mac_engine, mac_size, mac_key, etm)
        if aead and iv_in is not None:
            self._in.sealed(block_engine, iv_in)
        self._switch(2)

    def _switch(self, side: int) -> None:
        self._switched |= side
        if self._switched == 3:
            self._switched = 0
            self._overflow = 0
            self._need_rekey = False


def _count_of(sock: socket.socket, what: int) -> int:
    return int.from_bytes(fcntl.ioctl(sock.fileno(), what, bytes(4)), sys.byteorder)


__all__ = ["CHANNEL_DATA", "FULL_BUFFER", "MAX_LINE", "MAX_PACKET", "Packetizer", "Sink"]
