"""Signing and verifying C2SP notes with Ed25519."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from breakglass.domain.checkpoint import (
    ED25519,
    Checkpoint,
    Key,
    b64,
    checkpoint_of,
    is_name,
    note_of,
    raw_of,
    signed,
)

PRIVATE = "PRIVATE+KEY"


class KeyUnusable(Exception):
    """The notary's key file can't be used; the message says why."""


class Signer:
    """A private key and the name that it signs by."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._seed = seed
        self.key = Key(name, self._private.public_key().public_bytes_raw())

    @staticmethod
    def of(text: str) -> Signer:
        """Out of `PRIVATE+KEY+name+id+base64`, as Go's note package writes it. Raises ValueError."""
        words = text.strip().split("+", 4)
        if "+".join(words[:2]) != PRIVATE or len(words) != 5 or not is_name(words[2]):
            raise ValueError("it isn't a note signer's key")
        raw = raw_of(words[4], "the key")
        if len(raw) != 33 or raw[:1] != ED25519:
            raise ValueError("it isn't an Ed25519 key")
        signer = Signer(words[2], raw[1:])
        if signer.key.id.hex() != words[3]:
            raise ValueError("its id isn't that of its name and key")
        return signer

    def secret(self) -> str:
        """What `of` reads."""
        return f"{PRIVATE}+{self.key.name}+{self.key.id.hex()}+{b64(ED25519 + self._seed)}"

    def sign(self, text: str) -> str:
        """The signed note of `text`, which ends with a newline."""
        return signed(text, self.key, self._private.sign(text.encode()))


def make_key(path: Path, name: str) -> Signer:
    """A fresh key in a new file that its owner alone may read. Raises FileExistsError: no key is written over."""
    signer = Signer(name, os.urandom(32))
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(signer.secret() + "\n")
        out.flush()
        os.fsync(out.fileno())
    return signer


def read_key(path: Path) -> Signer:
    """The key in that file. Raises KeyUnusable, also where anybody but its owner may read it."""
    try:
        with path.open() as file:
            facts = os.fstat(file.fileno())
            text = file.read()
    except OSError as error:
        raise KeyUnusable(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(facts.st_mode) or facts.st_mode & 0o077:
        raise KeyUnusable(f"{path}: others than its owner may read it; chmod 600 {path}")
    if facts.st_uid != os.geteuid():
        raise KeyUnusable(f"{path}: it belongs to another user than the notary runs as")
    try:
        return Signer.of(text)
    except ValueError as error:
        raise KeyUnusable(f"{path}: {error}") from None


def opened(note: str, *keys: Key) -> tuple[Checkpoint, Key]:
    """What a checkpoint says, and which of `keys` signed it. Raises ValueError: unknown key, wrong signature, no checkpoint.

    Every signature of a known key must hold (c2sp.org/signed-note).
    """
    parts = note_of(note)
    by: Key | None = None
    for name, key_id, signature in parts.signatures:
        for key in keys:
            if (key.name, key.id) == (name, key_id):
                try:
                    Ed25519PublicKey.from_public_bytes(key.public).verify(signature, parts.text.encode())
                except InvalidSignature:
                    raise ValueError(
                        f"the signature of {name} is wrong: the checkpoint was changed"
                    ) from None
                by = key
    if by is None:
        names = ", ".join(sorted({name for name, _, _ in parts.signatures}))
        raise ValueError(f"it isn't signed by a key that is known here, but by {names}")
    return checkpoint_of(parts.text), by
