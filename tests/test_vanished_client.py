"""A process that vanishes in the middle of a transaction, its machine or its network gone, holds nobody up for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from breakglass import settings
from tests.support.fault_proxy import FaultProxy
from tests.support.postgresql import Cluster

PATIENCE = 90_000
"""ms. Without a word from us the server would believe in a vanished client for two hours, and in a silent one for ever."""

pytestmark = [pytest.mark.requires("postgresql"), pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    running = Cluster.start(tcp=True)
    yield running
    running.stop()


def client(port: int, monkeypatch: pytest.MonkeyPatch) -> psycopg.Connection:
    """A connection with what every process of ours asks for, by that port."""
    url = f"postgresql://breakglass@127.0.0.1:{port}/breakglass"
    monkeypatch.setattr(settings, "BREAKGLASS", settings.BREAKGLASS.model_copy(update={"database_url": url}))
    return psycopg.connect(url, **settings._database()["OPTIONS"])


@pytest.mark.parametrize(
    "vanish", [FaultProxy.blackhole, FaultProxy.swallow], ids=["cable cut", "stands still"]
)
def test_what_a_vanished_client_holds_is_given_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, vanish: Callable[[FaultProxy], None]
) -> None:
    with FaultProxy("127.0.0.1", cluster.port) as proxy:
        gone, other = client(proxy.port, monkeypatch), client(cluster.port, monkeypatch)
        other.autocommit = True
        other.execute("CREATE TABLE IF NOT EXISTS head (seq integer)")
        other.execute("INSERT INTO head VALUES (1)")
        other.execute(f"SET lock_timeout = {PATIENCE}")
        gone.execute("SELECT * FROM head FOR UPDATE")
        vanish(proxy)

        other.execute("UPDATE head SET seq = 2")  # a lock timeout where it isn't given back
        other.close()
        gone.close()
