"""Where recordings live: open/ while the session does, sealed/ after. Names come from session ids alone."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from breakglass.space import RECORDINGS, RESERVE, shortage
from sessions.recording import files
from sessions.recording.recorder import RecordingFailed
from sessions.recording.reserve import Reserve

PLAIN: Final = ".cast"
SEALED: Final = ".cast.sealed"
KEPT: Final = ".kept"
LEAST_FREE: Final = 64 * 1024 * 1024
_PRIVATE_DIRECTORY: Final = 0o700


@dataclass(frozen=True)
class OpenRecording:
    """A plain recording that is not sealed yet; `live` while a recorder (or a sealer) holds it."""

    session_id: UUID
    path: Path
    live: bool


class Store:
    """The recordings of one house. Every folder is 0700 and every file 0600."""

    def __init__(self, data_dir: Path, *, least_free: int = LEAST_FREE) -> None:
        """`data_dir` is the house's; recordings live in its folder of that name. `least_free` bytes must be free beside
        the reserve, which is as large, for a session to begin."""
        self.root = data_dir / RECORDINGS
        self.least_free = least_free
        self.reserve = Reserve(self.root / RESERVE, least_free)

    def prepare(self) -> None:
        """Make the folders, private to us; also where somebody opened them up."""
        for folder in (self.root, self.root / "open", self.root / "sealed", self.root / "kept"):
            folder.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            folder.chmod(_PRIVATE_DIRECTORY)

    def open_path(self, session_id: UUID) -> Path:
        """Where a live session is recorded."""
        return self.root / "open" / f"{_checked(session_id)}{PLAIN}"

    def sealed_path(self, session_id: UUID) -> Path:
        """Where its sealed recording is kept."""
        return self.root / "sealed" / f"{_checked(session_id)}{SEALED}"

    def kept_path(self, session_id: UUID, channel: int, number: int) -> Path:
        """Where the copy of what a file operation moved is kept."""
        return self.kept_folder(session_id) / f"{channel:d}-{number:d}{KEPT}"

    def kept_folder(self, session_id: UUID) -> Path:
        """Where all copies of a session are kept."""
        return self.root / "kept" / str(_checked(session_id))

    def free_bytes(self) -> int:
        """What we may still write to the disk that holds the recordings."""
        disk = os.statvfs(self.root)
        return disk.f_bavail * disk.f_frsize

    def check_space(self) -> None:
        """RecordingFailed (`no_space`) if so little is free that a new session must be refused."""
        try:
            free = self.free_bytes()
        except OSError as error:
            raise RecordingFailed(self.root, error) from error
        what = shortage(self.root, self.least_free, free)
        if what:
            raise RecordingFailed(self.root, OSError(errno.ENOSPC, what))

    def open_recordings(self) -> Iterator[OpenRecording]:
        """The recordings not sealed yet; those not `live` are to be recovered and sealed."""
        for path in sorted((self.root / "open").glob(f"*{PLAIN}")):
            session_id = _session_of(path, PLAIN)
            live = _is_held(path) if session_id else None
            if session_id and live is not None:
                yield OpenRecording(session_id, path, live)

    def sealed_recordings(self) -> Iterator[tuple[UUID, Path]]:
        """The sealed recordings there are on the disk."""
        for path in sorted((self.root / "sealed").glob(f"*{SEALED}")):
            session_id = _session_of(path, SEALED)
            if session_id:
                yield session_id, path

    def kept_folders(self) -> Iterator[UUID]:
        """The sessions of which copies are kept on the disk."""
        for path in sorted((self.root / "kept").glob("*-*-*-*-*")):
            session_id = _session_of(path, "")
            if session_id:
                yield session_id


def _checked(session_id: UUID) -> UUID:
    """A path is made of a UUID and nothing else, whatever a caller believes it holds."""
    return session_id if isinstance(session_id, UUID) else UUID(session_id)


def _session_of(path: Path, ending: str) -> UUID | None:
    """The session that a file belongs to; None if the file isn't ours."""
    try:
        return None if path.is_symlink() else UUID(path.name.removesuffix(ending))
    except ValueError:
        return None


def _is_held(path: Path) -> bool | None:
    """Whether a process holds the file; None if it just went away."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        files.hold(descriptor, path)
    except files.RecordingBusy:
        return True
    finally:
        os.close(descriptor)
    return False
