"""The house's reserve: room beside the recordings that is given back when the disk is full.

Nobody writes into it. While the disk is full its room is there for what must still be written: the orderly ends of
recordings and sessions, the books, the seals. Recordings go on only once it could be made again, so they don't eat it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sessions.recording import files

LEAST_BESIDE: Final = 4 * 1024 * 1024
"""Room for at least a few recordings to go on, so that a small reserve isn't made only to be given back at once."""


class Reserve:
    """One file for all processes of the house. Every method may be called by any of them at any time."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    @property
    def is_whole(self) -> bool:
        """Whether the room is held."""
        try:
            found = self._path.lstat()
        except OSError:
            return False
        return found.st_size == self._size

    def make(self) -> bool:
        """Hold the room, where the disk has half as much again, and 4 MiB at least. True for the one call that made it;
        OSError never."""
        if self.is_whole:
            return False
        with self._held(os.O_CREAT) as descriptor:
            if descriptor is None or os.fstat(descriptor).st_size == self._size:
                return False
            os.ftruncate(descriptor, 0)  # of another size, or begun and not ended
            disk = os.fstatvfs(descriptor)
            if disk.f_bavail * disk.f_frsize < self._size + max(self._size // 2, LEAST_BESIDE):
                return False
            try:
                os.posix_fallocate(descriptor, 0, self._size)
            except OSError:
                os.ftruncate(descriptor, 0)
                return False
            return True

    def release(self) -> bool:
        """Give the room back. True for the one call that did it; OSError never."""
        with self._held(0) as descriptor:
            if descriptor is None or os.fstat(descriptor).st_size == 0:
                return False
            os.ftruncate(descriptor, 0)
            return True

    @contextlib.contextmanager
    def _held(self, flags: int) -> Iterator[int | None]:
        """The file, for this call alone; None where it can't be opened."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, files.PRIVATE)
        except OSError:
            yield None
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)
