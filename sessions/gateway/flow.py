"""What may come and what came: the window credit of a side, and the count and digest of a direction."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass

from paramiko.ssh_exception import SSHException

WINDOW = 2 * 1024 * 1024


class Credit:
    """What one side may still send us. It is an overrun, and the end of the connection, to send more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outstanding = 0
        self._owed = 0
        self._is_paused = False

    def open(self, window: int) -> int:
        """The first window to announce: at most 2 MiB of what the other side takes; the rest follows later."""
        with self._lock:
            self._owed = window
            return self._top_up()

    def adopt(self, outstanding: int, window: int) -> int:
        """As `open`, where the side may send `outstanding` already. Returns how much more to announce."""
        with self._lock:
            self._outstanding, self._owed = outstanding, window - outstanding
            return self._top_up()

    def grant(self, count: int) -> int:
        """The other side takes `count` more. Returns how much to announce now."""
        with self._lock:
            self._owed += count
            return self._top_up() if self._outstanding <= WINDOW * 3 // 4 else 0

    def spend(self, count: int) -> int:
        """`count` bytes arrived. Returns how much to announce now."""
        with self._lock:
            if count > self._outstanding:
                raise SSHException("more data than the window allows")
            self._outstanding -= count
            return self._top_up() if self._owed and self._outstanding <= WINDOW * 3 // 4 else 0

    def pause(self) -> None:
        """Nothing more is announced: what the side may send already is all that it may send."""
        with self._lock:
            self._is_paused = True

    def resume(self) -> int:
        """The end of a pause. Returns how much to announce now."""
        with self._lock:
            self._is_paused = False
            return self._top_up()

    def _top_up(self) -> int:
        given = 0 if self._is_paused else max(0, min(self._owed, WINDOW - self._outstanding))
        self._owed -= given
        self._outstanding += given
        return given


@dataclass
class Traffic:
    """What went through one direction of a channel."""

    count: int = 0

    def __post_init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, data: bytes | memoryview) -> None:
        self.count += len(data)
        self._hash.update(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest() if self.count else ""
