"""A client that knows everything but what counts: any message in any state, right codes, other people's public keys."""

from __future__ import annotations

import queue
import socket
import struct
from typing import Any

import paramiko
from hypothesis import strategies as st
from paramiko.message import Message

from sessions.gateway.wire import boolean, string, u32

AT = "rita+hist-01"
OTHERS = ("rita", "eve+hist-01", "rita+root@hist-01", "mallory", "rita+hist-01 ", "rita+hist-01\0", "eve", "")
ALGORITHMS = ("ssh-ed25519", "rsa-sha2-512", "ecdsa-sha2-nistp256", "ssh-ed25519-cert-v01@openssh.com",
              "sk-ssh-ed25519@openssh.com", "ssh-dss", "none")  # fmt: skip
OPEN = string("session") + u32(0) + u32(1 << 20) + u32(32768)
EXEC = u32(0) + string("exec") + boolean(True) + string("id")
KEXINIT = bytes(16) + b"".join(map(string, ["curve25519-sha256", "ssh-ed25519", *["aes256-gcm@openssh.com"] * 2,
    *["hmac-sha2-256-etm@openssh.com"] * 2, "none", "none", "", ""])) + bytes(5)  # fmt: skip

# What a message of that number looks like when it is well formed.
PLAUSIBLE: dict[int, list[bytes]] = {
    1: [u32(11) + string("bye") + string("")],
    2: [string("noise")],
    3: [u32(3)],
    4: [boolean(True) + string("debug") + string("")],
    5: [string("ssh-userauth"), string("ssh-connection"), string("ssh-userauth\0")],
    6: [string("ssh-userauth"), string("ssh-connection")],
    7: [u32(1) + string("server-sig-algs") + string("ssh-ed25519"), u32(0xFFFFFFFF)],
    8: [b""],
    20: [KEXINIT],
    21: [b""],
    30: [string(bytes(32)), string(b"\xff" * 1216)],
    31: [string(bytes(32)) + string(bytes(32)) + string(bytes(64))],
    51: [string("publickey") + boolean(True), string("") + boolean(False)],
    52: [b""],
    53: [string("hello") + string("")],
    60: [string("ssh-ed25519") + string(bytes(51)), string("") * 3 + u32(0)],
    80: [string("tcpip-forward") + boolean(True) + string("") + u32(0)],
    81: [b""],
    82: [b""],
    90: [OPEN],
    91: [u32(0) * 4],
    92: [u32(0) + u32(1) + string("") * 2],
    93: [u32(0) + u32(1 << 20)],
    94: [u32(0) + string("id\n")],
    95: [u32(0) + u32(1) + string("id\n")],
    96: [u32(0)],
    97: [u32(0)],
    98: [EXEC, u32(0) + string("shell") + boolean(True)],
    99: [u32(0)],
    100: [u32(0)],
}
field = st.one_of(
    st.binary(max_size=40).map(string),
    st.integers(0, 2**32 - 1).map(u32),
    st.booleans().map(boolean),
    st.sampled_from(["ssh-userauth", "ssh-connection", "publickey", AT, "", "\0"]).map(string),
)
junk = st.one_of(st.binary(max_size=64), st.lists(field, max_size=6).map(b"".join))


class Carrier(paramiko.Transport):
    """paramiko's client, which says more than it should while keys are exchanged: `between` holds what, before what."""

    between: dict[int, bytes] = {}

    def _send_message(self, data: Message) -> None:
        number = data.asbytes()[0]
        extra = self.between.pop(number, None)
        if extra is not None:
            self.packetizer.send_message(Message(extra))  # type: ignore[attr-defined]
        super()._send_message(data)  # type: ignore[misc]

    def _log(self, *_: object) -> None: ...


class Intruder:
    """One connection. `heard` keeps what the gateway said; nothing is waited for that needn't come."""

    def __init__(self, port: int, between: dict[int, bytes] | None = None) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.transport = Carrier(self.sock)
        self.transport.between = dict(between or {})
        self.heard: queue.Queue[tuple[int, bytes]] = queue.Queue()
        self.all: list[int] = []
        table = self.transport._handler_table  # type: ignore[attr-defined]
        for number in (6, 51, 52, 53, 60, 80, 81, 82, *range(90, 101)):
            table[number] = self._keeper(number)
        self.transport.start_client(timeout=20)

    def _keeper(self, number: int) -> Any:
        def keep(m: Message) -> None:
            self.all.append(number)
            self.heard.put((number, m.get_remainder()))

        return keep

    def send(self, number: int, body: bytes = b"") -> None:
        try:
            self.transport.packetizer.send_message(Message(bytes((number,)) + body))  # type: ignore[attr-defined]
        except (EOFError, OSError):
            return

    def expect(self, number: int) -> bytes:
        """The next message that isn't a banner, which must be of that number. Raises EOFError when none comes."""
        for _ in range(400):
            try:
                said, body = self.heard.get(timeout=0.05)
            except queue.Empty:
                if not self.transport.is_active() and self.heard.empty():
                    break
                continue
            if said != 53:
                assert said == number, (said, body)
                return body
        raise EOFError

    def request(self, user: str, method: str, body: bytes = b"") -> None:
        self.send(50, string(user) + string("ssh-connection") + string(method) + body)

    def service(self) -> None:
        self.send(5, string("ssh-userauth"))
        self.expect(6)

    def key(self, user: str, blob: bytes, algorithm: str = "ssh-ed25519", by: paramiko.PKey | None = None,
            signed_name: str | None = None) -> None:  # fmt: skip
        """A key with a signature by `by`, or without one: a probe. `signed_name` is signed in place of `user`."""
        fields = (
            string("ssh-connection"),
            string("publickey"),
            boolean(by is not None),
            string(algorithm),
            string(blob),
        )
        signature = b""
        if by is not None:
            name = string(user if signed_name is None else signed_name)
            data = string(self.transport.session_id or b"") + b"\x32" + name + b"".join(fields)
            signature = string(by.sign_ssh_data(data, None).asbytes())
        self.send(50, string(user) + b"".join(fields) + signature)

    def answer(self, *answers: str, claimed: int | None = None) -> None:
        self.send(61, u32(len(answers) if claimed is None else claimed) + b"".join(map(string, answers)))

    def is_out(self) -> bool:
        """Ask for a channel and a command: whoever isn't in is cut off for it. True when that is what happened."""
        self.send(90, OPEN)
        self.send(98, EXEC)
        self.transport.join(20)
        gone = not self.transport.is_alive()
        self.transport.close()
        self.sock.close()
        return gone and not {52, 91, 99} & set(self.all)


def unencrypted(number: int, body: bytes) -> bytes:
    """A packet as it is before keys are exchanged."""
    payload = bytes((number,)) + body
    padding = 8 - (5 + len(payload)) % 8 + 8
    return struct.pack(">IB", 1 + len(payload) + padding, padding) + payload + bytes(padding)
