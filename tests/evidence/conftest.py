"""A grant with a session, consent, review and signed trail, and bundles made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.evidence.house import House
from tests.services import stage
from tests.services.scene import Scene
from tests.support.cast import Cast
from tests.support.clock import FrozenClock


@pytest.fixture
def house(cast: Cast, frozen: FrozenClock, settings: Any, tmp_path: Path) -> House:
    """Nothing has happened in it yet."""
    stage.keep_in(settings, tmp_path / "data")
    return House(Scene(cast, frozen), tmp_path)


@pytest.fixture
def done(house: House) -> House:
    """One access from the plea to the signed review, its audit rows under a checkpoint."""
    house.whole_story()
    return house
