"""The clock inside a process: set back it gives nothing, set forward it counts, and how far it was set can be told."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from breakglass import clock

HOUR, DAY = 3600.0, 86400.0
SetWall = Callable[[float], None]


def set_wall(monkeypatch: pytest.MonkeyPatch) -> SetWall:
    """Sets the wall clock of this process by so many seconds, as `date -s` would."""

    def by(seconds: float) -> None:
        faked = SimpleNamespace(
            time=lambda: time.time() + seconds, clock_gettime=time.clock_gettime, monotonic=time.monotonic
        )
        monkeypatch.setattr(clock, "time", faked)

    return by


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> SetWall:
    return set_wall(monkeypatch)


@pytest.mark.parametrize("seconds", [HOUR, DAY])
def test_set_back_it_goes_on_as_if_nothing_had_happened(step: SetWall, seconds: float) -> None:
    before = clock.now()
    step(-seconds)
    assert -0.001 <= (clock.now() - before).total_seconds() < HOUR / 2


@pytest.mark.parametrize("seconds", [HOUR, DAY])
def test_set_forward_it_counts_at_once(step: SetWall, seconds: float) -> None:
    before = clock.now()
    step(seconds)
    assert (clock.now() - before).total_seconds() >= seconds - 0.001


def test_set_forward_by_mistake_and_back_again_it_is_right_again(step: SetWall) -> None:
    before = clock.now()
    step(DAY)
    step(0)
    assert 0 <= (clock.now() - before).total_seconds() < HOUR


@pytest.mark.parametrize("seconds", [-DAY, -HOUR, HOUR, DAY])
def test_how_far_it_was_set_shows(step: SetWall, seconds: float) -> None:
    before = clock.apart()
    step(seconds)
    assert clock.apart() - before == pytest.approx(seconds, abs=0.5)
