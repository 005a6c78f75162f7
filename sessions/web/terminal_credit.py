"""How much may be under way between a browser and its terminal: what was sent and not yet taken is bounded."""

from __future__ import annotations

import threading


class Credit:
    """Bytes that may still be sent before the other side says that it took some."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._is_over = False
        self._changed = threading.Condition()

    def take(self, count: int) -> bool:
        """Waits until something may be sent; then `count` more is under way, whole. False once it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._left > 0 or self._is_over)
            self._left -= count
            return not self._is_over

    def give(self, count: int) -> None:
        """The other side took so much. What it didn't get it can't have taken."""
        with self._changed:
            self._left = min(self._most, self._left + max(0, count))
            self._changed.notify_all()

    def end(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
