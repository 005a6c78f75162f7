"""A connection that is cut without a word: nothing arrives any more and nobody says goodbye."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from tests.faults.shift import at_work
from tests.faults.table import Condition, Demand, Measured, Towns
from tests.support.fault_proxy import FaultProxy

ORDER = 50
MOST_FAULTS = 4
NOTICED = "from the cut until the other side is told"
WITHIN = {NOTICED: Demand(most=15.0)}


def half_open(
    towns: Towns, runs: int, *, asset_side: bool, cut: Callable[[FaultProxy], None] = FaultProxy.blackhole
) -> Measured:
    """Several proxies with a few sessions each, one cut after the other; noticed is what closes the other side's socket."""
    faults = max(1, min(MOST_FAULTS, runs // 2))
    town = towns.of()
    values = []
    with ExitStack() as stack:
        gateway = town.gateway_apart("wires")  # what else is going on in town doesn't matter here
        stack.callback(town.close, gateway)
        before = town.asset_port if asset_side else gateway.port
        proxies = [stack.enter_context(FaultProxy("127.0.0.1", before)) for _ in range(faults)]
        shifts = []
        for proxy in proxies:
            count = math.ceil(runs / faults)
            if asset_side:
                town.office.ask("move", asset="far", port=proxy.port)
                shifts.append(
                    stack.enter_context(at_work(town, count, grants=1, asset="far", gateway=gateway))
                )
            else:
                shifts.append(
                    stack.enter_context(at_work(town, count, grants=1, gateway=gateway, port=proxy.port))
                )
        cuts = []
        for number, proxy in enumerate(proxies):
            time.sleep(0.7 * bool(number))  # not all in step with the gateway's own rounds
            cuts.append(time.monotonic())
            cut(proxy)
        end = "person" if asset_side else "asset"
        for shift, since in zip(shifts, cuts, strict=True):
            values += [at - since for at in shift.until_told(end)]
            shift.books(["upstream_failed" if asset_side else "client_lost"])
    return {NOTICED: values}


def condition(name: str, what: str, *, asset_side: bool, **how: Any) -> Condition:
    return Condition(name, what, partial(half_open, asset_side=asset_side, **how), WITHIN, runs=20, few=2)


CONDITIONS = (
    condition("half-open-client", "half-open client (every packet lost, no FIN)", asset_side=False),
    condition("half-open-target", "half-open target (every packet lost, no FIN)", asset_side=True),
)
