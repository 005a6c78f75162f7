"""A stranger can neither escape the throttle nor lock a responder out by what they write into a header."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from breakglass.demo.place import Place
from breakglass.demo.supervisor import services
from breakglass.web.address import ClientAddress

PROXY = ("10.0.0.1", 4000)


def seen(proxies: int, *forwarded: str, client: tuple[str, int] = PROXY) -> str:
    """The address that the application sees."""
    found: list[str] = []

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        found.append(scope["client"][0])

    headers = [(b"host", b"broker"), *((b"x-forwarded-for", value.encode()) for value in forwarded)]
    scope = {"type": "http", "headers": headers, "client": client}
    asyncio.run(ClientAddress(application, proxies)(scope, None, None))
    return found[0]


def test_without_a_proxy_the_header_counts_for_nothing() -> None:
    assert seen(0, "192.0.2.7") == PROXY[0]


def test_behind_a_proxy_people_are_told_apart() -> None:
    assert seen(1, "192.0.2.7") == "192.0.2.7"
    assert seen(1, "192.0.2.8") == "192.0.2.8"
    assert seen(1, "2001:db8::1") == "2001:db8::1"


@pytest.mark.parametrize("lie", ["198.51.100.1", "198.51.100.1, 198.51.100.2", "garbage, ,"])
def test_what_a_stranger_sends_stands_left_of_what_the_proxy_saw(lie: str) -> None:
    assert seen(1, f"{lie}, 192.0.2.7") == "192.0.2.7"
    assert seen(1, lie, "192.0.2.7") == "192.0.2.7"
    assert seen(2, f"{lie}, 192.0.2.7, 10.0.0.2") == "192.0.2.7"


def test_fewer_hops_than_proxies_or_no_address_leave_what_the_socket_says() -> None:
    assert seen(2, "192.0.2.7") == PROXY[0]
    assert seen(1, "not an address") == PROXY[0]
    assert seen(1) == PROXY[0]


def test_the_demo_believes_no_header_about_addresses(tmp_path: Path) -> None:
    place = Place(tmp_path, 8000, 2222, assets_by_sshd=False)
    web = next(command for name, command, _ in services(place) if name == "web")
    assert "--no-proxy-headers" in web
