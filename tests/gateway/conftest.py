from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from sessions.gateway.limits import Limits
from tests.gateway import house as building
from tests.gateway.house import House


@pytest.fixture
def limits() -> Limits:
    return Limits(rate_per_address=1000, burst_per_address=1000)


@pytest.fixture
def plain_house(transactional_db: None, tmp_path: Path, limits: Limits) -> Iterator[House]:
    """The house without a gateway."""
    shutil.rmtree(settings.BREAKGLASS.data_dir / "recordings", ignore_errors=True)
    house = building.build(tmp_path)
    house.limits = limits
    try:
        yield house
    finally:
        house.stop()
        house.sshd.stop()


@pytest.fixture
def house(plain_house: House) -> House:
    """The house with a running gateway and no grant."""
    plain_house.start()
    return plain_house
