from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.api import scene
from tests.support.clock import FrozenClock


@pytest.fixture
def data_dir(settings: Any, tmp_path: Path) -> Path:
    """A recording store of its own for each test."""
    settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"data_dir": tmp_path})
    return tmp_path


@pytest.fixture
def plant(db: None, frozen: FrozenClock, data_dir: Path) -> scene.Plant:
    return scene.plant(frozen)


@pytest.fixture
def things(plant: scene.Plant) -> scene.Things:
    return scene.things(plant)
