"""A channel that ends in the gateway itself: the console's, and those that only carry a refusal."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable

from paramiko.ssh_exception import SSHException

from sessions.gateway.transport import Leg
from sessions.gateway.wire import Msg, Reader, boolean, message, string, u32

WINDOW = 64 * 1024
MOST_LINE = 1000


class LocalChannel:
    """A session channel without an asset. `start(channel, command)` runs in a thread of its own."""

    def __init__(self, leg: Leg, start: Callable[[LocalChannel, str | None], int]) -> None:
        self._leg = leg
        self._start = start
        self._local_id = leg.take_id(self)
        self._remote = b""
        self._window = 0
        self._max_packet = 0
        self._room = threading.Condition()
        self._lines: deque[str | None] = deque()
        self._typed = ""
        self._left = WINDOW
        self._over = False
        self._sent_close = False
        self._started = False
        self.pty = False

    def open(self, remote_id: int, window: int, max_packet: int) -> None:
        self._remote, self._window, self._max_packet = (
            u32(remote_id),
            window,
            max(1, min(max_packet, 32 * 1024)),
        )
        self._leg.send(
            message(Msg.OPEN_CONFIRMATION, self._remote, u32(self._local_id), u32(WINDOW), u32(32 * 1024))
        )

    # What the leg says. ----------------------------------------------------------------------------------

    def on_data(self, plain: bytearray, count: int, size: int, extended: int | None) -> None:
        self._left -= count
        if self._left < 0:
            raise SSHException("more data than the window allows")
        if extended is None:
            self._type(bytes(plain[10 : 10 + count]).decode("utf-8", "replace"))
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
        done = name in {"pty-req", "window-change", "shell", "exec"}
        self.pty = self.pty or name == "pty-req"
        starts = name in {"shell", "exec"} and not self._started
        if want_reply:
            self._leg.send(message(Msg.CHANNEL_SUCCESS if done else Msg.CHANNEL_FAILURE, self._remote))
        if starts:
            self._started = True
            command = Reader(body).text(4096) if name == "exec" else None
            threading.Thread(target=self._run, args=(command,), name="console", daemon=True).start()

    def on_eof(self) -> None:
        with self._room:
            self._lines.append(None)
            self._room.notify_all()

    def on_close(self) -> None:
        with self._room:
            self._over = True
            self._room.notify_all()
        self._close()
        self._leg.drop_id(self._local_id)

    # What the console does. ------------------------------------------------------------------------------

    def write(self, text: str, *, error: bool = False) -> None:
        """Show text. Raises EOFError when nobody reads any more."""
        data = (text.replace("\n", "\r\n") if self.pty else text).encode()
        while data:
            with self._room:
                while not self._window and not self._over:
                    self._room.wait(30)
                if self._over or self._leg.is_cut or not self._leg.is_active():
                    raise EOFError
                fits = min(len(data), self._window, self._max_packet)
                self._window -= fits
            if error and not self.pty:
                self._leg.send(message(Msg.EXTENDED_DATA, self._remote, u32(1), string(data[:fits])))
            else:
                self._leg.send(message(Msg.CHANNEL_DATA, self._remote, string(data[:fits])))
            data = data[fits:]

    def ask(self, prompt: str) -> str:
        """One line that the person types. Raises EOFError at the end of input."""
        self.write(prompt)
        with self._room:
            while not self._lines:
                if self._over or not self._leg.is_active():
                    raise EOFError
                self._room.wait(1)
            line = self._lines.popleft()
        if line is None:
            raise EOFError
        return line

    def _type(self, text: str) -> None:
        """The smallest line discipline: echo, erase, end of line, Ctrl-C and Ctrl-D."""
        echo = ""
        for character in text:
            if character in "\r\n":
                echo += "\r\n"
                self._finish_line(self._typed)
            elif character in "\x7f\b":
                echo += "\b \b" if self._typed else ""
                self._typed = self._typed[:-1]
            elif character in "\x03\x04":
                self._finish_line(None)
            elif character.isprintable() and len(self._typed) < MOST_LINE:
                self._typed += character
                echo += character
        if echo and self.pty and not self._over:
            with self._room:
                fits = echo.encode()[: self._window]
                self._window -= len(fits)
            self._leg.send(message(Msg.CHANNEL_DATA, self._remote, string(fits)))

    def _finish_line(self, line: str | None) -> None:
        self._typed = ""
        with self._room:
            if len(self._lines) < 100:
                self._lines.append(line)
            self._room.notify_all()

    def _run(self, command: str | None) -> None:
        with contextlib.suppress(EOFError):  # the person has gone: there is nobody to tell a status
            try:
                status = self._start(self, command)
            except EOFError:
                status = 0
            done = message(
                Msg.CHANNEL_REQUEST, self._remote, string("exit-status"), boolean(False), u32(status)
            )
            if not self._over and self._leg.is_active():
                self._leg.send(done)
                self._close()

    def _close(self) -> None:
        with self._room:
            if self._sent_close:
                return
            self._sent_close = True
        self._leg.send(message(Msg.CHANNEL_EOF, self._remote))
        self._leg.send(message(Msg.CHANNEL_CLOSE, self._remote))
