"""A channel that ends in the gateway itself: the console's, and that of somebody who waits for an answer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from paramiko.ssh_exception import SSHException

from sessions.gateway.keyboard import Keyboard
from sessions.gateway.listeners import End
from sessions.gateway.transport import Leg
from sessions.gateway.wire import Msg, Reader, boolean, message, string, u32

WINDOW = 64 * 1024
PIECE = 32 * 1024
MOST_ENVIRONMENT = 50
STARTS = frozenset({"shell", "exec"})
KNOWN = STARTS | {"pty-req", "window-change"}


@dataclass(frozen=True)
class Ends:
    """The numbers of a channel: what each side calls it, what may still come (`left`) and go (`window`)."""

    local_id: int
    remote_id: int
    left: int
    window: int
    max_packet: int


class LocalChannel:
    """A session channel without an asset. `start(channel, command)` runs in a thread of its own.

    Whatever the connection's reader says of it is taken under one lock, so that the channel can be handed over to
    somebody else between two messages.
    """

    def __init__(self, leg: Leg, start: Callable[[LocalChannel, str | None], int]) -> None:
        self._leg = leg
        self._start = start
        self._local_id = leg.take_id(self)
        self._remote_id = 0
        self._remote = b""
        self._window = 0
        self._max_packet = 0
        self._room = threading.Condition()
        self._keyboard = Keyboard()
        self._left = WINDOW
        self._over = False
        self._got_eof = False
        self._sent_close = False
        self._started = False
        self._heir: End | None = None
        self._terminal: tuple[bytes, bytes] = (b"", b"")
        self.environment: list[bytes] = []
        self.pty = False
        self.cols, self.rows = 80, 24

    def open(self, remote_id: int, window: int, max_packet: int) -> None:
        self._remote_id, self._remote = remote_id, u32(remote_id)
        self._window, self._max_packet = window, max(1, min(max_packet, PIECE))
        self._leg.send(
            message(Msg.OPEN_CONFIRMATION, self._remote, u32(self._local_id), u32(WINDOW), u32(PIECE))
        )

    # What the leg says. ----------------------------------------------------------------------------------

    def on_data(self, plain: bytearray, count: int, size: int, extended: int | None) -> None:
        with self._room:
            if self._heir is None:
                self._take(plain, count, extended)
                return
        self._heir.on_data(plain, count, size, extended)

    def on_opened(self, remote_id: int, window: int, max_packet: int) -> None:
        raise SSHException("a channel was confirmed that wasn't asked for")

    def on_open_failed(self, code: int, text: str) -> None:
        raise SSHException("a channel was refused that wasn't asked for")

    def on_reply(self, success: bool) -> None: ...

    def on_adjust(self, count: int) -> None:
        with self._room:
            if self._heir is None:
                self._window = min(self._window + count, 0xFFFFFFFF)
                self._room.notify_all()
                return
        self._heir.on_adjust(count)

    def on_request(self, name: str, want_reply: bool, body: bytes) -> None:
        with self._room:
            if self._heir is None:
                self._on_request(name, want_reply, body)
                return
        self._heir.on_request(name, want_reply, body)

    def on_eof(self) -> None:
        with self._room:
            if self._heir is None:
                self._got_eof = True
                self._keyboard.end()
                self._room.notify_all()
                return
        self._heir.on_eof()

    def on_close(self) -> None:
        with self._room:
            if self._heir is None:
                self._over = True
                self._room.notify_all()
        if self._heir is not None:
            self._heir.on_close()
            return
        self._close()
        self._leg.drop_id(self._local_id)

    def _take(self, plain: bytearray, count: int, extended: int | None) -> None:
        self._left -= count
        if self._left < 0:
            raise SSHException("more data than the window allows")
        if extended is None:
            self._echo(self._keyboard.feed(bytes(plain[10 : 10 + count])))
            self._room.notify_all()
        if self._left < WINDOW // 2 and not self._sent_close:
            self._leg.send(message(Msg.WINDOW_ADJUST, self._remote, u32(WINDOW - self._left)))
            self._left = WINDOW

    def _on_request(self, name: str, want_reply: bool, body: bytes) -> None:
        if name == "pty-req":
            self.pty = True
            fields = Reader(body)
            term = fields.string(64)
            self.cols, self.rows = fields.u32(), fields.u32()
            self._terminal = (string(term), fields.rest())
        elif name == "window-change":
            fields = Reader(body)
            self.cols, self.rows = fields.u32(), fields.u32()
        elif name == "env" and not self._started and len(self.environment) < MOST_ENVIRONMENT:
            self.environment.append(body)
        if want_reply:
            self._leg.send(
                message(Msg.CHANNEL_SUCCESS if name in KNOWN else Msg.CHANNEL_FAILURE, self._remote)
            )
        if name in STARTS and not self._started:
            self._started = True
            command = Reader(body).text(4096) if name == "exec" else None
            threading.Thread(target=self._run, args=(command,), name="console", daemon=True).start()

    # What the console does. ------------------------------------------------------------------------------

    def write(self, text: str, *, error: bool = False) -> None:
        """Show text. Raises EOFError when nobody reads any more."""
        data = (text.replace("\n", "\r\n") if self.pty else text).encode()
        while data:
            with self._room:
                while not self._window and not self._over:
                    self._room.wait(1)
                    self.check()
                self.check()
                fits = min(len(data), self._window, self._max_packet)
                self._window -= fits
            if error and not self.pty:
                self._leg.send(message(Msg.EXTENDED_DATA, self._remote, u32(1), string(data[:fits])))
            else:
                self._leg.send(message(Msg.CHANNEL_DATA, self._remote, string(data[:fits])))
            data = data[fits:]

    def ask(self, prompt: str, *, hidden: bool = False) -> str:
        """One line that the person types; `hidden` isn't echoed. Raises EOFError at the end of input."""
        self._keyboard.hidden = hidden
        self.write(prompt, error=True)
        lines = self._keyboard.lines
        with self._room:
            while not lines:
                self.check()
                self._room.wait(1)
            # The end of the input is no line: whoever asks again meets it again.
            line = lines.popleft() if lines[0] is not None or not self._got_eof else None
        self._keyboard.hidden = False
        if line is None:
            self.write("\n", error=True)
            raise EOFError
        return line

    def check(self) -> None:
        """Raises EOFError when the person is gone, or was sent away."""
        if self._over or self._leg.is_cut or not self._leg.is_active():
            raise EOFError

    @contextlib.contextmanager
    def deaf(self) -> Iterator[None]:
        """In here, what is typed is dropped, and so is what was typed before; only a Ctrl-C is noticed."""
        self.drop_typed()
        self._keyboard.interrupted = False
        self._keyboard.deaf = self.pty
        try:
            yield
        finally:
            self._keyboard.deaf = False

    @property
    def dropped(self) -> int:
        """How much was typed that nobody had asked for."""
        return self._keyboard.dropped

    @property
    def interrupted(self) -> bool:
        return self._keyboard.interrupted

    def pause(self, seconds: float) -> None:
        """Wait so long, or until the person types or goes."""
        with self._room:
            self._room.wait(seconds)

    def drop_typed(self) -> None:
        """Nobody asked for what was typed so far. Without a terminal input is a script's, which writes it in one go."""
        if self.pty:
            with self._room:
                self._keyboard.forget()

    def _echo(self, text: str) -> None:
        if not text or not self.pty or self._sent_close:
            return
        fits = text.encode()[: min(self._window, self._max_packet)]
        self._window -= len(fits)
        self._leg.send(message(Msg.CHANNEL_DATA, self._remote, string(fits)))

    # Handing it over. ------------------------------------------------------------------------------------

    @property
    def ends(self) -> Ends:
        return Ends(self._local_id, self._remote_id, self._left, self._window, self._max_packet)

    def hand_over(self, take_over: Callable[[Ends], End]) -> None:
        """Between two messages of the person, `take_over(ends)` names the end that hears the channel from now on.

        Nothing may be written here any more. Raises EOFError when the person has closed it or is gone.
        """
        with self._room:
            self.check()
            heir = take_over(self.ends)
            self._heir = self._leg.ends[self._local_id] = heir
            self._sent_close = True
            if self._got_eof:
                heir.on_eof()

    def terminal(self) -> bytes:
        """The body of the person's pty-req, with the size that their terminal has now."""
        term, rest = self._terminal
        return term + u32(self.cols) + u32(self.rows) + rest

    def _run(self, command: str | None) -> None:
        with contextlib.suppress(EOFError):  # the person has gone: there is nobody to tell a status
            self.finish(self._start(self, command))

    def finish(self, status: int) -> None:
        """Say the exit status and close; not any more where it was handed over."""
        with self._room:
            if self._over or self._sent_close or not self._leg.is_active():
                return
        done = message(Msg.CHANNEL_REQUEST, self._remote, string("exit-status"), boolean(False), u32(status))
        self._leg.send(done)
        self._close()

    def _close(self) -> None:
        with self._room:
            if self._sent_close:
                return
            self._sent_close = True
        self._leg.send(message(Msg.CHANNEL_EOF, self._remote))
        self._leg.send(message(Msg.CHANNEL_CLOSE, self._remote))
