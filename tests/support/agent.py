"""An ssh-agent with security keys made of software: stock OpenSSH asks it to sign, and tests say what it vouches for.

The protocol is draft-miller-ssh-agent; the signatures are OpenSSH's PROTOCOL.u2f.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TOUCH, PIN = 0x01, 0x04
ED25519, ECDSA = "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"


def string(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(4, "big") + data


def mpint(number: int) -> bytes:
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big"))


@dataclass
class SoftKey:
    """A security key without hardware. `flags` and `counter` are what its next signature says; the counter goes on."""

    kind: str = ED25519
    flags: int = TOUCH
    counter: int = 1
    application: str = "ssh:"
    step: int = 1
    _ed25519: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    _ecdsa: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    @property
    def blob(self) -> bytes:
        if self.kind == ED25519:
            raw = self._ed25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            return string(self.kind) + string(raw) + string(self.application)
        point = self._ecdsa.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return string(self.kind) + string("nistp256") + string(point) + string(self.application)

    @property
    def line(self) -> str:
        return f"{self.kind} {base64.b64encode(self.blob).decode()} soft"

    def sign(self, data: bytes) -> bytes:
        said = bytes((self.flags,)) + self.counter.to_bytes(4, "big")
        self.counter += self.step
        application = hashlib.sha256(self.application.encode()).digest()
        signed = application + said + hashlib.sha256(data).digest()
        if self.kind == ED25519:
            raw = self._ed25519.sign(signed)
        else:
            r, s = decode_dss_signature(self._ecdsa.sign(signed, ec.ECDSA(SHA256())))
            raw = mpint(r) + mpint(s)
        return string(self.kind) + string(raw) + said


class Agent:
    """Serves keys on a Unix socket until it is closed."""

    def __init__(self, path: Path, *keys: SoftKey) -> None:
        self.path, self.keys = path, keys
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._accept, name="agent", daemon=True)
        self._thread.start()

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as asked:
            while len(size := asked.read(4)) == 4:
                answer = self._answer(asked.read(int.from_bytes(size, "big")))
                with contextlib.suppress(OSError):
                    client.sendall(string(answer))

    def _answer(self, request: bytes) -> bytes:
        if request[0] == 11:
            held = b"".join(string(key.blob) + string("soft") for key in self.keys)
            return b"\x0c" + len(self.keys).to_bytes(4, "big") + held
        if request[0] == 13:
            blob, rest = _string(request[1:])
            data, _ = _string(rest)
            for key in self.keys:
                if key.blob == blob:
                    return b"\x0e" + string(key.sign(data))
        return b"\x05"


def _string(data: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(data[:4], "big")
    return data[4 : 4 + size], data[4 + size :]
