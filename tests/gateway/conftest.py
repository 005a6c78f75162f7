from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import TransactionTestCase
from django.test.utils import setup_databases, teardown_databases

from sessions.gateway.limits import Limits
from tests.conftest import _uses_database
from tests.gateway import house as building
from tests.gateway.house import House


@pytest.fixture
def limits() -> Limits:
    return Limits(rate_per_address=1000, burst_per_address=1000)


@pytest.fixture
def plain_house(transactional_db: None, tmp_path: Path, limits: Limits) -> Iterator[House]:
    """The house without a gateway."""
    shutil.rmtree(settings.BREAKGLASS.data_dir / "recordings", ignore_errors=True)
    shutil.rmtree(settings.BREAKGLASS.data_dir / "journal", ignore_errors=True)
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


@pytest.fixture(scope="session")
def whole_database(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: Any
) -> Iterator[None]:
    """The test database, also in a run in which no other test asks pytest-django for it."""
    if any(_uses_database(item) for item in request.session.items):
        yield
        return
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False)
    yield
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)


@pytest.fixture(scope="module")
def shared_house(
    whole_database: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """One house, with a running gateway, for a whole module. Its rows are committed and go with the module."""
    with django_db_blocker.unblock():
        shutil.rmtree(settings.BREAKGLASS.data_dir / "recordings", ignore_errors=True)
        shutil.rmtree(settings.BREAKGLASS.data_dir / "journal", ignore_errors=True)
        house = building.build(tmp_path_factory.mktemp("house"))
        try:
            house.start()
            yield house
        finally:
            house.stop()
            house.sshd.stop()
            TransactionTestCase()._fixture_teardown()


@pytest.fixture(scope="module")
def page() -> Iterator[int]:
    """The port of a small page on loopback, as an asset's own status page is."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"status: fine")

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()
