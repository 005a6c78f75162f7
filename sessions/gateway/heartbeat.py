"""Signs of life of the gateway's processes, in a page of memory that the guard reads from outside. No Django here.

A slot a process: who it is (pid, and when it began) and its last beat. Beats are written in place, eight bytes
at a time, by one thread; nobody waits for anybody.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from breakglass import clock

PID, BORN, BEAT, WORDS = 0, 1, 2, 3
WORD = 8


def born(pid: int) -> int:
    """When that process began, in the kernel's ticks: with its number it means this one and no other. 0: it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


class Page:
    """The shared memory: made by the gateway's first process, opened by the guard through the descriptor it inherits."""

    def __init__(self, slots: int, descriptor: int | None = None) -> None:
        self.slots = slots
        size = slots * WORDS * WORD
        if descriptor is None:
            descriptor = os.memfd_create("breakglass-heartbeats")
            os.ftruncate(descriptor, size)
        self.descriptor = descriptor
        self._words = memoryview(mmap.mmap(descriptor, size)).cast("Q")

    def beat(self, number: int) -> Heartbeat:
        """The slot of process `number`, for that process to beat in."""
        return Heartbeat(self._words[number * WORDS : (number + 1) * WORDS])

    def look(self, number: int) -> tuple[int, int, int]:
        """Who holds the slot (pid 0: nobody, or somebody who left in order), since when, and the last beat."""
        pid, born, beat = self._words[number * WORDS : (number + 1) * WORDS]
        return pid, born, beat


class Heartbeat:
    """What one process leaves of itself. Until the first beat, and after `stop`, nobody expects any."""

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self._is_on = False

    def __call__(self) -> None:
        """A sign of life."""
        self._words[BEAT] = int(clock.monotonic() * 1e9)
        if not self._is_on:
            self._is_on = True
            self._words[BORN] = born(os.getpid())
            self._words[PID] = os.getpid()

    def stop(self) -> None:
        """This process ends in order now, however long that takes."""
        self._words[PID] = 0
