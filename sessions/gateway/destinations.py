"""Where forwards lead: each name that the grant holds is resolved once, when the session is decided on, and pinned.

The asset dials, so its loopback is its own; but it is asked for an address, never for a name, so that nobody's DNS
can move the place while the session lives. What may never be reached is refused whatever a playbook names.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from breakglass.domain.forwarding import LOOPBACK_NAMES, objection, plain_address

Place = tuple[str, int]
RESOLVE_SECONDS = 3.0
USUAL_PORTS = {"https": 443, "http": 80, "postgres": 5432, "postgresql": 5432, "redis": 6379, "rediss": 6379}
LOOPBACKS = {"localhost": "127.0.0.1", "127.0.0.1": "127.0.0.1", "::1": "::1"}


@dataclass(frozen=True)
class Pin:
    """One place of a grant: the address that the asset is asked for, or why it isn't."""

    address: str
    why_not: str = ""


def pin(places: Iterable[Place], asset_host: str, registered: Mapping[str, str]) -> dict[Place, Pin]:
    """Each place resolved and judged. `registered` maps names of assets to their registered addresses."""
    wanted = list(places)
    names = {host for host, _ in wanted if host not in LOOPBACKS}
    found = _resolve({registered.get(name, name) for name in names})
    at_home = any(_is_ours(address) for address in _resolve({asset_host})[asset_host])
    return {
        (host, port): _pin(host, port, found.get(registered.get(host, host), ()), at_home)
        for host, port in wanted
    }


def meant(target: Place, pins: Mapping[Place, Pin]) -> Place:
    """The grant's place that a person means by `target`: by its name, as localhost, or by the pinned address."""
    host, port = target
    if target in pins:
        return target
    for place, pinned in pins.items():
        same = LOOPBACKS.get(host) == LOOPBACKS.get(place[0], "") or pinned.address == host
        if same and place[1] == port:
            return place
    return target


def _pin(host: str, port: int, addresses: tuple[str, ...], at_home: bool) -> Pin:
    if host in LOOPBACKS:
        if at_home and port in own_ports():
            return Pin("", "it is the broker's own")
        return Pin(LOOPBACKS[host])
    if not addresses:
        return Pin("", "its name can't be resolved here")
    for address in addresses:  # one bad address spoils the name: the next lookup could give it
        why_not = objection(address, named=host) or ("it is the broker's own" if _is_ours(address) else "")
        if why_not:
            return Pin("", why_not)
    return Pin(addresses[0])


def own_ports() -> frozenset[int]:
    """The ports of the broker's own services: gateway, page, database, Redis."""
    config = settings.BREAKGLASS
    urls = (config.public_url, config.database_url, config.redis_url)
    parts = [urlsplit(url) for url in urls if url]
    given = {part.port or USUAL_PORTS.get(part.scheme, 0) for part in parts}
    return frozenset({config.gateway_port, 8000, *given} - {0})


def _own_hosts() -> set[str]:
    """Hosts of the broker's services elsewhere, by name or address, as its settings name them."""
    config = settings.BREAKGLASS
    urls = (config.public_url, config.database_url, config.redis_url)
    named = {urlsplit(url).hostname or "" for url in urls if url} | {config.gateway_host, config.gateway_bind}
    return named - {""} - LOOPBACK_NAMES - {"0.0.0.0", "::"}


def _is_ours(address: str) -> bool:
    """Whether it is an address of this machine (only those can be bound), or one that the settings name."""
    plain = str(plain_address(address))
    if plain in _own_hosts():
        return True
    family = socket.AF_INET6 if ":" in plain else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((plain, 0))
        except OSError:
            return False
    return True


def _resolve(hosts: set[str]) -> dict[str, tuple[str, ...]]:
    """The addresses of each, all looked up at once and within RESOLVE_SECONDS; none where that fails."""
    found: dict[str, tuple[str, ...]] = dict.fromkeys(hosts, ())

    def look_up(host: str) -> None:
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        found[host] = tuple(dict.fromkeys(str(answer[4][0]) for answer in answers))

    threads = [threading.Thread(target=look_up, args=(host,), name="resolve", daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(RESOLVE_SECONDS)
    return dict(found)
