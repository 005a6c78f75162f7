"""The stated duration of a grant, as an end that no clock can be set to move.

A grant of thirty minutes isn't used for longer than thirty minutes after this process first saw it, whatever the wall
clock said when its end was written down, or says now.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import UUID

from breakglass import clock

KEPT = 24 * 3600.0
MANY = 10_000


class Terms:
    """When this process first saw each grant, on the clock that nobody can set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first_seen: dict[UUID, float] = {}

    def last_moment(self, grant_id: UUID, lasts: timedelta | None) -> float:
        """After this `clock.monotonic()` the grant is over. What was made longer lasts longer; unknown ends now."""
        now = clock.monotonic()
        with self._lock:
            if grant_id not in self._first_seen and len(self._first_seen) >= MANY:
                self._first_seen = {one: at for one, at in self._first_seen.items() if now - at < KEPT}
            first = self._first_seen.setdefault(grant_id, now)
        return first + (lasts.total_seconds() if lasts is not None else 0.0)
