"""Signatures of security keys (OpenSSH's PROTOCOL.u2f), checked with everything that the key put its name to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from breakglass.services.keys import fido_key
from breakglass.services.ssh_wire import Fields, u32

TOUCHED = 0x01  # "user present"
VERIFIED = 0x04  # "user verified": by PIN or finger


@dataclass(frozen=True)
class Mark:
    """What a security key vouched for with its signature."""

    touched: bool
    verified: bool
    counter: int


def verify(key_type: str, blob: bytes, data: bytes, signature: bytes) -> Mark | None:
    """What the key with this public half says with a good signature over `data`; None where it isn't good."""
    try:
        key = fido_key(blob, key_type)
        fields = Fields(signature)
        if fields.text() != key_type:
            return None
        raw, flags, counter = fields.string(), fields.number(1), fields.number(4)
        fields.end()
        application = hashlib.sha256(key.application.encode()).digest()
        signed = application + bytes((flags,)) + u32(counter) + hashlib.sha256(data).digest()
        if isinstance(key.public, Ed25519PublicKey):
            key.public.verify(raw, signed)
        else:
            key.public.verify(_der(raw), signed, ECDSA(SHA256()))
    except (ValueError, InvalidSignature):
        return None
    return Mark(bool(flags & TOUCHED), bool(flags & VERIFIED), counter)


def _der(raw: bytes) -> bytes:
    """RFC 5656 section 3.1.2 writes r and s as two mpints; `cryptography` wants ASN.1."""
    fields = Fields(raw)
    r, s = fields.mpint(), fields.mpint()
    fields.end()
    return encode_dss_signature(r, s)
