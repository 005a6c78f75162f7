"""The tests' own tools hold what they promise, on whichever database this run uses."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from breakglass.models import AuditEvent, AuditHead, Grant
from tests.support import cast as house
from tests.support.cast import Cast
from tests.support.clock import FrozenClock


def test_the_cast_asks_and_is_granted(cast: Cast, time: FrozenClock) -> None:
    house.machine(time.now)
    request = house.asked(cast.rita, house.published(time.now), time.now)
    grant = house.approved(request, [cast.ada], time.now)
    assert grant.person == cast.rita
    assert Grant.objects.count() == 1


@pytest.mark.parametrize("round_number", [1, 2])
def test_a_flushed_database_has_its_head_and_its_triggers_back(
    transactional_cast: Cast, round_number: int
) -> None:
    assert AuditHead.objects.get().seq == AuditEvent.objects.count() > 0
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE breakglass_auditevent SET tag = 'x'")
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM breakglass_auditevent")
