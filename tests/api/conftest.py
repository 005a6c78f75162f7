from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from breakglass import clock as wall
from tests.api import scene


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> scene.HandClock:
    hand = scene.HandClock()
    monkeypatch.setattr(wall, "now", hand.now)
    return hand


@pytest.fixture
def data_dir(settings: Any, tmp_path: Path) -> Path:
    settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"data_dir": tmp_path})
    settings.ALLOWED_HOSTS = ["testserver", "localhost"]
    return tmp_path


@pytest.fixture
def plant(db: None, clock: scene.HandClock, data_dir: Path) -> scene.Plant:
    return scene.plant(clock)


@pytest.fixture
def things(plant: scene.Plant) -> scene.Things:
    return scene.things(plant)
