"""A disk that takes recordings and doesn't bring them home: writes return, syncing hangs, and nobody would notice.

One thread brings all recordings of a process to the disk; where one hangs, the others wait behind it. A session whose
recording has been behind for ten times the second that is promised freezes, its output too; if the disk doesn't catch up
within the patience that a full one has, it ends.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sessions.gateway.live import LiveSession

SLOW_DISK = "slow disk"
LATE = 10.0
WHY = "because the disk for recordings doesn't keep up"
REST = "What you send is held, and so is what the asset sends. It goes on when the disk does, or ends in {seconds} s."

log = logging.getLogger("breakglass.gateway")


def look_after(session: LiveSession, herald: Callable[..., object]) -> None:
    """By the watchdog, once a second. Never waits: the log may be on that very disk, so `herald` calls it elsewhere."""
    behind = session.recording_behind
    if behind < LATE:
        if session.is_held_back:
            session.is_held_back = False
            session.unfreeze(SLOW_DISK)
    elif behind >= LATE + session.room.patience:
        session.give_up_recording(OSError(errno.ETIMEDOUT, f"the disk has taken nothing for {behind:.0f} s"))
    elif not session.is_held_back:
        session.is_held_back = True
        herald(log.error, "recording of %s is %.0f s behind: the session waits", session.facts.label, behind)
        session.freeze(SLOW_DISK, WHY, REST.format(seconds=round(session.room.patience)))
