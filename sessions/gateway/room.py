"""Room for recordings: what a gateway process does when the disk is full.

Output that can't be recorded isn't relayed: its session freezes, and the asset waits, until there is room again or the
patience is over. The reserve is given back at once, so that ends, books and seals have room; administrators are told
once. Recordings go on when the reserve could be made whole again: then there is room for both.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from django.conf import settings

from breakglass import clock
from breakglass.domain.audit import AuditTag
from sessions.recording.store import Store

if TYPE_CHECKING:
    from sessions.gateway.books import Bookkeeper
    from sessions.gateway.recorded import Recorded
    from sessions.recording.recorder import NoRoom

FULL_DISK = "full disk"
WHY = "because the disk for recordings is full"
REST = "What you send is held, and so is what the asset sends. It goes on when there is room, or ends in {seconds} s."
LOOK_EVERY = 0.5
LOOK_WHEN_WELL = 10.0
ALARM_EVERY = 600.0

log = logging.getLogger("breakglass.gateway")


class Room:
    """One a process. No thread of the relay waits for a database here."""

    def __init__(self, store: Store, clerk: Bookkeeper) -> None:
        self.patience = float(settings.BREAKGLASS.disk_full_patience)
        self._store = store
        self._reserve = store.reserve
        self._clerk = clerk
        self._is_there = True
        self._alarmed = -ALARM_EVERY
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="room", daemon=True)

    def start(self) -> None:
        self._store.prepare()
        if not self._reserve.make() and not self._reserve.is_whole:
            log.error("there is no room for the reserve beside the recordings; no session will be opened")
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(2)

    def wait(self, session: Recorded, full: NoRoom) -> None:
        """For a thread of the relay that found the disk full: freezes the session and returns once recordings may take
        room again. SessionOver when the session ended meanwhile, which this does when it takes too long."""
        self.lost()
        now = clock.monotonic()
        if session.no_room_since is None:
            session.no_room_since = now
        until = session.no_room_since + self.patience
        session.freeze(FULL_DISK, WHY, REST.format(seconds=round(self.patience)))
        while now < until and not self._is_there and not session.ended.wait(LOOK_EVERY):
            now = clock.monotonic()
        if now >= until:
            session.give_up_recording(full.cause)
        session.go_on(typed=False)

    def found(self, session: Recorded) -> None:
        """What waited is recorded."""
        session.no_room_since = None
        session.unfreeze(FULL_DISK)

    def lost(self) -> None:
        """Something found the disk full: the reserve is given back."""
        tell = False
        with self._lock:
            self._is_there = False
            released = self._reserve.release()
            if released:
                log.error("the disk of the recordings is full: the reserve is given back, sessions wait")
                now = clock.monotonic()
                tell = now - self._alarmed >= ALARM_EVERY
                self._alarmed = now if tell else self._alarmed
            self._wake.set()
        if released:  # outside of the lock: where the journal finds no room either, it comes back here
            self._note(AuditTag.DISK_FULL, tell=tell)

    def look(self) -> None:
        """Make the reserve again as soon as the disk allows; then recordings go on."""
        if self._reserve.make():
            log.warning("there is room for recordings again")
            self._note(AuditTag.DISK_BACK, tell=False)
        with self._lock:
            self._is_there = self._is_there or self._reserve.is_whole

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            self.look()
            self._wake.wait(LOOK_WHEN_WELL if self._is_there and self._reserve.is_whole else LOOK_EVERY)

    def _note(self, tag: AuditTag, *, tell: bool) -> None:
        data = {"free": self._store.free_bytes(), "reserve": self._store.least_free}
        self._clerk.disk(tag, data, tell=tell)
