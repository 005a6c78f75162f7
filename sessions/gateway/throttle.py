"""Wrong answers cost time: for one account from one address. Nobody else waits, so nobody can be locked out."""

from __future__ import annotations

import threading
from dataclasses import dataclass

FREE = 3
LONGEST = 32.0
FORGET = 900.0
ENTRIES = 20_000


@dataclass
class _Tries:
    wrong: int
    last: float


class Throttle:
    """Counts wrong answers by (account, address), in memory. The first three are free, then 2, 4, ... 32 s."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tries: dict[tuple[str, str], _Tries] = {}

    def wait(self, account: str, address: str, now: float) -> float:
        """Seconds until this account may try again from this address; 0.0 when it may now."""
        with self._lock:
            tries = self._tries.get((account, address))
            if tries is None or tries.wrong < FREE:
                return 0.0
            penalty = min(LONGEST, 2.0 ** (tries.wrong - FREE + 1))
            return max(0.0, tries.last + penalty - now)

    def wrong(self, account: str, address: str, now: float) -> None:
        with self._lock:
            if len(self._tries) >= ENTRIES:
                self._forget(now)
            tries = self._tries.setdefault((account, address), _Tries(0, now))
            if now - tries.last > FORGET:
                tries.wrong = 0
            tries.wrong += 1
            tries.last = now

    def right(self, account: str, address: str) -> None:
        with self._lock:
            self._tries.pop((account, address), None)

    def _forget(self, now: float) -> None:
        """Drop what is old; when a flood filled the table, drop the older half of it."""
        kept = [(key, tries) for key, tries in self._tries.items() if now - tries.last <= FORGET]
        kept.sort(key=lambda item: item[1].last)
        self._tries = dict(kept[-ENTRIES // 2 :])
