"""Sealing: from the plain file of a session that ended to one compressed, encrypted, signed file that proves itself.

At every moment either the plain file or a whole, verified sealed file exists; `seal()` can be called again after any
crash and finishes what was begun. Nothing is deleted on a failure.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sessions.recording import asciicast, files, keyring
from sessions.recording.keyring import Keyring
from sessions.recording.recovery import Recovery, recover
from sessions.recording.sealed import (
    CHUNK,
    MAGIC,
    Manifest,
    RecordingDamaged,
    SealedFile,
    canonical,
    prologue,
    seal_frame,
    signer_name,
    trailer,
)

__all__ = [
    "Manifest",
    "RecordingDamaged",
    "Recovery",
    "open_sealed",
    "open_source",
    "recover",
    "seal",
    "verify",
    "verify_source",
]


DRAFT = ".draft"


def seal(
    plain_path: Path,
    out_path: Path,
    key: bytes | Keyring,
    signing_key: Ed25519PrivateKey,
    facts: Mapping[str, Any],
    *,
    expected_sha256: str | None = None,
) -> Manifest:
    """Seal an ended recording and remove the plain file once the sealed one is on disk and was read back.

    Idempotent. RecordingDamaged (nothing removed) if the plain file has a torn end (`recover()` it first), isn't
    what the recorder wrote (`expected_sha256`), or differs from what is already sealed. RecordingBusy while the
    session still writes. FileNotFoundError if there is neither.
    """
    public = signing_key.public_key()
    with _plain_file(plain_path) as plain:
        if out_path.exists():
            return _finish(plain_path, plain, out_path, key, public)
        if plain is None:
            raise FileNotFoundError(plain_path)
        _check_last_line(plain_path, plain)
        draft = out_path.with_name(out_path.name + DRAFT)
        try:
            manifest = _write_draft(plain, draft, key, signing_key, facts)
            if expected_sha256 not in (None, manifest.sha256):
                raise RecordingDamaged(plain_path, "plain file", "it isn't what the recorder wrote")
            verify(draft, key, public, manifest=manifest)
        except BaseException:
            draft.unlink(missing_ok=True)  # it may be what fills the disk
            raise
        os.rename(draft, out_path)
        files.sync_directory(out_path.parent)
        _discard(plain_path)
        return manifest


def verify(
    path: Path, key: bytes | Keyring, signer: Ed25519PublicKey, *, manifest: Manifest | None = None
) -> Manifest:
    """Check every byte of a sealed recording, in bounded memory; RecordingDamaged names the first damaged part.

    With `manifest` (as the database remembers it) also that this is the very recording that was sealed then.
    """
    with path.open("rb") as source:
        return verify_source(path, source, keyring.read_beside(path), key, signer, manifest=manifest)


def verify_source(
    path: Path,
    source: BinaryIO,
    newer_wrap: bytes | None,
    key: bytes | Keyring,
    signer: Ed25519PublicKey,
    *,
    manifest: Manifest | None = None,
) -> Manifest:
    """As `verify`, of a file that is open already, wherever it came from; `path` is its name in messages."""
    sealed = _open(path, source, newer_wrap, key, signer, manifest)
    sealed.check()
    return sealed.manifest


def open_sealed(
    path: Path, key: bytes | Keyring, signer: Ed25519PublicKey, *, manifest: Manifest | None = None
) -> Iterator[bytes]:
    """The plain recording, piece by piece. The whole is verified before this returns, and each piece once more."""
    return open_source(path, path.open("rb"), keyring.read_beside(path), key, signer, manifest=manifest)


def open_source(
    path: Path,
    source: BinaryIO,
    newer_wrap: bytes | None,
    key: bytes | Keyring,
    signer: Ed25519PublicKey,
    *,
    manifest: Manifest | None = None,
) -> Iterator[bytes]:
    """As `open_sealed`, of a file that is open already; it is closed at the end, or where it doesn't hold."""
    try:
        sealed = _open(path, source, newer_wrap, key, signer, manifest)
        sealed.check()
    except BaseException:
        source.close()
        raise
    return _stream(source, sealed)


def open_parts(
    path: Path,
    source: BinaryIO,
    newer_wrap: bytes | None,
    key: bytes | Keyring,
    signer: Ed25519PublicKey,
    manifest: Manifest,
) -> SealedFile:
    """The same for reading here and there: each chunk is checked when it is read. The caller closes it, but not where
    this raises."""
    try:
        return _open(path, source, newer_wrap, key, signer, manifest)
    except BaseException:
        source.close()
        raise


def _stream(source: BinaryIO, sealed: SealedFile) -> Iterator[bytes]:
    with source:
        yield from sealed.chunks()


def _open(
    path: Path,
    source: BinaryIO,
    newer_wrap: bytes | None,
    key: bytes | Keyring,
    signer: Ed25519PublicKey,
    manifest: Manifest | None,
) -> SealedFile:
    sealed = SealedFile(path, source, key, signer, newer_wrap)
    if manifest is not None and manifest != sealed.manifest:
        raise RecordingDamaged(path, "manifest", "it isn't the one on record for this recording")
    return sealed


@contextmanager
def _plain_file(path: Path) -> Iterator[BinaryIO | None]:
    """The plain file, held for us alone; None if it is gone (another process may just have sealed it)."""
    try:
        source = path.open("rb")
    except FileNotFoundError:
        yield None
        return
    with source:
        files.hold(source.fileno(), path)
        yield source if os.fstat(source.fileno()).st_nlink else None


def _check_last_line(path: Path, plain: BinaryIO) -> None:
    if plain.seek(0, os.SEEK_END):
        plain.seek(-1, os.SEEK_END)
        if plain.read(1) != b"\n":
            raise RecordingDamaged(path, "last line", "it is torn; recover the recording first")
    plain.seek(0)


def _write_draft(
    plain: BinaryIO,
    draft: Path,
    key: bytes | Keyring,
    signing_key: Ed25519PrivateKey,
    facts: Mapping[str, Any],
) -> Manifest:
    data_key = os.urandom(32)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(draft, flags, files.PRIVATE), "wb") as sink:
        sink.write(MAGIC + prologue(key, data_key))
        tally = _Tally()
        number, chunk = 0, plain.read(CHUNK)
        while True:
            following = plain.read(CHUNK)
            frame = seal_frame(data_key, number, not following, chunk)
            tally.add(chunk, frame)
            sink.write(frame)
            if not following:
                break
            number, chunk = number + 1, following
        manifest = tally.manifest(facts, signer_name(signing_key.public_key())).signed(signing_key)
        sink.write(manifest.line() + trailer(manifest.line()))
        sink.flush()
        os.fsync(sink.fileno())
        _drop_from_cache(sink.fileno())
    return manifest


class _Tally:
    """What the manifest says, gathered while the chunks go by."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()
        self._size = self._lines = 0
        self._chunks: list[str] = []
        self._frames: list[int] = []
        self._tail = b""

    def add(self, chunk: bytes, frame: bytes) -> None:
        self._whole.update(chunk)
        self._size += len(chunk)
        self._lines += chunk.count(b"\n")
        self._chunks.append(hashlib.sha256(chunk).hexdigest())
        self._frames.append(len(frame) - 4)
        self._tail = (self._tail + chunk)[-CHUNK:]

    def manifest(self, facts: Mapping[str, Any], signer: str) -> Manifest:
        last = asciicast.parse_event(self._tail[self._tail.rfind(b"\n", 0, -1) + 1 :])
        return Manifest(
            sha256=self._whole.hexdigest(),
            size=self._size,
            events=max(self._lines - 1, 0),
            duration_us=round(last.time * 1_000_000) if last else 0,
            ended=last.data if last and last.code == asciicast.END else "torn",
            chunks=tuple(self._chunks),
            frames=tuple(self._frames),
            facts=json.loads(canonical(dict(facts))),
            signer=signer,
        )


def _finish(
    plain_path: Path, plain: BinaryIO | None, out_path: Path, key: bytes | Keyring, signer: Ed25519PublicKey
) -> Manifest:
    """The sealed file is in place already: check it, and remove the plain one if that holds the same."""
    manifest = verify(out_path, key, signer)
    if plain is not None:
        if _sha256(plain) != manifest.sha256:
            raise RecordingDamaged(plain_path, "plain file", "it differs from the sealed one; both were kept")
        files.sync_directory(out_path.parent)
        _discard(plain_path)
    return manifest


def _sha256(source: BinaryIO) -> str:
    digest = hashlib.sha256()
    while piece := source.read(CHUNK):
        digest.update(piece)
    return digest.hexdigest()


def _discard(plain_path: Path) -> None:
    plain_path.unlink()
    files.sync_directory(plain_path.parent)


def _drop_from_cache(descriptor: int) -> None:
    """So that reading back reads the disk."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
