"""Secrets at rest: AES-256-GCM under keys derived (HKDF-SHA-256) from the installation's master key, one a purpose."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

NONCE = 12
VERSION = b"\x01"


class VaultError(Exception):
    """The ciphertext is damaged, meant for another purpose, or the master key is not the one it was made with."""


def derive(purpose: str) -> bytes:
    """32 bytes that only this installation can derive, different for each purpose."""
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"breakglass:" + purpose.encode())
    return hkdf.derive(settings.BREAKGLASS.master_key)


def encrypt(plain: bytes, purpose: str) -> bytes:
    """Ciphertext that `decrypt` opens for the same purpose only."""
    nonce = os.urandom(NONCE)
    return VERSION + nonce + AESGCM(derive(purpose)).encrypt(nonce, plain, purpose.encode())


def decrypt(ciphertext: bytes, purpose: str) -> bytes:
    """What `encrypt` was given. Raises `VaultError`; the message holds no secret."""
    blob = bytes(ciphertext)
    if blob[:1] != VERSION or len(blob) < 1 + NONCE + 16:
        raise VaultError(f"not a vault entry for {purpose}")
    try:
        return AESGCM(derive(purpose)).decrypt(blob[1 : 1 + NONCE], blob[1 + NONCE :], purpose.encode())
    except InvalidTag:
        raise VaultError(
            f"the vault entry for {purpose} doesn't open: damaged, or another master key"
        ) from None
