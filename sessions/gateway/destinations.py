"""Where forwards lead: each name that the grant holds is resolved once, when the session is decided on, and pinned.

The asset dials, so its loopback is its own; but it is asked for an address, never for a name, so that nobody's DNS
can move the place while the session lives. What may never be reached is refused whatever a playbook names.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from django.conf import settings

from breakglass import clock
from breakglass.domain.forwarding import LOOPBACK_NAMES, objection, plain_address

Place = tuple[str, int]
RESOLVE_SECONDS = 3.0
USUAL_PORTS = {"https": 443, "http": 80, "postgres": 5432, "postgresql": 5432, "redis": 6379, "rediss": 6379}
NOWHERE = LOOPBACK_NAMES | {"", "0.0.0.0", "::"}
LOOPBACKS = {"localhost": "127.0.0.1", "127.0.0.1": "127.0.0.1", "::1": "::1"}
_last_known: dict[str, tuple[str, ...]] = {}  # of the broker's own hosts


@dataclass(frozen=True)
class Pin:
    """One place of a grant: the address that the asset is asked for, or why it isn't."""

    address: str
    why_not: str = ""


@dataclass(frozen=True)
class _Own:
    """The broker's services elsewhere: what its settings call them, and the addresses that those names have."""

    names: frozenset[str]
    addresses: frozenset[str]
    complete: bool  # whether each service that the broker dials itself has an address here

    def objection(self, address: str) -> str:
        if str(plain_address(address)) in self.addresses or _is_ours(address):
            return "it is the broker's own"
        return "" if self.complete else "where the broker's own services are can't be told now"


def pin(places: Iterable[Place], asset_host: str, registered: Mapping[str, str]) -> dict[Place, Pin]:
    """Each place resolved and judged. `registered` maps names of assets to their registered addresses."""
    wanted = list(places)
    names = {registered.get(host, host) for host, _ in wanted if host not in LOOPBACKS}
    found = _resolve(names | {asset_host} | _own_hosts())
    own = _own(found)
    at = found[asset_host]
    # An asset that can't be placed could be this machine.
    at_home = not at or any(own.objection(address) for address in at)
    return {
        (host, port): _pin(host, registered.get(host, host), port, found, own, at_home)
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


def _pin(
    host: str, dialled: str, port: int, found: Mapping[str, tuple[str, ...]], own: _Own, at_home: bool
) -> Pin:
    if host in LOOPBACKS:
        if at_home and port in own_ports():
            return Pin("", "it is the broker's own")
        return Pin(LOOPBACKS[host])
    if own.names & {_bare(host), _bare(dialled)}:
        return Pin("", "it is the broker's own")
    addresses = found.get(dialled, ())
    if not addresses:
        return Pin("", "its name can't be resolved here")
    for address in addresses:  # one bad address spoils the name: the next lookup could give it
        why_not = objection(address, named=host) or own.objection(address)
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


def _dialled_hosts() -> set[str]:
    """The hosts of the database and of Redis, by name or address; none for a socket in a folder."""
    config = settings.BREAKGLASS
    named: set[str] = set()
    for parts in (urlsplit(url) for url in (config.database_url, config.redis_url) if url):
        query = parse_qs(parts.query)  # the database's driver takes hosts from there too
        for given in (unquote(parts.hostname or ""), *query.get("host", ()), *query.get("hostaddr", ())):
            named |= {host for host in given.split(",") if not host.startswith("/")}
    return named - NOWHERE


def _own_hosts() -> set[str]:
    """Hosts of the broker's services elsewhere, by name or address, as its settings name them."""
    config = settings.BREAKGLASS
    page = urlsplit(config.public_url).hostname or ""
    return (_dialled_hosts() | {page, config.gateway_host, config.gateway_bind}) - NOWHERE


def _own(found: Mapping[str, tuple[str, ...]]) -> _Own:
    """A name that can't be resolved just now keeps the addresses that it had: no outage of DNS opens a way."""
    hosts = _own_hosts()
    _last_known.update({host: found[host] for host in hosts if found[host]})
    addresses = {str(plain_address(text)) for host in hosts for text in _last_known.get(host, ())}
    return _Own(
        names=frozenset(map(_bare, hosts)),
        addresses=frozenset(addresses),
        complete=all(host in _last_known for host in _dialled_hosts()),
    )


def _bare(name: str) -> str:
    """A name as names are compared."""
    return name.lower().rstrip(".")


def _is_ours(address: str) -> bool:
    """Whether it is an address of this machine: only those can be bound."""
    plain = str(plain_address(address))
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
    until = clock.monotonic() + RESOLVE_SECONDS
    for thread in threads:
        thread.join(max(0.0, until - clock.monotonic()))
    return dict(found)
