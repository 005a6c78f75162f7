"""A grant is taken back: how soon nothing passes any more, with and without the push, and with the gateway cut off."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from tests.faults.ends import A_RENEWAL, batches, parts_dead
from tests.faults.shift import Shift, at_work
from tests.faults.table import Condition, Demand, Measured, Towns
from tests.faults.town import Town, eventually
from tests.support.fault_proxy import FaultProxy

ORDER = 20
LEASE = 60.0
SOCKETS = "from SIGTERM to both sockets closed"
ENDED = "from SIGTERM to the process's end"
WAYS: list[Callable[[FaultProxy], None]] = [
    FaultProxy.swallow, FaultProxy.stall, FaultProxy.blackhole, lambda proxy: proxy.cut(refuse=True),
]  # fmt: skip
"""To be without an answer: swallowed, held back, lost, refused."""


def revoked(towns: Towns, runs: int) -> Measured:
    measured: dict[str, list[float]] = {}
    for size in batches(runs):
        with at_work(towns.of(), size) as shift:
            take_back(shift, measured)
            shift.books(["revoked"])
            shift.refused()
    return measured


def revoked_without_redis(towns: Towns, runs: int, *, muted: bool = False) -> Measured:
    """Redis is killed, every second time stopped. With `muted` PostgreSQL's NOTIFY doesn't ring either: nobody does."""
    measured: dict[str, list[float]] = {}
    town = towns.of()
    for number, size in enumerate(batches(runs)):
        with at_work(town, size, grants=5) as shift:
            with parts_dead("valkey")(town, number):
                town.office.ask("mute", yes=muted)
                try:
                    take_back(shift, measured)
                finally:
                    town.office.ask("mute", yes=False)
            shift.books(["revoked"])
    return measured


def take_back(shift: Shift, measured: dict[str, list[float]], seconds: float = 90) -> None:
    """Revoke one grant after the other. Counted from when the approver asked for it, with the commit in it."""
    asked = {grant: shift.town.office.ask("revoke", grant=grant)["asked"] for grant in shift.grants}
    for one, login in zip(shift.until_gone(seconds), shift.logins, strict=True):
        assert one.gone is not None
        measured.setdefault("last byte", []).append(one.last - asked[login["grant"]])
        measured.setdefault("both sockets closed", []).append(one.gone - asked[login["grant"]])


def cut_off(towns: Towns, runs: int) -> Measured:
    """The gateway can't ask the database any more, in several ways."""
    faults = max(1, min(len(WAYS), runs // 2))
    measured: dict[str, list[float]] = {}
    town = towns.of()
    with ExitStack() as stack:
        proxies = [stack.enter_context(FaultProxy("127.0.0.1", town.database.port)) for _ in range(faults)]
        shifts = [
            stack.enter_context(behind(town, proxy, f"cut-off-{number}", math.ceil(runs / faults)))
            for number, proxy in enumerate(proxies)
        ]
        for proxy, way in zip(proxies, WAYS, strict=False):
            way(proxy)
        time.sleep(1)
        asked = [town.office.ask("revoke", grant=shift.grants[0])["asked"] for shift in shifts]
        for shift, at in zip(shifts, asked, strict=True):
            for one in shift.until_gone(LEASE + 60):
                assert one.gone is not None
                measured.setdefault("last byte", []).append(one.last - at)
                measured.setdefault("both sockets closed", []).append(one.gone - at)
        for proxy in proxies:
            proxy.mend()
        for shift in shifts:
            shift.books(["lease_lost", "revoked"])
    return measured


def drained(towns: Towns, runs: int) -> Measured:
    """SIGTERM while the gateway can't ask the database any more, in the same ways, and waits for it."""
    measured: dict[str, list[float]] = {SOCKETS: [], ENDED: []}
    town = towns.of()
    with ExitStack() as stack:
        proxies = [stack.enter_context(FaultProxy("127.0.0.1", town.database.port)) for _ in range(runs)]
        shifts = [
            stack.enter_context(behind(town, proxy, f"drained-{number}", 1))
            for number, proxy in enumerate(proxies)
        ]
        for number, proxy in enumerate(proxies):
            WAYS[number % len(WAYS)](proxy)
        time.sleep(A_RENEWAL)
        asked = time.monotonic()
        for shift in shifts:
            shift.gateway.part.send(signal.SIGTERM, shift.gateway.part.pids[:1])
        for shift in shifts:
            measured[SOCKETS] += [(one.gone or 0.0) - asked for one in shift.until_gone()]
        left = list(shifts)

        def over() -> bool:
            gone = [shift for shift in left if not shift.gateway.part.pids]
            measured[ENDED].extend([time.monotonic() - asked] * len(gone))
            left[:] = [shift for shift in left if shift not in gone]
            return not left

        eventually(over, "every gateway's process is gone")
    return measured


@contextmanager
def behind(town: Town, proxy: FaultProxy, name: str, count: int) -> Iterator[Shift]:
    """People at a gateway of their own that reaches the database through the proxy."""
    gateway = town.gateway_apart(name, database_url=town.database.url_by(proxy.port))
    try:
        with at_work(town, count, grants=1, gateway=gateway) as shift:
            yield shift
    finally:
        town.close(gateway)


CONDITIONS = (
    Condition(
        "revoke",
        "early revoke",
        revoked,
        {"last byte": Demand(p99=2.0), "both sockets closed": Demand(p99=2.0)},
    ),
    Condition(
        "revoke-without-redis",
        "early revoke, Redis dead (PostgreSQL's NOTIFY rings)",
        revoked_without_redis,
        {"last byte": Demand(p99=2.0), "both sockets closed": Demand(p99=2.0)},
        few=3,
    ),
    Condition(
        "revoke-unheard",
        "early revoke, the push path dead (neither rings)",
        partial(revoked_without_redis, muted=True),
        {"last byte": Demand(most=10.0), "both sockets closed": Demand(most=10.0)},
    ),
    Condition(
        "revoke-cut-off",
        "early revoke, the gateway cut off from the database",
        cut_off,
        {"last byte": Demand(most=LEASE), "both sockets closed": Demand(most=LEASE + 1)},
        runs=20,
        few=4,
    ),
    Condition(
        "drain-cut-off",
        "gateway told to end (SIGTERM) while it is cut off from the database",
        drained,
        {SOCKETS: Demand(most=2.0), ENDED: Demand(most=21.0)},
        runs=8,
        few=2,
    ),
)
