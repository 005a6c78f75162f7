"""What the service tests share: a house in order, in which Rita can ask and Ada and Ben can answer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
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


@pytest.fixture
def empty_database(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of an installation with a database of its own, of the kind that this run tests."""
    url = os.environ["BREAKGLASS_DATABASE_URL"]
    environment = os.environ | {
        "BREAKGLASS_DATA_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
    if not url:
        yield environment
        return
    name = "old_trail"
    server = psycopg.connect(url, autocommit=True)
    server.execute(f"DROP DATABASE IF EXISTS {name}")
    server.execute(f"CREATE DATABASE {name}")
    yield environment | {"BREAKGLASS_DATABASE_URL": url.replace("/breakglass?", f"/{name}?")}
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    server.close()
