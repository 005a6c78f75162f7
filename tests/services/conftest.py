"""What the service tests share: a house in order, in which Rita can ask and Ada and Ben can answer."""

from __future__ import annotations

import pytest

from breakglass.models import AccessRequest, Grant
from tests.services.scene import Scene
from tests.support.cast import Cast
from tests.support.clock import FrozenClock


@pytest.fixture
def scene(cast: Cast, time: FrozenClock) -> Scene:
    """`hist-01`, the playbook `historian-down` (one approver, 60 minutes from the approval on) and an incident."""
    return Scene(cast, time)


@pytest.fixture
def pending(scene: Scene) -> AccessRequest:
    """Rita's request, just asked."""
    return scene.asked()


@pytest.fixture
def grant(scene: Scene) -> Grant:
    """Rita's grant, just approved by Ada."""
    return scene.granted()


@pytest.fixture
def committed(transactional_cast: Cast, time: FrozenClock) -> Scene:
    """As `scene`, with every row committed: for races."""
    return Scene(transactional_cast, time)
