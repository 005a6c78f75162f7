"""What strangers may take of the gateway: connections that haven't proved a key yet, in all and by address."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one gateway process. Seconds and counts."""

    grace: float = 20.0
    code_grace: float = 60.0
    strangers: int = 200
    strangers_per_address: int = 20
    rate_per_address: float = 10.0
    burst_per_address: float = 20.0
    sessions: int = 2000


class Turnstile:
    """Counts unauthenticated connections and their rate. Who is over is dropped; who is inside isn't touched."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._inside: dict[str, int] = {}
        self._tokens: dict[str, tuple[float, float]] = {}

    def enter(self, address: str, now: float) -> bool:
        limits = self._limits
        with self._lock:
            if sum(self._inside.values()) >= limits.strangers:
                return False
            if self._inside.get(address, 0) >= limits.strangers_per_address:
                return False
            if len(self._tokens) > 10_000:
                self._tokens.clear()
            tokens, last = self._tokens.get(address, (limits.burst_per_address, now))
            tokens = min(limits.burst_per_address, tokens + (now - last) * limits.rate_per_address)
            self._tokens[address] = (max(0.0, tokens - 1.0), now)
            if tokens < 1.0:
                return False
            self._inside[address] = self._inside.get(address, 0) + 1
            return True

    def leave(self, address: str) -> None:
        with self._lock:
            left = self._inside.get(address, 1) - 1
            if left > 0:
                self._inside[address] = left
            else:
                self._inside.pop(address, None)
