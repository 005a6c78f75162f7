"""The few system calls that recordings are built on, each with the promise it is used for."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o600
_KEEP_SIZE: Final = 0x01
_UNSUPPORTED: Final = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_fallocate = None
if os.uname().sysname == "Linux":
    _libc = ctypes.CDLL(None, use_errno=True)
    _fallocate = getattr(_libc, "fallocate64", None) or getattr(_libc, "fallocate", None)
if _fallocate is not None:
    _fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong)


class RecordingBusy(Exception):
    """Another process (a live recorder, or one that seals) holds this recording."""


def create_for_append(path: Path, first: bytes) -> int:
    """A new private file with its first bytes on disk, held for this process alone from before it has its name.

    So who finds it finds it held and begun. It is an error if the name is taken.
    """
    draft = path.with_name(path.name + ".new")
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(draft, flags, PRIVATE)
    try:
        hold(descriptor, draft)
        if os.write(descriptor, first) != len(first):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
        if os.path.lexists(path):  # who makes the name has made the draft first: no race
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        draft.rename(path)
        sync_directory(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return descriptor


def hold(descriptor: int, path: Path) -> None:
    """Take the file for this process until it closes it or dies; RecordingBusy if another has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RecordingBusy(f"{path} is in use by another process") from error


def hold_room(descriptor: int, offset: int, length: int) -> bool:
    """Reserve disk blocks without changing the file's size. False where the file system can't; OSError if full."""
    if _fallocate is None:
        return False
    while _fallocate(descriptor, _KEEP_SIZE, offset, length) != 0:
        number = ctypes.get_errno()
        if number in _UNSUPPORTED:
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return True


def still_ours(descriptor: int, path: Path, size: int) -> bool:
    """Whether `path` still names this very file, and the file still ends where its one writer left it."""
    try:
        named = path.lstat()
    except FileNotFoundError:
        return False
    own = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino) and own.st_size == size


def sync_data(descriptor: int) -> None:
    """Bring a file's bytes to the disk."""
    getattr(os, "fdatasync", os.fsync)(descriptor)


def sync_directory(directory: Path) -> None:
    """Bring names made or removed in a directory to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
