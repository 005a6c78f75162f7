"""The second doorbell: PostgreSQL's own NOTIFY, for the rings that end sessions. It rings also while Redis is dead.

It rings in the transaction that it tells of: who listens hears it when that has committed, or never. On SQLite there is
none; gateways look by themselves every 5 s.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.db import connection, connections

CHANNEL = "breakglass"
ALIAS = "default"
# What changes nothing for a session that lives: a gateway needn't be woken for it.
NO_MATTER = frozenset({"files", "ended"})


def is_there() -> bool:
    return connection.vendor == "postgresql"


def ring(topic: str, payload: Mapping[str, Any]) -> None:
    """In the caller's transaction, if it is a ring that may end or freeze a session."""
    if not is_there() or not _matters(topic, payload):
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, json.dumps([topic, payload])])


def _matters(topic: str, payload: Mapping[str, Any]) -> bool:
    if topic.startswith(("grant:", "session:")):
        return not NO_MATTER & payload.keys()
    return topic == "sessions" and not payload.keys() & {"session", "grant"}


def listen(*, timeout: float) -> Iterator[tuple[str, dict[str, Any]] | None]:
    """Rings, or None each `timeout` seconds without one. The first is its own, once it listens: look at what was rung
    before. Holds a connection of its own. Raises `django.db.Error` when the database is away."""
    own = connections.create_connection(ALIAS)
    try:
        own.ensure_connection()
        with own.wrap_database_errors:
            raw = own.connection
            raw.execute(f"LISTEN {CHANNEL}")
            yield "sessions", {}
            while True:
                quiet = True
                for notice in raw.notifies(timeout=timeout, stop_after=1):
                    quiet = False
                    topic, payload = json.loads(notice.payload)
                    yield topic, payload
                if quiet:
                    yield None
    finally:
        own.close()
