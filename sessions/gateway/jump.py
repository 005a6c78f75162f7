"""ProxyJump: `ssh -J PERSON@GATEWAY LOGIN@ASSET`. The inner connection ends here too, and is recorded like any other.

The person's ssh opens a direct-tcpip channel to ASSET and speaks SSH through it. A server leg of ours takes that
channel for its socket: what it writes leaves in packets of the outer connection at once, by the thread that writes.
The person proved who they are on the outer connection, so the inner one asks for nothing more; the decision is asked
for anew.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections import deque
from typing import cast

from paramiko.ssh_exception import SSHException

from breakglass import clock
from sessions.gateway.transport import Leg
from sessions.gateway.wire import Msg, message, string, u32

WINDOW = 1024 * 1024
PIECE = 32 * 1024
HEAD = 10
LAST_WORDS = 1.0


class JumpChannel:
    """The outer channel. To the inner leg it is a socket: one thread reads, and writers take turns before they come."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._local_id = leg.take_id(self)
        self._remote = b""
        self._left = WINDOW
        self._window = self._granted = 0
        self._max_packet = PIECE
        self._room = threading.Condition()
        self._arrived = threading.Condition()
        self._pieces: deque[memoryview] = deque()
        self._taken = 0
        self._timeout: float | None = None
        self._no_more = False
        self._is_shut = self._is_parting = False
        self._over = False
        self._lost: OSError | None = None
        self._sent_eof = False
        self._sent_close = False
        self._packet = bytearray(HEAD)

    def open(self, remote_id: int, window: int, max_packet: int) -> None:
        self._remote, self._window, self._max_packet = u32(remote_id), window, max(1, min(max_packet, PIECE))
        self._packet = bytearray(HEAD + self._max_packet + 20)
        self._leg.send(
            message(Msg.OPEN_CONFIRMATION, self._remote, u32(self._local_id), u32(WINDOW), u32(PIECE))
        )

    # What the outer leg says. ----------------------------------------------------------------------------

    def on_data(self, plain: bytearray, count: int, size: int, extended: int | None) -> None:
        with self._arrived:
            self._left -= count
            if self._left < 0:
                raise SSHException("more data than the window allows")
            if extended is None and count:
                self._pieces.append(memoryview(bytes(memoryview(plain)[HEAD : HEAD + count])))
                self._arrived.notify()

    def on_opened(self, remote_id: int, window: int, max_packet: int) -> None:
        raise SSHException("a channel was confirmed that wasn't asked for")

    def on_open_failed(self, code: int, text: str) -> None:
        raise SSHException("a channel was refused that wasn't asked for")

    def on_reply(self, success: bool) -> None: ...

    def on_adjust(self, count: int) -> None:
        with self._room:
            self._window = min(self._window + count, 0xFFFFFFFF)
            self._granted += count
            self._room.notify_all()

    def on_request(self, name: str, want_reply: bool, body: bytes) -> None:
        if want_reply:
            self._leg.send(message(Msg.CHANNEL_FAILURE, self._remote))

    def on_eof(self) -> None:
        with self._arrived:
            self._no_more = True
            self._arrived.notify_all()

    def on_close(self) -> None:
        self.hang_up()
        self._send_close()
        self._leg.drop_id(self._local_id)

    def hang_up(self, lost: OSError | None = None) -> None:
        """The outer connection is gone, or the client's side of this channel. `lost`: it wasn't closed by anybody."""
        with self._room:
            self._over, self._lost = True, lost
            self._room.notify_all()
        self.on_eof()

    # A socket, as the inner leg reads it. ----------------------------------------------------------------

    family = socket.AF_UNIX

    @property
    def far(self) -> socket.socket:
        """What the inner leg takes for its socket: all that it asks of one is here."""
        return cast("socket.socket", self)

    @property
    def _closed(self) -> bool:
        return self._is_shut

    def settimeout(self, seconds: float | None, /) -> None:
        self._timeout = seconds

    def recv_into(self, buffer: memoryview, /) -> int:
        """As much as has arrived and fits; 0 at the end. The person may send again what was taken."""
        with self._arrived:
            if not self._arrived.wait_for(
                lambda: self._pieces or self._no_more or self._is_shut, self._timeout
            ):
                raise TimeoutError
            count = 0
            while self._pieces and count < len(buffer) and not self._is_shut:
                piece = self._pieces[0]
                fits = min(len(piece), len(buffer) - count)
                buffer[count : count + fits] = piece[:fits]
                count += fits
                if fits < len(piece):
                    self._pieces[0] = piece[fits:]
                else:
                    self._pieces.popleft()
            if not count and self._lost is not None:
                raise self._lost
            self._taken += count
            given = self._taken if self._taken >= WINDOW // 4 else 0
            self._taken -= given
            self._left += given
        if given:
            self._leg.send(message(Msg.WINDOW_ADJUST, self._remote, u32(given)))
        return count

    # The same, as the inner leg writes to it, one writer at a time. --------------------------------------

    def sendall(self, data: bytes | memoryview, /) -> None:
        """Send it on in packets of the outer connection. Waits for room; OSError once nobody reads."""
        left = memoryview(data)
        while left:
            fits = self._wait_for_room(len(left), None)
            if not fits:
                raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))
            self._send_piece(left[:fits], hold=fits < len(left) and self._window > 0)
            left = left[fits:]

    def send_some(self, data: bytes, seconds: float) -> int:
        """Send what fits, or will in a moment, without ever waiting longer. Returns how much that was."""
        until = clock.monotonic() + seconds
        fits = self._wait_for_room(len(data), seconds)
        if not fits:
            return 0
        piece = message(Msg.CHANNEL_DATA, self._remote, string(data[:fits]))
        if self._leg.hand_over(piece, max(0.0, until - clock.monotonic())):
            return fits
        with self._room:
            self._window += fits
        return 0

    def is_behind(self) -> bool:
        """Whether something has arrived that the inner leg hasn't read yet."""
        return bool(self._pieces)

    def taken(self) -> int | None:
        """How much the person's ssh has made room for, while its window is short; None where there is room."""
        return self._granted if self._window < PIECE else None

    def shutdown(self, how: int, /) -> None:
        """Never waits. What was written before still goes out, and a client has a moment to read it.

        A client that still sends must not stumble over a closed channel before it reads the farewell; one that goes
        on for long is parted with.
        """
        self._send_eof()
        if how == socket.SHUT_RDWR:
            self._shut()
        with self._room:
            if self._is_parting or self._over:
                return
            self._is_parting = True
        later = threading.Timer(LAST_WORDS, self._part)
        later.daemon = True
        later.start()

    def _shut(self) -> None:
        with self._room:
            self._is_shut = True
            self._room.notify_all()
        with self._arrived:
            self._arrived.notify_all()

    def _part(self) -> None:
        self._shut()
        self._send_close()

    def close(self) -> None:
        self.shutdown(socket.SHUT_RDWR)

    def _wait_for_room(self, wanted: int, seconds: float | None) -> int:
        """How much may be sent now, taken off the window; 0 when the time is over or nobody reads any more."""
        with self._room:
            if not self._window:
                self._room.wait_for(lambda: self._window or self._over or self._is_shut, seconds)
            if self._over or self._is_shut or self._sent_eof:
                return 0
            fits = min(wanted, self._window, self._max_packet)
            self._window -= fits
            return fits

    def _send_piece(self, piece: memoryview, *, hold: bool) -> None:
        packet, count = self._packet, len(piece)
        padding = 4 + (2 - count) % 16
        packet[0], packet[1] = padding, Msg.CHANNEL_DATA
        packet[2:6], packet[6:HEAD] = self._remote, u32(count)
        packet[HEAD : HEAD + count] = piece
        self._leg.relay(packet, HEAD + count + padding, hold)

    def _send_eof(self) -> None:
        with self._room:
            if self._sent_eof or self._sent_close:
                return
            self._sent_eof = True
        self._leg.hand_over(message(Msg.CHANNEL_EOF, self._remote), 0.02)

    def _send_close(self) -> None:
        with self._room:
            if self._sent_close:
                return
            self._sent_eof = self._sent_close = True
        with contextlib.suppress(EOFError, SSHException):
            self._leg.send(message(Msg.CHANNEL_CLOSE, self._remote))
