"""Each bad day a few times, on real processes. `make faults` measures many; here the machine is busy with other tests, so that
seconds have slack, and what doesn't depend on the machine has none: nothing made after an end arrives, one end, one row.

What takes long by itself (a lease, a silence that is noticed) runs beside the first half, at gateways and proxies of its own; the
second half takes away what all of them need.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.faults import table
from tests.faults.table import Condition, Row, Towns

SLACK = 8.0
BESIDE = ("revoke-cut-off", "half-open-client", "half-open-target")
WITHOUT_WHAT_ALL_NEED = (
    "redis",
    "postgresql",
    "all",
    "sqlite",
    "revoke-without-redis",
    "revoke-unheard",
    "tasks",
)
ALL = {condition.name: condition for condition in table.conditions() if condition.few}
FIRST = [name for name in ALL if name not in BESIDE and name not in WITHOUT_WHAT_ALL_NEED]
NAMES = [*FIRST, *BESIDE, *WITHOUT_WHAT_ALL_NEED]

pytestmark = [pytest.mark.requires("postgresql", "libfaketime", "ssh-keygen"), pytest.mark.slow]


def measured(condition: Condition, towns: Towns) -> list[Row]:
    return table.rows_of(condition, towns, condition.few)


@pytest.fixture(scope="module")
def towns() -> Iterator[Towns]:
    running = Towns()
    yield running
    running.close()


@pytest.fixture(scope="module")
def beside(towns: Towns) -> Iterator[dict[str, Future[list[Row]]]]:
    """What was begun at once and takes its time."""
    towns.of().is_patient = False
    with ThreadPoolExecutor(len(BESIDE)) as threads:
        yield {name: threads.submit(measured, ALL[name], towns) for name in BESIDE}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_promised_of_a_bad_day_is_kept(
    towns: Towns, beside: dict[str, Future[list[Row]]], name: str
) -> None:
    rows = beside[name].result() if name in beside else measured(ALL[name], towns)
    assert rows
    for row in rows:
        print(table.line(row))
        assert not row.problem, f"{row.condition}: {row.problem}"
        assert row.demand.is_met(row.values, SLACK), table.line(row)
