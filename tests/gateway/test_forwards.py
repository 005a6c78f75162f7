"""A forward leads to what the grant names, at the address that its name had when the session began, and nowhere else."""

from __future__ import annotations

import contextlib
import socket
import subprocess

import pytest
from django.conf import settings

from sessions.gateway import destinations
from sessions.gateway.destinations import Pin, meant, pin
from tests.gateway import clients
from tests.gateway.house import House

GET = b"GET / HTTP/1.0\r\n\r\n"
FAR = "198.51.100.7"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A name service of the test's own, for the gateway only: what isn't in it is no name."""
    book: dict[str, list[str]] = {}

    def look_up(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host not in book and not host[0].isdigit() and ":" not in host:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(0, 0, 0, "", (address, 0)) for address in book.get(host, [host])]

    monkeypatch.setattr(destinations.socket, "getaddrinfo", look_up)
    return book


def pinned(place: tuple[str, int], *, asset_host: str = FAR) -> Pin:
    return pin([place], asset_host, {"hist-02": "198.51.100.9"})[place]


def test_a_name_is_pinned_to_the_address_that_it_has_now(names: dict[str, list[str]]) -> None:
    names["web.plant"] = ["198.51.100.1", "198.51.100.2"]
    assert pinned(("web.plant", 80)) == Pin("198.51.100.1")
    assert pinned(("198.51.100.5", 80)) == Pin("198.51.100.5")
    assert pinned(("hist-02", 80)) == Pin("198.51.100.9"), "an asset's name means its registered address"
    assert "resolved" in pinned(("nowhere.plant", 80)).why_not


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "fd00:ec2::254", "fe80::1", "0.0.0.0"])
def test_a_name_with_one_forbidden_address_is_barred(names: dict[str, list[str]], address: str) -> None:
    names["web.plant"] = ["198.51.100.1", address]
    assert pinned(("web.plant", 80)).why_not


def test_the_brokers_own_addresses_are_barred(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destinations, "_is_ours", lambda address: address == "198.51.100.77")
    names["broker.plant"] = ["198.51.100.77"]
    assert "broker" in pinned(("broker.plant", 443)).why_not
    assert "broker" in pinned(("198.51.100.77", 22)).why_not


def test_this_machines_addresses_are_known_as_the_brokers() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        with contextlib.suppress(OSError):  # a machine without any network has loopback only
            probe.connect(("198.51.100.1", 9))  # sends nothing; tells which address would be used
        own = str(probe.getsockname()[0]).replace("0.0.0.0", "127.0.0.1")
    assert destinations._is_ours(own)
    assert not destinations._is_ours(FAR)


def test_an_asset_on_the_brokers_machine_lends_nobody_the_brokers_ports(names: dict[str, list[str]]) -> None:
    gateway = settings.BREAKGLASS.gateway_port
    assert "broker" in pinned(("127.0.0.1", gateway), asset_host="127.0.0.1").why_not
    assert pinned(("127.0.0.1", gateway)) == Pin("127.0.0.1"), (
        "on an asset of its own it is that asset's port"
    )
    assert pinned(("127.0.0.1", 8080), asset_host="127.0.0.1") == Pin("127.0.0.1")


@pytest.fixture
def own(names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The broker's services elsewhere, named by host name in its settings; `names` doesn't know them yet."""
    config = settings.BREAKGLASS.model_copy(
        update={
            "database_url": "postgresql://u:p@db.corp.example:5432/x",
            "redis_url": "redis://cache.corp.example:6379/0",
            "public_url": "https://page.corp.example",
        }
    )
    monkeypatch.setattr(settings, "BREAKGLASS", config)
    monkeypatch.setattr(destinations, "_last_known", {})
    return names


def test_the_brokers_services_are_barred_by_name_and_by_address(own: dict[str, list[str]]) -> None:
    where = {"db.corp.example": "10.9.8.7", "cache.corp.example": "fd12::7", "page.corp.example": "10.9.8.9"}
    own.update({name: [address] for name, address in where.items()})
    own["alias.plant"] = ["10.9.8.7"]
    for host in (*where, *where.values(), "alias.plant", "DB.corp.example.", "::ffff:10.9.8.7", "fd12:0::7"):
        own.setdefault(host, ["198.51.100.1" if host[0] == "D" else host])
        assert "broker" in pinned((host, 5432)).why_not, host
    assert pinned(("198.51.100.5", 5432)) == Pin("198.51.100.5")
    barred = pin([("hist-03", 22)], FAR, {"hist-03": "db.corp.example"})
    assert "broker" in barred["hist-03", 22].why_not, "an asset's name leads nobody there either"
    assert "broker" in pinned(("localhost", 5432), asset_host="10.9.8.7").why_not


def test_when_names_fail_the_brokers_services_stay_barred(own: dict[str, list[str]]) -> None:
    own["page.corp.example"] = ["10.9.8.9"]
    assert "broker" in pinned(("10.1.1.1", 80)).why_not, "nobody knows yet where the database is"
    own.update({"db.corp.example": ["10.9.8.7"], "cache.corp.example": ["10.9.8.8"]})
    assert pinned(("10.1.1.1", 80)) == Pin("10.1.1.1")
    for name in ("db.corp.example", "cache.corp.example", "page.corp.example"):
        del own[name]
    assert pinned(("10.1.1.1", 80)) == Pin("10.1.1.1"), "an outage of DNS takes no forward away"
    for address in ("10.9.8.7", "10.9.8.8", "10.9.8.9"):
        assert "broker" in pinned((address, 80)).why_not


def test_hosts_of_the_database_in_its_query_count_and_sockets_dont(
    own: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://u:p@%2Frun%2Fpg/x?host=one.plant,/run/postgresql&hostaddr=10.9.8.7"
    changed = {"database_url": url, "redis_url": "unix:///run/redis.sock"}
    monkeypatch.setattr(settings, "BREAKGLASS", settings.BREAKGLASS.model_copy(update=changed))
    own["one.plant"] = ["10.9.8.6"]
    assert "broker" in pinned(("10.9.8.6", 80)).why_not
    assert "broker" in pinned(("10.9.8.7", 80)).why_not
    assert pinned(("10.1.1.1", 80)) == Pin("10.1.1.1")


def test_an_asset_that_cant_be_placed_lends_nobody_the_brokers_ports(names: dict[str, list[str]]) -> None:
    gateway = settings.BREAKGLASS.gateway_port
    assert "broker" in pinned(("127.0.0.1", gateway), asset_host="lost.plant").why_not
    assert pinned(("127.0.0.1", 8080), asset_host="lost.plant") == Pin("127.0.0.1")


def test_what_a_person_means_by_a_place() -> None:
    pins = {("127.0.0.1", 8080): Pin("127.0.0.1"), ("web.plant", 80): Pin("198.51.100.1")}
    assert meant(("localhost", 8080), pins) == ("127.0.0.1", 8080)
    assert meant(("198.51.100.1", 80), pins) == ("web.plant", 80), "a client that looked the name up itself"
    for other in (("localhost", 8081), ("198.51.100.1", 81), ("web", 80), ("127.0.0.2", 8080)):
        assert meant(other, pins) == other


# With stock ssh ------------------------------------------------------------------------------------------------


def through(house: House, place: str) -> subprocess.CompletedProcess[bytes]:
    return house.run("-W", place, stdin=GET)


def test_localhost_is_the_assets_and_a_barred_name_says_why(
    shared_house: House, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def look_up(host: str, *words: object, **more: object) -> object:
        return real("169.254.169.254" if host == "metadata.plant" else host, *words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(destinations.socket, "getaddrinfo", look_up)
    gateway = shared_house.port
    places = [f"127.0.0.1:{page}", "metadata.plant:80", f"127.0.0.1:{settings.BREAKGLASS.gateway_port}"]
    shared_house.grant(channels=clients.EVERYTHING, forward_to=places)
    assert b"status: fine" in through(shared_house, f"localhost:{page}").stdout
    for place in places[1:]:
        done = through(shared_house, place)
        assert done.stdout == b"" and b"[forward_barred]" in done.stderr, done.stderr
        shared_house.ended(30)
        assert shared_house.audited("gateway:channel:refused")[-1]["refusal"] == "forward_barred"
    unnamed = through(shared_house, f"127.0.0.1:{gateway}")
    assert unnamed.stdout == b"" and b"[forward_not_allowed]" in unnamed.stderr
