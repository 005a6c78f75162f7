"""The only reader of the clocks. Everything below the edge is handed `now`."""

from __future__ import annotations

import time
from datetime import UTC, datetime

_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)
_LONGEST_LOOK = 0.005


def now() -> datetime:
    """The time of day: aware, UTC. What the wall clock says, but never behind what it said when this process began
    plus the time since: who sets it back gains nothing. Set forward it counts at once."""
    return datetime.fromtimestamp(max(time.time(), _began_apart + monotonic()), UTC)


def wall() -> float:
    """The wall clock as it is set, in seconds since 1970: for the check before each byte, beside `monotonic`."""
    return time.time()


def monotonic() -> float:
    """Seconds on a clock that nobody can set back.

    Where the platform has CLOCK_BOOTTIME it counts suspended time too: a grant doesn't pause
    because the machine slept.
    """
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


def apart() -> float:
    """Seconds from `monotonic` to `wall`. On Linux both are slewed alike: it changes when somebody sets the wall clock."""
    for _ in range(100):
        before, wall_clock, after = monotonic(), time.time(), monotonic()
        if after - before <= _LONGEST_LOOK:  # else this process was stopped between the two
            break
    return wall_clock - after


_began_apart = apart()
