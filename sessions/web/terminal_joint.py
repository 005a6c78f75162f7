"""The gateway's side of a browser terminal: its connection, its shell, and the two threads that carry between them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paramiko

from breakglass.domain.text import visible
from sessions.services.terminals import Pass
from sessions.web.terminal_client import GatewayLine, NotLetIn, dial, open_shell
from sessions.web.terminal_credit import Credit

PIECE = 32 * 1024
MOST_SHOWN_AHEAD = 256 * 1024
MOST_TYPED_AHEAD = 128 * 1024
LAST_WORDS_SECONDS = 2.0


@dataclass(frozen=True)
class Over:
    """How a terminal ended: `exit`, `ended`, `ended-here`, `refused`, `lost`, `gone`, `login-over`; and what to say."""

    kind: str
    says: str


Hand = Callable[[bytes | dict[str, Any] | Over], None]


class Joint:
    """`hand` takes what goes to the browser, in order; the last thing is an Over. The other methods never wait."""

    def __init__(self, opened: Pass, size: tuple[int, int], hand: Hand) -> None:
        self._opened = opened
        self._size = size
        self._hand = hand
        self._shell: paramiko.Channel | None = None
        self._typed: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._resized = False
        self._ahead = 0
        self._count = threading.Lock()
        self._ended = threading.Event()
        self.line: GatewayLine | None = None
        self.credit = Credit(MOST_SHOWN_AHEAD)

    def start(self, *, shell: bool) -> None:
        threading.Thread(target=self._run, args=(shell,), name="terminal", daemon=True).start()

    def type(self, data: bytes) -> bool:
        """False where more was typed ahead than is allowed for."""
        with self._count:
            self._ahead += len(data)
            fits = self._ahead <= MOST_TYPED_AHEAD
        if fits and data:
            self._typed.put(data)
        return fits

    def resize(self, size: tuple[int, int]) -> None:
        """Of several that wait the last one counts."""
        with self._count:
            waits, self._resized, self._size = self._resized, True, size
        if not waits:
            self._typed.put(b"")

    def end(self) -> None:
        """Hang up: the gateway ends the session."""
        self._ended.set()
        self.credit.end()
        self._typed.put(None)
        if self.line is not None:
            threading.Thread(target=self.line.close, name="terminal-end", daemon=True).start()

    # In the threads. -------------------------------------------------------------------------------------

    def _run(self, shell: bool) -> None:
        try:
            self._hand(self._carry(shell))
        except NotLetIn as no:
            self._hand(Over("refused", visible(str(no))))
        except (OSError, EOFError, paramiko.SSHException) as error:
            self._hand(self._lost(error))

    def _carry(self, shell: bool) -> Over:
        self.line = line = dial(self._opened)
        if self._ended.is_set():
            line.close()
        self._hand({"t": "in", "banner": visible(line.banner_words)})
        if not shell:
            line.join()
            return self._farewell(line, None)
        self._shell = channel = open_shell(line, *self._size)
        threading.Thread(target=self._type_on, args=(channel,), name="terminal-keys", daemon=True).start()
        while data := channel.recv(PIECE):
            if not self.credit.take(len(data)):
                break
            self._hand(b"\x00" + data)
        self._typed.put(None)
        return self._farewell(line, channel)

    def _type_on(self, channel: paramiko.Channel) -> None:
        """What is typed goes on as the gateway takes it: one that is frozen takes nothing for now."""
        try:
            while (what := self._typed.get()) is not None:
                if not what:
                    with self._count:
                        self._resized, size = False, self._size
                    channel.resize_pty(*size)
                    continue
                channel.sendall(what)
                with self._count:
                    self._ahead -= len(what)
                self._hand({"t": "typed", "n": len(what)})
        except (OSError, EOFError, paramiko.SSHException):
            return  # the line is down: its reader says why

    def _farewell(self, line: GatewayLine, channel: paramiko.Channel | None) -> Over:
        """The shell is over, or all of it: a moment for the gateway to say why."""
        if channel is not None and channel.exit_status_ready() and not line.farewell:
            status = channel.recv_exit_status()
            line.join(0.2)
            if not line.farewell:
                says = "The shell is over" + (f" (exit status {status})." if status > 0 else ".")
                return Over("exit", says)
        line.join(LAST_WORDS_SECONDS)
        if line.farewell:
            return Over("ended", visible(line.farewell))
        return self._lost(None)

    def _lost(self, error: BaseException | None) -> Over:
        words = self.line.farewell if self.line is not None else ""
        if words:
            return Over("ended", visible(words))
        why = f" ({visible(str(error))})" if error is not None and str(error) else ""
        return Over(
            "lost", f"The line to the gateway was lost{why}. Your grant lives on: open a terminal again."
        )
