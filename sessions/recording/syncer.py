"""The one thread that brings all recordings of a process to the disk, each second."""

from __future__ import annotations

import errno
import threading
from typing import Final, Protocol

SYNC_SECONDS: Final = 1.0


class Synced(Protocol):
    """What the thread does with a recorder."""

    def tick(self) -> None: ...

    def fail(self, cause: OSError) -> Exception: ...


class Syncer:
    """One thread for all recorders of the process; it sleeps while there is none."""

    def __init__(self) -> None:
        self._recorders: set[Synced] = set()
        self._some = threading.Condition()
        self._pause = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, recorder: Synced) -> None:
        with self._some:
            self._recorders.add(recorder)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="recording-sync", daemon=True)
                self._thread.start()
            self._some.notify()

    def remove(self, recorder: Synced) -> None:
        with self._some:
            self._recorders.discard(recorder)

    def _run(self) -> None:
        while True:
            with self._some:
                self._some.wait_for(lambda: self._recorders)
                recorders = list(self._recorders)
            for recorder in recorders:
                try:
                    recorder.tick()
                except Exception as error:  # noqa: BLE001 - fails closed: what isn't synced must not go on
                    recorder.fail(OSError(errno.EIO, f"the recording could not be synced: {error!r}"))
            self._pause.wait(SYNC_SECONDS)


syncer = Syncer()
