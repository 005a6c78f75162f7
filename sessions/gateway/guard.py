"""The guard: a process outside the gateway that ends those of its processes that stand still.

It knows nothing but their heartbeats: no database, no Django, no connection of anybody. A process that gave no sign of
life for 5 s (stopped, stuck, its watchdog dead) is killed through its pidfd, never by a number that may be another's by
now; the kernel closes its sockets. Silence is judged by the guard's own patience: where it was itself stopped, or the
machine slept, everybody gets 2 s to show that they live.

It runs in a session of its own, so that what stops the gateway's group doesn't stop it, and ends when the gateway does.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import select
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from breakglass import clock
from sessions.gateway.heartbeat import Heartbeat, Page, born

STALE = 5.0
LOOK_EVERY = 0.2
STOOD_STILL = 1.0
GRACE = 2.0
LOOK_AFTER_IT = 1.0
WORDS_WITHIN = 0.5
SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
ROOT = Path(__file__).resolve().parents[2]

log = logging.getLogger("breakglass.gateway")


# In the gateway. -----------------------------------------------------------------------------------------


class Guard:
    """The gateway's end of it: starts the guard, and starts it again when it is gone."""

    def __init__(self, base: str, processes: int, folder: Path) -> None:
        """`base` is the gateway's id; notes of who was killed are left in `folder`, for the next start to find."""
        self._notes = folder / re.sub(r"[^\w.-]", "_", base)
        self._page = Page(processes)
        self._process: subprocess.Popen[bytes] | None = None
        self._life, self._far = os.pipe()
        self._failures = 0
        self._not_before = 0.0
        self._over = threading.Event()

    @staticmethod
    def is_possible() -> bool:
        """Elsewhere than on Linux there is no pidfd, and no guard."""
        return hasattr(os, "pidfd_open") and hasattr(os, "memfd_create")

    def beat(self, number: int) -> Heartbeat:
        return self._page.beat(number)

    @property
    def pid(self) -> int:
        """Of the guard's process; 0 where there is none."""
        return self._process.pid if self._process is not None else 0

    def look_after(self) -> None:
        """Start it, or start it again when it is gone. Called every second or so by one thread."""
        now = clock.monotonic()
        if self._process is not None:
            if self._process.poll() is None:
                self._failures = 0 if now - self._not_before > LONGEST_PAUSE else self._failures
                return
            log.error("the guard is gone with code %d; another one is started", self._process.returncode)
            self._process = None
            self._failures += 1
            self._not_before = now + min(SHORTEST_PAUSE * 2**self._failures, LONGEST_PAUSE)
        if now >= self._not_before:
            self._not_before = now
            self._start()

    def keep(self) -> None:
        """`look_after` it in a thread of its own, until `stop`: for a gateway of one process."""
        self.look_after()
        threading.Thread(target=self._keep, name="guard", daemon=True).start()

    def stop(self) -> None:
        """The gateway ends: the guard goes first, so that nobody is killed for being slow about it."""
        self._over.set()
        self.let_go()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(LOOK_AFTER_IT)

    def let_go(self) -> None:
        """In a forked child: the guard's life hangs on the first process alone."""
        for descriptor in (self._life, self._far):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def note(self, number: int) -> Path:
        """Where it says that it killed process `number`."""
        return Path(f"{self._notes}.{number}.killed")

    def _keep(self) -> None:
        while not self._over.wait(LOOK_AFTER_IT):
            self.look_after()

    def _start(self) -> None:
        self._notes.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        words = (self._page.descriptor, self._life, self._page.slots, self._notes)
        kept = ("PATH", "LD_LIBRARY_PATH")  # and none of the secrets in this process's environment
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-m", "sessions.gateway.guard", *map(str, words)],
            cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
            pass_fds=(self._page.descriptor, self._life),
            env={"PYTHONPATH": str(ROOT), **{name: os.environ[name] for name in kept if name in os.environ}},
        )  # fmt: skip


# The guard's own process. --------------------------------------------------------------------------------


@dataclass
class Guarded:
    """One slot, as the guard sees it."""

    who: tuple[int, int] = (0, 0)
    beat: int = 0
    seen: float = 0.0
    pidfd: int = -1

    def know(self, pid: int, began: int) -> None:
        """Hold on to that process, and to no later one of the same number: it began when it says it did."""
        self.forget()
        if not pid:
            return
        with contextlib.suppress(OSError):
            self.pidfd = os.pidfd_open(pid)
        if born(pid) != began:
            self.forget()

    def forget(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.pidfd = -1


class Watchman:
    """Looks at every slot, and kills whoever stood still for too long."""

    def __init__(self, page: Page, notes: str) -> None:
        self._page = page
        self._notes = notes
        self._slots = [Guarded() for _ in range(page.slots)]
        self._looked = clock.monotonic()

    def look(self) -> None:
        now = clock.monotonic()
        if now - self._looked > STOOD_STILL:  # the guard was stopped, the machine slept, or is very busy
            for slot in self._slots:
                slot.seen = max(slot.seen, now - STALE + GRACE)
        self._looked = now
        for number, slot in enumerate(self._slots):
            self._look_at(number, slot, now)

    def _look_at(self, number: int, slot: Guarded, now: float) -> None:
        pid, began, beat = self._page.look(number)
        if (pid, began) != slot.who:
            slot.know(pid, began)
            slot.who, slot.beat, slot.seen = (pid, began), beat, now
        elif beat != slot.beat:
            slot.beat, slot.seen = beat, now
        elif slot.pidfd >= 0 and now - slot.seen >= STALE:
            self._kill(number, slot, now - slot.seen)

    def _kill(self, number: int, slot: Guarded, silent: float) -> None:
        gone = select.poll()
        gone.register(slot.pidfd, select.POLLIN)
        if not gone.poll(0):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(slot.pidfd, signal.SIGKILL)
            # The disk of the note, or of the log, may be what hangs: the others are looked at all the same.
            words = threading.Thread(target=self._tell, args=(number, slot.who[0], silent), daemon=True)
            words.start()
            words.join(WORDS_WITHIN)
        slot.forget()

    def _tell(self, number: int, pid: int, silent: float) -> None:
        """The note first: the trail learns of it by that."""
        self._leave_note(number, {"pid": pid, "silent_seconds": round(silent, 1)})
        log.error("process %d gave no sign of life for %.1f s: the guard killed it", pid, silent)

    def _leave_note(self, number: int, what: dict[str, float]) -> None:
        """For the audit row that the next process writes. A full disk keeps nobody alive."""
        with contextlib.suppress(OSError):
            Path(f"{self._notes}.{number}.killed").write_text(json.dumps(what))


def main(words: list[str]) -> None:
    """Until the gateway's first process is gone: nobody else holds the other end of `life`."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    descriptor, life, slots = map(int, words[:3])
    watchman = Watchman(Page(slots, descriptor), words[3])
    gone = select.poll()
    gone.register(life, select.POLLHUP)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while not gone.poll(LOOK_EVERY * 1000):
        watchman.look()


if __name__ == "__main__":
    main(sys.argv[1:])
