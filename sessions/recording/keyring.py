"""The house's keys that wrap data keys: the one in use, and older ones that still open what they wrapped.

Each recording and each kept copy has a data key of its own. It stands wrapped (AES key wrap, RFC 3394) in the file
itself; after the house's key was changed also in a small file beside it, `NAME.key`, which readers prefer:

  {"cipher":...,"key":...,"key_id":...,"of":...}    `of`: SHA-256 of the file's own first bytes, up to its data

So the house's key is changed without a byte of a recording being written anew.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from sessions.recording import files

ENDING: Final = ".key"
WRAPPED: Final = 40
MOST: Final = 1024
CIPHER: Final = "AES-256 key wrap"
_DRAFT: Final = ".new"
_LINE: Final = re.compile(
    rb'\{"cipher":"AES-256 key wrap","key":"(?P<key>[0-9a-f]{80})","key_id":"(?P<id>[0-9a-f]{16})",'
    rb'"of":"(?P<of>[0-9a-f]{64})"\}\n'
)


class KeyUnavailable(Exception):
    """The house's key can't be had now. The message says where it was looked for, and never holds a key."""


class KeyUnknown(Exception):
    """A data key was wrapped by a key that isn't in the ring; the message is that key's name."""


class BadWrap(Exception):
    """What wraps a data key isn't as it was written."""


def key_name(key: bytes) -> str:
    """A short name for a wrapping key; it tells nothing about the key."""
    return hmac.new(key, b"breakglass recording key name", "sha256").hexdigest()[:16]


class Keyring:
    """The keys of one house, 32 bytes each."""

    def __init__(self, current: bytes, *older: bytes) -> None:
        self.current = current
        self._keys = {key_name(key): key for key in (*reversed(older), current)}

    @property
    def name(self) -> str:
        """Of the key in use."""
        return key_name(self.current)

    @property
    def older(self) -> tuple[str, ...]:
        """The names of the others."""
        return tuple(name for name in self._keys if name != self.name)

    def __contains__(self, name: str) -> bool:
        return name in self._keys

    def wrap(self, data_key: bytes) -> bytes:
        """The data key, wrapped by the key in use: 40 bytes."""
        return aes_key_wrap(self.current, data_key)

    def unwrap(self, name: str, wrapped: bytes) -> bytes:
        """The data key that key `name` wrapped. KeyUnknown or BadWrap."""
        if name not in self._keys:
            raise KeyUnknown(name)
        try:
            return aes_key_unwrap(self._keys[name], wrapped)
        except (InvalidUnwrap, ValueError):
            raise BadWrap("the wrapped key was altered") from None

    def unwrap_any(self, wrapped: bytes) -> tuple[str, bytes]:
        """As `unwrap` where no name was written down: name and data key. BadWrap if none of them opens it."""
        for name in (self.name, *self.older):
            try:
                return name, aes_key_unwrap(self._keys[name], wrapped)
            except (InvalidUnwrap, ValueError):
                continue
        raise BadWrap("its key can't be unwrapped")


def ring(key: bytes | Keyring) -> Keyring:
    """One key alone is a ring too."""
    return key if isinstance(key, Keyring) else Keyring(key)


def beside(path: Path) -> Path:
    """Where the newer wrap of a file's data key is, if there is one."""
    return path.with_name(path.name + ENDING)


def read_beside(path: Path) -> bytes | None:
    """What is written there; None where the file's own wrap is the only one."""
    try:
        with beside(path).open("rb") as source:
            return source.read(MOST)
    except FileNotFoundError:
        return None


def wrap_line(keys: Keyring, data_key: bytes, head: bytes) -> bytes:
    """The line for `NAME.key`. `head` is the file's own first bytes: the line is of no use beside another file."""
    return _line(keys.name, keys.wrap(data_key).hex(), hashlib.sha256(head).hexdigest())


def name_in(line: bytes) -> str:
    """The name of the key that wrapped what the line holds. BadWrap if it isn't such a line."""
    found = _LINE.fullmatch(line)
    if not found:
        raise BadWrap("it isn't as it was written")
    return found["id"].decode()


def unwrap_line(keys: Keyring, line: bytes, head: bytes) -> bytes:
    """The data key in `line`. KeyUnknown, or BadWrap also where the line is of another file."""
    name = name_in(line)
    found = _LINE.fullmatch(line)
    assert found is not None
    if found["of"].decode() != hashlib.sha256(head).hexdigest():
        raise BadWrap("it is of another file, or that file's first lines were altered")
    return keys.unwrap(name, bytes.fromhex(found["key"].decode()))


def write_beside(path: Path, line: bytes) -> None:
    """Put the line beside the file: on disk and read back before it takes the place of an earlier one. OSError."""
    draft = beside(path).with_name(beside(path).name + _DRAFT)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(draft, flags, files.PRIVATE), "wb") as sink:
        sink.write(line)
        sink.flush()
        os.fsync(sink.fileno())
    if draft.read_bytes() != line:
        raise OSError(f"{draft.name} doesn't read back as it was written")
    draft.rename(beside(path))
    files.sync_directory(path.parent)


def _line(name: str, wrapped: str, of: str) -> bytes:
    values = {"cipher": CIPHER, "key": wrapped, "key_id": name, "of": of}
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"
