"""An asset that means harm: it logs the gateway in like any other, and then sends what the test tells it to."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from paramiko.message import Message

from sessions.gateway.wire import string, u32

WINDOW = 1 << 21


class Server(paramiko.ServerInterface):
    """Lets everybody in, and says yes to every request on a channel."""

    def __init__(self, asset: HostileAsset) -> None:
        self._asset = asset

    def get_allowed_auths(self, username: str) -> str:
        return "publickey,password"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self._asset.logins += 1
        return paramiko.AUTH_SUCCESSFUL

    def check_auth_password(self, username: str, password: str) -> int:
        self._asset.logins += 1
        return paramiko.AUTH_SUCCESSFUL


class Line(paramiko.Transport):
    """The asset's end of one connection after its login. Channel messages are the test's own."""

    def _log(self, *_: object) -> None: ...

    def say(self, number: int, *fields: bytes) -> None:
        self.packetizer.send_message(Message(bytes((number,)) + b"".join(fields)))  # type: ignore[attr-defined]

    def flood(self, number: int, *fields: bytes, times: int) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            for _ in range(times):
                self.say(number, *fields)


@dataclass
class Shown:
    """What the gateway has shown an asset so far."""

    messages: list[int] = field(default_factory=list)
    opened: threading.Event = field(default_factory=threading.Event)
    started: threading.Event = field(default_factory=threading.Event)
    channel: int = 0


class HostileAsset:
    """Listens until `stop`. `raw(sock)` takes a connection over at once; otherwise `act(line, shown)` is called when
    the gateway has started a shell or command on a channel."""

    def __init__(self) -> None:
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        self.key = paramiko.Ed25519Key.from_private_key(io.StringIO(pem.decode()))
        self.window = WINDOW
        self.logins = 0
        self.raw: Callable[[socket.socket], None] | None = None
        self.act: Callable[[Line, Shown], None] = lambda line, shown: None
        self.shown: list[Shown] = []
        self._lines: list[Any] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, name="hostile", daemon=True).start()

    @property
    def host_key(self) -> str:
        return f"{self.key.get_name()} {self.key.get_base64()}"

    def stop(self) -> None:
        self._socket.close()
        for line in self._lines:
            line.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._socket.accept()
                self._lines.append(sock)
                threading.Thread(target=self._serve, args=(sock,), name="hostile", daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            if self.raw is not None:
                self.raw(sock)
                return
            line, shown = Line(sock), Shown()
            self.shown.append(shown)
            self._lines.append(line)
            line.add_server_key(self.key)
            self._take_over(line, shown)
            line.start_server(server=Server(self))

    def _take_over(self, line: Line, shown: Shown) -> None:
        table = line._handler_table  # type: ignore[attr-defined]

        def on_open(m: Message) -> None:
            shown.messages.append(90)
            m.get_text()
            shown.channel = m.get_int()
            line.say(91, u32(shown.channel), u32(0), u32(self.window), u32(32768))
            shown.opened.set()

        def on_request(m: Message) -> None:
            shown.messages.append(98)
            m.get_int()
            name, wants = m.get_text(), m.get_boolean()
            if wants:
                line.say(99, u32(shown.channel))
            if name in ("shell", "exec"):
                shown.started.set()
                threading.Thread(target=self._act, args=(line, shown), name="hostile", daemon=True).start()

        def keep(number: int) -> Callable[[Message], None]:
            return lambda m: shown.messages.append(number)

        for number in (80, 81, 82, *range(93, 98), 99, 100):
            table[number] = keep(number)
        table[90], table[98] = on_open, on_request

    def _act(self, line: Line, shown: Shown) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self.act(line, shown)


def data(channel: int, text: bytes) -> tuple[bytes, bytes]:
    """The fields of CHANNEL_DATA."""
    return u32(channel), string(text)
