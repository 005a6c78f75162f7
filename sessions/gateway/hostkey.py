"""The gateway's own host key: derived from the master key, so that every process and every restart shows the same."""

from __future__ import annotations

import io

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from paramiko import Ed25519Key

from breakglass.services import vault

PURPOSE = "gateway:host-key"


def _private(asset: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(vault.derive(f"{PURPOSE}:{asset}" if asset else PURPOSE))


def host_key(asset: str = "") -> Ed25519Key:
    """The key to serve with; of its own for each asset that is reached by ProxyJump."""
    pem = _private(asset).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return Ed25519Key.from_private_key(io.StringIO(pem))


def public_line(asset: str = "") -> str:
    """Type and key, as a known_hosts line holds them after the address."""
    return _private(asset).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
