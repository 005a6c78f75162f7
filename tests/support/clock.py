"""Time that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from breakglass import clock

NOON = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)


class FrozenClock:
    """`now` for services, and what `breakglass.clock` says once it is put there."""

    def __init__(self, start: datetime = NOON) -> None:
        self.now = start
        self._monotonic = 1000.0

    def forward(self, **by: float) -> datetime:
        """Moves on by `timedelta(**by)`; the new time."""
        step = timedelta(**by)
        self.now += step
        self._monotonic += step.total_seconds()
        return self.now

    def set_wall(self, now: datetime) -> None:
        """Somebody sets the wall clock; monotonic time doesn't care."""
        self.now = now

    def monotonic(self) -> float:
        return self._monotonic

    def rule(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From here on everything that asks `breakglass.clock` in this process gets this time."""
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(clock, "wall", lambda: self.now.timestamp())  # noqa: PLW0108 - `now` moves
        monkeypatch.setattr(clock, "monotonic", self.monotonic)
