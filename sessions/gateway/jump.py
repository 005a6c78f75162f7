"""ProxyJump: `ssh -J PERSON@GATEWAY LOGIN@ASSET`. The inner connection ends here too, and is recorded like any other.

The person's ssh opens a direct-tcpip channel to ASSET and speaks SSH through it. That channel is joined to one end
of a socket pair; a server leg of ours sits on the other end. The person proved who they are on the outer
connection, so the inner one asks for nothing more; the decision is asked for anew.
"""

from __future__ import annotations

import contextlib
import socket
import threading

from paramiko.ssh_exception import SSHException

from sessions.gateway.transport import Leg
from sessions.gateway.wire import Msg, message, string, u32

WINDOW = 1024 * 1024
PIECE = 32 * 1024
LAST_WORDS = 1.0


class JumpChannel:
    """The outer channel: bytes of the inner connection, to and from our end of a socket pair."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._near, self.far = socket.socketpair()
        self._local_id = leg.take_id(self)
        self._remote = b""
        self._left = WINDOW
        self._window = 0
        self._max_packet = PIECE
        self._room = threading.Condition()
        self._over = False
        self._sent_eof = False

    def open(self, remote_id: int, window: int, max_packet: int) -> None:
        self._remote, self._window, self._max_packet = u32(remote_id), window, max(1, min(max_packet, PIECE))
        self._leg.send(
            message(Msg.OPEN_CONFIRMATION, self._remote, u32(self._local_id), u32(WINDOW), u32(PIECE))
        )
        threading.Thread(target=self._pump, name="jump", daemon=True).start()

    # What the outer leg says. ----------------------------------------------------------------------------

    def on_data(self, plain: bytearray, count: int, size: int, extended: int | None) -> None:
        self._left -= count
        if self._left < 0:
            raise SSHException("more data than the window allows")
        if extended is None:
            with contextlib.suppress(OSError):
                self._near.sendall(memoryview(plain)[10 : 10 + count])
        if self._left < WINDOW // 2:
            self._leg.send(message(Msg.WINDOW_ADJUST, self._remote, u32(WINDOW - self._left)))
            self._left = WINDOW

    def on_opened(self, remote_id: int, window: int, max_packet: int) -> None:
        raise SSHException("a channel was confirmed that wasn't asked for")

    def on_open_failed(self, code: int, text: str) -> None:
        raise SSHException("a channel was refused that wasn't asked for")

    def on_reply(self, success: bool) -> None: ...

    def on_adjust(self, count: int) -> None:
        with self._room:
            self._window = min(self._window + count, 0xFFFFFFFF)
            self._room.notify_all()

    def on_request(self, name: str, want_reply: bool, body: bytes) -> None:
        if want_reply:
            self._leg.send(message(Msg.CHANNEL_FAILURE, self._remote))

    def on_eof(self) -> None:
        with contextlib.suppress(OSError):
            self._near.shutdown(socket.SHUT_WR)

    def on_close(self) -> None:
        self._hang_up()
        self._leg.drop_id(self._local_id)

    def hang_up(self) -> None:
        """The outer connection is gone."""
        with self._room:
            self._over = True
            self._room.notify_all()
        with contextlib.suppress(OSError):
            self._near.shutdown(socket.SHUT_RDWR)

    # From the inner leg to the person. -------------------------------------------------------------------

    def _pump(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while piece := self._near.recv(PIECE):
                while piece:
                    fits = self._wait_for_room(len(piece))
                    self._leg.send(message(Msg.CHANNEL_DATA, self._remote, string(piece[:fits])))
                    piece = piece[fits:]
        # A client that still sends must not stumble over a closed channel before it reads the farewell.
        self._send_eof()
        with self._room:
            self._room.wait_for(lambda: self._over, LAST_WORDS)
        self._hang_up()
        self._near.close()

    def _wait_for_room(self, wanted: int) -> int:
        with self._room:
            while not self._window and not self._over:
                self._room.wait(5)
                if not self._leg.is_active():
                    raise EOFError
            if self._over:
                raise EOFError
            fits = min(wanted, self._window, self._max_packet)
            self._window -= fits
            return fits

    def _hang_up(self) -> None:
        with self._room:
            if self._over:
                return
        self.hang_up()
        self._send_eof()
        with contextlib.suppress(EOFError, SSHException):
            self._leg.send(message(Msg.CHANNEL_CLOSE, self._remote))

    def _send_eof(self) -> None:
        with self._room:
            if self._sent_eof:
                return
            self._sent_eof = True
        with contextlib.suppress(EOFError, SSHException):
            self._leg.send(message(Msg.CHANNEL_EOF, self._remote))
