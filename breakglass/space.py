"""Room on the disk: how much there is for recordings, and whether an error says that there is none."""

from __future__ import annotations

import errno
import os
from pathlib import Path

RECORDINGS = "recordings"
RESERVE = "reserve"
FULL_DISK = ("disk is full", "no space left on device")


def reserve_is_whole(folder: Path, least: int) -> bool:
    """Whether the house's reserve (sessions/recording/reserve.py) is held in the folder of recordings."""
    try:
        return (folder / RESERVE).lstat().st_size == least
    except OSError:
        return False


def shortage(folder: Path, least: int, free: int | None = None) -> str:
    """Why no session should begin: less than `least` bytes are free beside the reserve. Empty where there is room.

    OSError where the folder can't be looked at.
    """
    if free is None:
        disk = os.statvfs(folder)
        free = disk.f_bavail * disk.f_frsize
    needed = least if reserve_is_whole(folder, least) else 2 * least
    if free >= needed:
        return ""
    return f"only {free >> 20} MiB are free where recordings are kept, {needed >> 20} MiB are needed"


def is_full_disk(error: BaseException | None) -> bool:
    """Whether this error, of the system or of a database, comes of a disk without room."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(words in str(error).lower() for words in FULL_DISK):
            return True
        error = error.__cause__
    return False
