"""How many bytes of files a session has moved, over all of its channels."""

from __future__ import annotations

import threading

from sessions.models import FileOperation

Direction = FileOperation.Direction


class Moved:
    """One a session. Bytes are counted before they are passed on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = {Direction.UP: 0, Direction.DOWN: 0}

    def take(self, direction: Direction, count: int, limit: int | None) -> bool:
        """Count `count` more bytes, or False (and nothing counted) where that would go over `limit`."""
        with self._lock:
            after = self._count[direction] + count
            if limit is not None and after > limit:
                return False
            self._count[direction] = after
            return True
