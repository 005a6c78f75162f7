"""Redis as a doorbell: it says "look again", never what is true.

A ring that is lost costs a delay, nothing else: whoever listens also looks by itself every few seconds. What ends a
session rings on PostgreSQL too (database_bell.py), so that a dead Redis delays no end there.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import cache, partial
from typing import Any

import redis
import redis.asyncio
from django.conf import settings
from django.db import transaction

from breakglass import database_bell

log = logging.getLogger(__name__)
_away = threading.Event()

PREFIX = "breakglass:"


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.BREAKGLASS.redis_url, socket_timeout=1, socket_connect_timeout=0.5, health_check_interval=30
    )


def ring(topic: str, **payload: Any) -> None:
    """Tell the listeners of `topic` to look again, once the running transaction has committed. That Redis is away is no
    error; that the database is, is its caller's."""
    database_bell.ring(topic, payload)
    transaction.on_commit(partial(_publish, topic, payload), robust=True)


def _publish(topic: str, payload: dict[str, Any]) -> None:
    try:
        _client().publish(PREFIX + topic, json.dumps(payload))
    except (redis.RedisError, OSError) as error:
        # Once an outage: the end of a thousand sessions would say it three thousand times.
        log.log(
            logging.DEBUG if _away.is_set() else logging.WARNING, "doorbell %s did not ring: %s", topic, error
        )
        _away.set()
    else:
        _away.clear()


def answers() -> bool:
    """Whether Redis is there, asked quickly: half a second at the worst."""
    try:
        return bool(_client().ping())
    except (redis.RedisError, OSError):
        return False


def listen(topics: Sequence[str], *, timeout: float) -> Iterator[tuple[str, dict[str, Any]] | None]:
    """Rings of `topics` (patterns with `*` too), or None each `timeout` seconds without one.

    Raises `redis.RedisError` or `OSError` when Redis is away; the caller looks by itself and tries again.
    """
    client = redis.Redis.from_url(
        settings.BREAKGLASS.redis_url, socket_connect_timeout=0.5, health_check_interval=15, **_cut_off()
    )
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.psubscribe(*(PREFIX + topic for topic in topics))
        while True:
            message = pubsub.get_message(timeout=timeout)
            yield None if message is None else _read(message)


def _cut_off() -> dict[str, Any]:
    """A Redis whose machine doesn't answer any more is away after 10 s, not after the system's quarter of an hour."""
    if settings.BREAKGLASS.redis_url.startswith("unix:") or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return {}
    return {"socket_keepalive": True, "socket_keepalive_options": {socket.TCP_USER_TIMEOUT: 10_000}}


async def alisten(
    topics: Sequence[str], *, timeout: float
) -> AsyncIterator[tuple[str, dict[str, Any]] | None]:
    """As `listen`, for an event loop."""
    client = redis.asyncio.Redis.from_url(
        settings.BREAKGLASS.redis_url, socket_connect_timeout=0.5, health_check_interval=15
    )
    try:
        async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.psubscribe(*(PREFIX + topic for topic in topics))
            while True:
                message = await pubsub.get_message(timeout=timeout)
                yield None if message is None else _read(message)
    finally:
        await client.aclose()


def _read(message: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    channel = message["channel"]
    topic = (channel.decode() if isinstance(channel, bytes) else str(channel)).removeprefix(PREFIX)
    return topic, json.loads(message["data"] or "{}")
