"""A client that says what it likes: raw SSH messages to the gateway, by paramiko's transport as a carrier."""

from __future__ import annotations

import queue
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import paramiko
from paramiko.message import Message

from sessions.gateway.wire import boolean, string, u32


class Raw:
    """An encrypted connection on which any message can be sent, in any order; what comes back is kept."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.transport = paramiko.Transport(self.sock)
        self.heard: queue.Queue[tuple[int, bytes]] = queue.Queue()
        self.transport.start_client(timeout=30)
        table = self.transport._handler_table  # type: ignore[attr-defined]
        for number in (6, 51, 52, 53, 60, 81, 82, *range(90, 101)):
            table[number] = self._keeper(number)

    def _keeper(self, number: int) -> Any:
        return lambda m: self.heard.put((number, m.get_remainder()))

    def send(self, number: int, *fields: bytes) -> None:
        m = Message(bytes((number,)) + b"".join(fields))
        self.transport._send_message(m)  # type: ignore[attr-defined]

    def hear(self, seconds: float = 30) -> tuple[int, bytes] | None:
        """The next message, or None once the connection is closed or the time is over."""
        try:
            while seconds > 0:
                try:
                    return self.heard.get(timeout=0.05)
                except queue.Empty:
                    seconds -= 0.05
                    if not self.transport.is_active() and self.heard.empty():
                        return None
        except queue.Empty:
            return None
        return None

    def closed(self, seconds: float = 30) -> bool:
        end = threading.Event()
        while seconds > 0 and self.transport.is_active():
            end.wait(0.05)
            seconds -= 0.05
        return not self.transport.is_active()

    def service(self) -> None:
        self.send(5, string("ssh-userauth"))
        heard = self.hear()
        assert heard is not None and heard[0] == 6

    def public_key(self, user: str, key: paramiko.PKey, *, signed: bool = True, by: paramiko.PKey | None = None,
                   session_id: bytes | None = None) -> None:  # fmt: skip
        """A publickey request; `by` signs in place of the key's owner."""
        algorithm = key.get_name()
        fields = [string(user), string("ssh-connection"), string("publickey"), boolean(signed), string(algorithm),
                  string(key.asbytes())]  # fmt: skip
        if signed:
            known = session_id if session_id is not None else self.transport.session_id
            data = b"".join((string(known or b""), bytes((50,)), *fields))
            signature = (by or key).sign_ssh_data(data, algorithm)
            fields.append(string(signature.asbytes()))
        self.send(50, *fields)

    def keyboard(self, user: str) -> None:
        self.send(
            50, string(user), string("ssh-connection"), string("keyboard-interactive"), string(""), string("")
        )

    def password(self, user: str, password: str) -> None:
        self.send(
            50, string(user), string("ssh-connection"), string("password"), boolean(False), string(password)
        )

    def answer(self, *answers: str) -> None:
        self.send(61, u32(len(answers)), *(string(answer) for answer in answers))

    def open_session(self) -> None:
        self.send(90, string("session"), u32(0), u32(1 << 20), u32(32768))

    def close(self) -> None:
        self.transport.close()


def load(path: Path) -> paramiko.Ed25519Key:
    return paramiko.Ed25519Key.from_private_key_file(str(path))


def failure(heard: tuple[int, bytes] | None) -> tuple[str, bool]:
    """Methods and partial success of a USERAUTH_FAILURE."""
    assert heard is not None and heard[0] == 51, heard
    size = struct.unpack(">I", heard[1][:4])[0]
    return heard[1][4 : 4 + size].decode(), heard[1][4 + size] == 1


def string_of(text: str) -> bytes:
    """An SSH string."""
    return string(text)
