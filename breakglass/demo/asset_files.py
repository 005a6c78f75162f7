"""File transfer of a demo asset: sftp, and so scp, inside the asset's home folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import paramiko
from paramiko.sftp import SFTP_OK


class _OpenFile(paramiko.SFTPHandle):
    def stat(self) -> paramiko.SFTPAttributes:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))  # type: ignore[attr-defined]

    def chattr(self, attr: paramiko.SFTPAttributes) -> int:
        return _do(lambda: _change(self.readfile.name, attr))  # type: ignore[attr-defined]


class HomeFiles(paramiko.SFTPServerInterface):
    """Paths are relative to the home folder; nothing above it can be named."""

    def __init__(self, server: paramiko.ServerInterface, *args: object, **kwargs: object) -> None:
        super().__init__(server)
        self.home: Path = server.asset.home.resolve()  # type: ignore[attr-defined]

    def canonicalize(self, path: str) -> str:
        inside = path.removeprefix(str(self.home))
        return super().canonicalize(inside)

    def _real(self, path: str) -> Path:
        return self.home / self.canonicalize(path).lstrip("/")

    def list_folder(self, path: str) -> list[paramiko.SFTPAttributes] | int:
        try:
            return [
                paramiko.SFTPAttributes.from_stat(entry.stat(follow_symlinks=False), entry.name)
                for entry in os.scandir(self._real(path))
            ]
        except OSError as problem:
            return _code(problem)

    def stat(self, path: str) -> paramiko.SFTPAttributes | int:
        try:
            return paramiko.SFTPAttributes.from_stat(self._real(path).stat())
        except OSError as problem:
            return _code(problem)

    lstat = stat

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle | int:
        try:
            file = open(  # noqa: SIM115 - the handle closes it
                self._real(path), _mode(flags), buffering=0, opener=lambda name, _: _opened(name, flags, attr)
            )
        except OSError as problem:
            return _code(problem)
        handle = _OpenFile(flags)
        handle.readfile = handle.writefile = file  # type: ignore[attr-defined]
        return handle

    def remove(self, path: str) -> int:
        return _do(lambda: self._real(path).unlink())

    def rename(self, oldpath: str, newpath: str) -> int:
        return _do(lambda: self._real(oldpath).rename(self._real(newpath)))

    def mkdir(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        return _do(lambda: self._real(path).mkdir(mode=attr.st_mode or 0o700))

    def rmdir(self, path: str) -> int:
        return _do(lambda: self._real(path).rmdir())

    def chattr(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        return _do(lambda: _change(str(self._real(path)), attr))


class FileTransfer(paramiko.SFTPServer):
    """Stock, but it says at the end that all went well: scp counts silence as a failure."""

    def finish_subsystem(self) -> None:
        with contextlib.suppress(OSError, paramiko.SSHException):
            if self.sock is not None:
                self.sock.send_exit_status(0)
        super().finish_subsystem()


def _change(path: str, attr: paramiko.SFTPAttributes) -> None:
    # paramiko's own set_file_attr empties a file whose size it sets.
    if attr.st_mode is not None:
        os.chmod(path, attr.st_mode & 0o7777)
    if attr.st_atime is not None and attr.st_mtime is not None:
        os.utime(path, (attr.st_atime, attr.st_mtime))
    if attr.st_size is not None:
        os.truncate(path, attr.st_size)


def _mode(flags: int) -> str:
    if flags & os.O_RDWR:
        return "r+b"
    return "r+b" if flags & os.O_WRONLY else "rb"


def _opened(name: str, flags: int, attr: paramiko.SFTPAttributes) -> int:
    return os.open(name, (flags & ~os.O_APPEND) | os.O_CLOEXEC, attr.st_mode or 0o600)


def _do(act: Callable[[], object]) -> int:
    try:
        act()
    except OSError as problem:
        return _code(problem)
    return SFTP_OK


def _code(problem: OSError) -> int:
    return paramiko.SFTPServer.convert_errno(problem.errno or 0)
