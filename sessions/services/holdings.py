"""The files of one recording, wherever they are: the sealed file, the kept copies of what was moved, newer key wraps.

Names are those below the recordings' folder, the same on the disk and in the object store.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from django.conf import settings

from sessions.models import Recording
from sessions.recording import files, keyring
from sessions.recording.store import KEPT, Store
from sessions.services.remote import Remote, StoreAway, remote_store


def store() -> Store:
    """Where this installation keeps its recordings."""
    config = settings.BREAKGLASS
    return Store(config.data_dir, least_free=config.disk_reserve_mib << 20)


@dataclass(frozen=True)
class Opened:
    """A file of a recording, open for reading. `newer_wrap` is what stands beside it (`sessions.recording.keyring`)."""

    path: Path
    source: BinaryIO
    newer_wrap: bytes | None


@dataclass(frozen=True)
class Piece:
    """One file as it was stored."""

    name: str
    size: int
    sha256: str


def name_of(path: Path) -> str:
    return path.relative_to(store().root).as_posix()


def local_files(session_id: UUID) -> list[Path]:
    """The sealed file and the kept copies that are on the disk."""
    place = store()
    sealed = place.sealed_path(session_id)
    kept = sorted(place.kept_folder(session_id).glob(f"*{KEPT}"))
    return [path for path in (sealed, *kept) if path.is_file() and not path.is_symlink()]


def on_disk() -> list[UUID]:
    """The sessions of which a sealed file or a folder of kept copies is on the disk."""
    place = store()
    found = {session_id for session_id, _ in place.sealed_recordings()}
    return sorted(found | set(place.kept_folders()))


def remote_names(session_id: UUID, remote: Remote) -> list[str]:
    """The same in the object store, whatever is there of it. StoreAway."""
    place = store()
    sealed = name_of(place.sealed_path(session_id))
    kept = remote.names_below(name_of(place.kept_folder(session_id)))
    found = [name for name in kept if name.endswith(KEPT)]
    return ([sealed] if remote.size(sealed) is not None else []) + sorted(found)


def describe(path: Path) -> Piece:
    """A file on the disk, read to its end. OSError."""
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
        return Piece(name_of(path), source.tell(), digest)


def together(pieces: Sequence[Piece]) -> str:
    """One digest for several files: SHA-256 of their names, sizes and SHA-256, a line each, in the order of names."""
    lines = [f"{one.name} {one.size} {one.sha256}\n" for one in sorted(pieces, key=lambda one: one.name)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def open_file(recording: Recording, path: Path) -> Opened:
    """The file from the disk, or from the object store once the disk has it no more.

    FileNotFoundError (ObjectMissing of the store, too) where it is nowhere; StoreAway; OSError.
    """
    # The wrap first: where the file is still there after it, nobody had removed the wrap before.
    wrap = keyring.read_beside(path)
    try:
        return Opened(path, path.open("rb"), wrap)
    except FileNotFoundError:
        # The row may be older than the file's way to the store.
        if not Recording.objects.filter(pk=recording.pk, stored_at__isnull=False).exists():
            raise
    remote = remote_store()
    if remote is None:
        raise StoreAway("it is in an object store that BREAKGLASS_STORAGE_URL doesn't name any more")
    name = name_of(path)
    wrap = remote.small(name + keyring.ENDING)
    return Opened(path, fetch(remote, name), wrap)


def fetch(remote: Remote, name: str) -> BinaryIO:
    """A private copy without a name, encrypted as it is there; gone when it is closed. ObjectMissing, StoreAway, OSError."""
    folder = store().root / "fetched"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_to_fill(remote.size(name) or 0)
    copy: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - handed on
    try:
        remote.fetch(name, copy)
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy


def _refuse_to_fill(size: int) -> None:
    """Live sessions need the room more."""
    place = store()
    if place.free_bytes() < size + place.least_free:
        raise StoreAway(f"too little is free where recordings are kept to fetch {size >> 20} MiB")


def remove_local(session_id: UUID) -> int:
    """Remove what is on the disk, the sealed file last. Idempotent; how many files went. OSError."""
    paths = local_files(session_id)
    place = store()
    sealed, folder = place.sealed_path(session_id), place.kept_folder(session_id)
    for path in reversed(paths):
        path.unlink(missing_ok=True)
    for wrap in (*folder.glob(f"*{keyring.ENDING}"), keyring.beside(sealed)):
        wrap.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        files.sync_directory(folder.parent)
    if paths:
        files.sync_directory(sealed.parent)
    return len(paths)


def remove_remote(session_id: UUID, remote: Remote) -> int:
    """Remove what is in the object store, and look that it is gone. Idempotent; how many files went. StoreAway."""
    names = remote_names(session_id, remote)
    place = store()
    wraps = [name_of(place.sealed_path(session_id)) + keyring.ENDING]
    wraps += remote.names_below(name_of(place.kept_folder(session_id)))
    for name in [*reversed(names), *wraps]:
        remote.delete(name)
    left = remote_names(session_id, remote)
    if left:
        raise StoreAway(f"{left[0]} is still there after it was deleted")
    return len(names)


@contextmanager
def alone(*, wait: bool = False) -> Iterator[bool]:
    """Whether this process is the only one here that moves, deletes or re-keys recordings, while it does."""
    root = store().root
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(
        root / "moving.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, files.PRIVATE
    )
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
