"""The marks of a gateway process: how far each recording has come goes into the audit trail while the session lives.

One row for all that grew, every 5 s; a new recording within 1 s. What doesn't grow adds nothing. The clerk writes them:
while the database is away they are in the journal.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from uuid import UUID

from breakglass import clock
from sessions.gateway.live import LiveSession
from sessions.services.marks import Marked

LOOK_EVERY = 1.0
MARK_EVERY = 5.0

log = logging.getLogger("breakglass.gateway")


class Marks:
    """One thread a process. `mark` has marks written down, `living` gives the sessions of the moment."""

    def __init__(self, mark: Callable[[list[Marked]], None], living: Callable[[], list[LiveSession]]) -> None:
        self._mark = mark
        self._living = living
        self._said: dict[UUID, int] = {}
        self._marked_at = clock.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="marks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(2)

    def look(self, now: float) -> int:
        """Mark what is due. Returns how many recordings that were."""
        everything = now - self._marked_at >= MARK_EVERY
        due: dict[UUID, Marked] = {}
        sessions = {session.facts.session_id: session for session in self._living()}
        for session_id, session in sessions.items():
            said = self._said.get(session_id)
            if said is None or everything:
                reached = session.recorded
                if reached.size != said:
                    label = session.facts.label
                    due[session_id] = Marked(label, reached.size, reached.sha256, reached.segments)
        if due:
            self._mark(list(due.values()))
        if everything:
            self._marked_at = now
        self._said = {key: size for key, size in self._said.items() if key in sessions}
        self._said.update((key, mark.bytes) for key, mark in due.items())
        return len(due)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            self.look(clock.monotonic())
