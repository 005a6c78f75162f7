"""Kept copies of files that were moved: encrypted from the first byte, for they are written while the session lives.

  BREAKGLASS-FILE 1
  <40 bytes: a data key for this file alone, wrapped by the house's key (RFC 3394)>
  frame 0 ... frame N     each: length (4 bytes), then AES-256-GCM over what was moved, in the order in which it was moved

A frame's nonce and authenticated data hold its number and whether it is the last, so that frames can't be cut off,
swapped or moved to another file. The last frame is empty: it says that the copy was ended in order. As with
recordings a newer wrap of the data key may stand beside the file (`keyring`).
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

from sessions.recording import files, keyring
from sessions.recording.keyring import WRAPPED, BadWrap, Keyring, KeyUnknown
from sessions.recording.sealed import RecordingDamaged

MAGIC: Final = b"BREAKGLASS-FILE 1\n"
HEAD: Final = len(MAGIC) + WRAPPED
MOST: Final = 512 * 1024
TAG: Final = 16
LEAST_FREE: Final = 64 * 1024 * 1024
LOOK_EACH: Final = 16 * 1024 * 1024


class KeptWriter:
    """One copy being written. What `write` has returned from is in the file; OSError where it can't be."""

    def __init__(self, path: Path, key: bytes | Keyring) -> None:
        """Create the file, which must not exist, and its private folder."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        data_key = os.urandom(32)
        self._cipher = AESGCM(data_key)
        self._number = 0
        self._unlooked = LOOK_EACH
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(path, flags, files.PRIVATE)
        try:
            self._put(MAGIC + keyring.ring(key).wrap(data_key))
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


def open_kept(path: Path, key: bytes | Keyring, sha256: str = "") -> Iterator[bytes]:
    """What was kept, piece by piece. The whole is checked before this returns, against `sha256` where it is given.

    RecordingDamaged unless each byte is as it was kept. A copy that a crash cut off is given as far as it goes.
    """
    return open_kept_source(path, path.open("rb"), keyring.read_beside(path), key, sha256)


def open_kept_source(
    path: Path, source: BinaryIO, newer_wrap: bytes | None, key: bytes | Keyring, sha256: str = ""
) -> Iterator[bytes]:
    """As `open_kept`, of a file that is open already; it is closed at the end, or where it doesn't hold."""
    keys = keyring.ring(key)
    try:
        check_kept_source(path, source, newer_wrap, keys, sha256)
    except BaseException:
        source.close()
        raise
    return _stream(path, source, newer_wrap, keys)


def check_kept_source(
    path: Path, source: BinaryIO, newer_wrap: bytes | None, key: bytes | Keyring, sha256: str = ""
) -> None:
    """RecordingDamaged unless each byte is as it was kept."""
    digest = hashlib.sha256()
    ended = False
    for piece in _pieces(path, source, newer_wrap, keyring.ring(key)):
        digest.update(piece)
        ended = not piece
    if ended and sha256 and digest.hexdigest() != sha256:
        raise RecordingDamaged(path, "kept file", "it isn't what was moved")


def _stream(path: Path, source: BinaryIO, newer_wrap: bytes | None, keys: Keyring) -> Iterator[bytes]:
    with source:
        for piece in _pieces(path, source, newer_wrap, keys):
            if piece:
                yield piece


def _data_key(path: Path, head: bytes, newer_wrap: bytes | None, keys: Keyring) -> bytes:
    if not head.startswith(MAGIC):
        raise RecordingDamaged(path, "kept file", "it doesn't begin as one")
    try:
        if newer_wrap is not None:
            try:
                return keyring.unwrap_line(keys, newer_wrap, head)
            except KeyUnknown:
                pass  # the file's own may be of a key that we have
        return keys.unwrap_any(head[len(MAGIC) :])[1]
    except BadWrap as error:
        raise RecordingDamaged(path, "kept file", str(error)) from None


def _pieces(path: Path, source: BinaryIO, newer_wrap: bytes | None, keys: Keyring) -> Iterator[bytes]:
    """Each frame's bytes; an empty one is the orderly end."""
    source.seek(0)
    cipher = AESGCM(_data_key(path, source.read(HEAD), newer_wrap, keys))
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
