"""The one thread that brings all recordings of a process to the disk, each of them once a second."""

from __future__ import annotations

import errno
import threading
import time
from typing import Final, Protocol

SYNC_SECONDS: Final = 1.0
BREATH: Final = 0.01


class Synced(Protocol):
    """What the thread does with a recorder."""

    def tick(self) -> None: ...

    def fail(self, cause: OSError) -> Exception: ...


class Syncer:
    """One thread for all recorders of the process; it sleeps while there is none."""

    def __init__(self) -> None:
        self._recorders: dict[Synced, None] = {}  # in order: each comes a second after its last time
        self._some = threading.Condition()
        self._pause = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, recorder: Synced) -> None:
        with self._some:
            self._recorders[recorder] = None
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="recording-sync", daemon=True)
                self._thread.start()
            self._some.notify()

    def remove(self, recorder: Synced) -> None:
        with self._some:
            self._recorders.pop(recorder, None)

    def _run(self) -> None:
        """Round after round, a few at a time: hundreds in a row would be felt at the keyboards of all the others."""
        while True:
            with self._some:
                self._some.wait_for(lambda: self._recorders)
                recorders = list(self._recorders)
            begun = time.monotonic()
            for number, recorder in enumerate(recorders, 1):
                self._tick(recorder)
                ahead = begun + SYNC_SECONDS * number / len(recorders) - time.monotonic()
                if ahead >= BREATH or number == len(recorders):
                    self._pause.wait(max(ahead, 0))

    @staticmethod
    def _tick(recorder: Synced) -> None:
        try:
            recorder.tick()
        except Exception as error:  # noqa: BLE001 - fails closed: what isn't synced must not go on
            recorder.fail(OSError(errno.EIO, f"the recording could not be synced: {error!r}"))


syncer = Syncer()
