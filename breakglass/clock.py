"""The only reader of the clocks. Everything below the edge is handed `now`."""

from __future__ import annotations

import time
from datetime import UTC, datetime

_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def now() -> datetime:
    """The wall clock: aware, UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that nobody can set back.

    Where the platform has CLOCK_BOOTTIME it counts suspended time too: a grant doesn't pause
    because the machine slept.
    """
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)
