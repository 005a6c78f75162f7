"""Each bad day, once, on the whole product."""

from __future__ import annotations

import pytest

from tests.faults.days import DAYS, Day
from tests.support.stack import Stack

# The rest of the suite runs beside this, on the same machine. `make faults` holds the limits themselves.
BUSY = 4


@pytest.mark.parametrize("day", DAYS, ids=[day.name for day in DAYS])
def test_a_bad_day_is_survived(stack: Stack, day: Day) -> None:
    assert day.live(stack) <= day.limit * BUSY
