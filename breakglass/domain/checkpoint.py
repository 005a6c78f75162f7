"""C2SP checkpoints (c2sp.org/tlog-checkpoint) as signed notes (c2sp.org/signed-note): their text, byte for byte.

Signing and verifying are services.notes': this knows only where what stands.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256

ED25519_SIGNATURE = 64
ED25519 = b"\1"
MOST_BYTES = 16 * 1024
MOST_SIGNATURES = 16
_NAME = re.compile(r"[^\s+]+")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class Checkpoint:
    """The first `size` rows of the trail `origin` have this Merkle root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """What is signed: three lines."""
        return f"{self.origin}\n{self.size}\n{b64(self.root)}\n"


@dataclass(frozen=True)
class Key:
    """Who may sign: a name, and an Ed25519 public key of 32 bytes."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        """The verifier key, as Go's note package and others take it: `name+id+base64`."""
        return f"{self.name}+{self.id.hex()}+{b64(ED25519 + self.public)}"


@dataclass(frozen=True)
class Note:
    """A text and the signatures below it, none of them verified."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]
    """Name, key id (4 bytes), signature."""


def key_of(verifier: str) -> Key:
    """A verifier key as it was given. Raises ValueError."""
    name, _, rest = verifier.strip().partition("+")
    stated, _, encoded = rest.partition("+")
    raw = raw_of(encoded, "a verifier key")
    if not _NAME.fullmatch(name) or len(raw) != 33 or raw[:1] != ED25519:
        raise ValueError("it isn't a verifier key of Ed25519: NAME+ID+BASE64")
    key = Key(name, raw[1:])
    if key.id.hex() != stated:
        raise ValueError("the verifier key's id isn't that of its name and key: it was changed")
    return key


def is_name(name: str) -> bool:
    """Whether a key may be called so: no spaces, no plus."""
    return bool(_NAME.fullmatch(name)) and name.isprintable()


def signed(text: str, key: Key, signature: bytes) -> str:
    """The signed note of `text`."""
    return f"{text}\n\N{EM DASH} {key.name} {b64(key.id + signature)}\n"


def note_of(text: str) -> Note:
    """The parts of a signed note. Raises ValueError."""
    body, blank, lines = text.rpartition("\n\n")
    if not blank or not lines.endswith("\n") or len(text.encode()) > MOST_BYTES:
        raise ValueError("it isn't a signed note")
    if any(ord(letter) < 32 and letter != "\n" for letter in text):
        raise ValueError("a signed note holds no control characters")
    signatures = [_signature(line) for line in lines[:-1].split("\n")]
    if len(signatures) > MOST_SIGNATURES:
        raise ValueError("the note has too many signatures")
    return Note(body + "\n", tuple(signatures))


def checkpoint_of(text: str) -> Checkpoint:
    """The checkpoint that a note's text says; extension lines are let be. Raises ValueError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() or not all(lines) or not _SIZE.fullmatch(lines[1]):
        raise ValueError("it isn't a checkpoint: origin, size and root, a line each")
    root = raw_of(lines[2], "a root")
    if len(root) != 32:
        raise ValueError("a checkpoint's root has 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def notes_in(text: str) -> list[str]:
    """Every signed note in a file or an answer that holds one after the other. After two empty lines a new one begins,
    whatever became of the one before."""
    found: list[list[str]] = []
    lines: list[str] = []
    for line in text.splitlines():
        is_signed = bool(lines) and lines[-1].startswith("\N{EM DASH} ")
        if (is_signed and not line.startswith("\N{EM DASH} ")) or (lines and not line and not lines[-1]):
            found.append(lines)
            lines = []
        if line or lines:
            lines.append(line)
    return ["\n".join(part) + "\n" for part in [*found, lines] if part]


def is_whole(text: str) -> bool:
    """Whether this is a signed checkpoint as one is written, and not what a crash left of it. Who signed it is not asked."""
    try:
        parts = note_of(text)
        checkpoint_of(parts.text)
    except ValueError:
        return False
    return all(len(signature) >= ED25519_SIGNATURE for _, _, signature in parts.signatures)


def _signature(line: str) -> tuple[str, bytes, bytes]:
    words = line.split(" ")
    if len(words) != 3 or words[0] != "\N{EM DASH}" or not _NAME.fullmatch(words[1]):
        raise ValueError("a signature's line is: em dash, name, base64")
    raw = raw_of(words[2], "a signature")
    if len(raw) < 5:
        raise ValueError("a signature has a key id and some bytes")
    return words[1], raw[:4], raw[4:]


def raw_of(encoded: str, what: str) -> bytes:
    """Bytes out of base64, written in its one way. Raises ValueError naming `what`."""
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{what} is base64: {error}") from None
    if b64(raw) != encoded:
        raise ValueError(f"{what} has one way to be written in base64")
    return raw


def b64(raw: bytes) -> str:
    """RFC 4648, section 4."""
    return base64.b64encode(raw).decode()
