"""SSHSIG signatures (OpenSSH's PROTOCOL.sshsig), which stock `ssh-keygen -Y verify` accepts."""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAGIC: Final = b"SSHSIG"
HASH: Final = b"sha512"
TYPE: Final = b"ssh-ed25519"
_WIDTH: Final = 70


def sign(message: bytes, key: Ed25519PrivateKey, namespace: str) -> bytes:
    """The armored signature, as `ssh-keygen -Y sign -n NAMESPACE` would write it. Deterministic."""
    name = namespace.encode()
    signed = MAGIC + _string(name) + _string(b"") + _string(HASH) + _string(hashlib.sha512(message).digest())
    signature = _string(TYPE) + _string(key.sign(signed))
    blob = MAGIC + struct.pack(">I", 1) + _string(public_blob(key.public_key()))
    blob += _string(name) + _string(b"") + _string(HASH) + _string(signature)
    text = base64.b64encode(blob).decode()
    lines = [text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]).encode()


def public_blob(key: Ed25519PublicKey) -> bytes:
    """The key as SSH spells it on the wire (RFC 8709)."""
    return _string(TYPE) + _string(key.public_bytes_raw())


def public_line(key: Ed25519PublicKey) -> str:
    """The key as it stands in a .pub file, without a comment."""
    return f"{TYPE.decode()} {base64.b64encode(public_blob(key)).decode()}"


def fingerprint(key: Ed25519PublicKey) -> str:
    """As `ssh-keygen -l` says it."""
    digest = base64.b64encode(hashlib.sha256(public_blob(key)).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value
