"""Kept copies of files that were moved: encrypted from the first byte, for they are written while the session lives.

  BREAKGLASS-FILE 1
  <40 bytes: a data key for this file alone, wrapped by the house's key (RFC 3394)>
  frame 0 ... frame N     each: length (4 bytes), then AES-256-GCM over what was moved, in the order in which it was moved

A frame's nonce and authenticated data hold its number and whether it is the last, so that frames can't be cut off,
swapped or moved to another file. The last frame is empty: it says that the copy was ended in order.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from sessions.recording import files
from sessions.recording.sealed import RecordingDamaged

MAGIC: Final = b"BREAKGLASS-FILE 1\n"
WRAPPED: Final = 40
MOST: Final = 512 * 1024
TAG: Final = 16
LEAST_FREE: Final = 64 * 1024 * 1024
LOOK_EACH: Final = 16 * 1024 * 1024


class KeptWriter:
    """One copy being written. What `write` has returned from is in the file; OSError where it can't be."""

    def __init__(self, path: Path, key: bytes) -> None:
        """Create the file, which must not exist, and its private folder."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        data_key = os.urandom(32)
        self._cipher = AESGCM(data_key)
        self._number = 0
        self._unlooked = LOOK_EACH
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(path, flags, files.PRIVATE)
        try:
            self._put(MAGIC + aes_key_wrap(key, data_key))
        except OSError:
            self._forget()
            raise

    def write(self, data: bytes | memoryview) -> None:
        """Keep the next bytes, at most 512 KiB at once."""
        self._unlooked += len(data)
        if self._unlooked >= LOOK_EACH:
            self._unlooked = 0
            disk = os.fstatvfs(self._fd)
            if disk.f_bavail * disk.f_frsize < LEAST_FREE:
                raise OSError(errno.ENOSPC, "too little is free to keep copies")
        self._put(self._frame(data, last=False))

    def close(self) -> None:
        """End the copy. A second call changes nothing."""
        if self._fd < 0:
            return
        try:
            self._put(self._frame(b"", last=True))
            os.fsync(self._fd)
        finally:
            self._forget()

    def _frame(self, data: bytes | memoryview, *, last: bool) -> bytes:
        nonce = struct.pack(">7xI?", self._number, last)
        self._number += 1
        sealed = self._cipher.encrypt(nonce, data, MAGIC + nonce)
        return struct.pack(">I", len(sealed)) + sealed

    def _put(self, data: bytes) -> None:
        if os.write(self._fd, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _forget(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._fd)
        self._fd = -1


def open_kept(path: Path, key: bytes, sha256: str = "") -> Iterator[bytes]:
    """What was kept, piece by piece. The whole is checked before this returns, against `sha256` where it is given.

    RecordingDamaged unless each byte is as it was kept. A copy that a crash cut off is given as far as it goes.
    """
    digest = hashlib.sha256()
    ended = False
    with path.open("rb") as source:
        for piece in _pieces(path, source, key):
            digest.update(piece)
            ended = not piece
    if ended and sha256 and digest.hexdigest() != sha256:
        raise RecordingDamaged(path, "kept file", "it isn't what was moved")
    return _stream(path, key)


def _stream(path: Path, key: bytes) -> Iterator[bytes]:
    with path.open("rb") as source:
        for piece in _pieces(path, source, key):
            if piece:
                yield piece


def _pieces(path: Path, source: BinaryIO, key: bytes) -> Iterator[bytes]:
    """Each frame's bytes; an empty one is the orderly end."""
    if source.read(len(MAGIC)) != MAGIC:
        raise RecordingDamaged(path, "kept file", "it doesn't begin as one")
    try:
        cipher = AESGCM(aes_key_unwrap(key, source.read(WRAPPED)))
    except (InvalidUnwrap, ValueError):
        raise RecordingDamaged(path, "kept file", "its key can't be unwrapped") from None
    number = 0
    while len(head := source.read(4)) == 4:
        (size,) = struct.unpack(">I", head)
        if not TAG <= size <= MOST + TAG:
            raise RecordingDamaged(path, f"kept file, frame {number}", "its length is out of bounds")
        sealed = source.read(size)
        if len(sealed) < size:
            return  # torn by a crash
        nonce = struct.pack(">7xI?", number, size == TAG)
        try:
            yield cipher.decrypt(nonce, sealed, MAGIC + nonce)
        except InvalidTag:
            raise RecordingDamaged(path, f"kept file, frame {number}", "it was changed") from None
        if size == TAG:
            if source.read(1):
                raise RecordingDamaged(path, "kept file", "it goes on after its end")
            return
        number += 1
