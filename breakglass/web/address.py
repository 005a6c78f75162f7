"""Whose address a request comes from: throttling by account and address, and the audit trail, rest on it.

Only the reverse proxies that the installation says it has are believed, each for the one hop that it saw itself.
What a stranger writes into X-Forwarded-For stands further left and counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

HEADER = b"x-forwarded-for"


class ClientAddress:
    """An ASGI application before which stand `proxies` reverse proxies; 0: people reach it directly."""

    def __init__(self, application: Any, proxies: int) -> None:
        self._application = application
        self._proxies = proxies

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if self._proxies and scope["type"] in ("http", "websocket"):
            address = forwarded(scope["headers"], self._proxies)
            if address is not None:
                scope = {**scope, "client": (address, 0)}
        await self._application(scope, receive, send)


def forwarded(headers: Iterable[tuple[bytes, bytes]], proxies: int) -> str | None:
    """What the outermost of `proxies` saw; None where fewer hops are named, or that one names no address."""
    hops = [hop.strip() for name, value in headers if name == HEADER for hop in value.split(b",")]
    if len(hops) < proxies:
        return None
    try:
        return str(ip_address(hops[-proxies].decode("ascii")))
    except ValueError:
        return None
