"""What a Celery worker comes to first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from breakglass.celery import app
from tests.support import valkey


@pytest.fixture
def broker() -> Iterator[str]:
    with valkey.running() as server:
        yield f"redis+socket://{server.socket}"


def test_after_an_outage_ends_and_seals_go_before_notices_and_those_before_drawing(broker: str) -> None:
    asked = [
        "sessions.render",
        "breakglass.send_notices",
        "sessions.seal",
        "sessions.index",
        "breakglass.end_grant",
    ]
    options = app.conf.broker_transport_options
    with app.connection_for_write(broker, transport_options=options) as connection:
        for task in asked:
            app.send_task(task, connection=connection)
        with connection.channel() as channel:
            got = [channel.basic_get("breakglass", no_ack=True).headers["task"] for _ in asked]
    assert got == [
        "sessions.seal", "breakglass.end_grant", "breakglass.send_notices", "sessions.render", "sessions.index",
    ]  # fmt: skip
