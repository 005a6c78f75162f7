"""Many sessions are asked about together: one look at the database, and each gets its own answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from breakglass import clock
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.services import grants
from sessions import services
from sessions.gateway import lease, pep
from sessions.gateway.live import LiveSession
from tests.gateway.house import House, eventually

PATIENCE = 30.0


@pytest.fixture
def three(house: House) -> Iterator[list[LiveSession]]:
    """Three live sessions of one gateway."""
    house.grant()
    assert house.gateway is not None
    clients = []
    for _ in range(3):  # one after the other: a code counts once
        client = house.popen("echo up; cat")
        clients.append(client)
        assert client.stdout is not None and client.stdout.readline() == b"up\n"
    yield list(house.gateway._sessions.values())
    for client in clients:
        client.kill()
        client.wait(PATIENCE)


def test_three_sessions_cost_no_more_questions_than_one(three: list[LiveSession]) -> None:
    counts = []
    for sessions in (three[:1], three):
        with CaptureQueriesContext(connection) as queries:
            lease.renew(sessions)
        counts.append(len(queries))
    assert counts == [7, 7]
    assert all(session.reason is None for session in three)


def test_a_killed_one_ends_and_the_others_are_confirmed(house: House, three: list[LiveSession]) -> None:
    before = [session.confirmed for session in three]
    services.kill(three[1].facts.session_id, house.ada.person, "looks wrong", clock.now())
    lease.renew(three)
    assert [str(session.reason) for session in three] == ["None", "killed", "None"]
    assert three[0].confirmed > before[0] and three[2].confirmed > before[2]


def test_the_end_of_the_grant_says_how_it_ended(house: House, three: list[LiveSession]) -> None:
    grant_id = three[0].authorization.grant_id
    grants.revoke(grant_id, house.ada.person, "no longer", house.ada.code(), clock.now())
    lease.renew(three)
    assert {str(session.reason) for session in three} == {"revoked"}


def test_what_is_wrong_with_one_ends_that_one(
    three: list[LiveSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pep.Renewal.renew

    def renew(renewal: pep.Renewal, held: Any) -> Any:
        if held is three[0].authorization:
            raise ZeroDivisionError
        return real(renewal, held)

    monkeypatch.setattr(pep.Renewal, "renew", renew)
    lease.renew(three)
    assert [str(session.reason) for session in three] == ["lease_lost", "None", "None"]


def test_a_look_that_fails_over_one_of_them_is_repeated_one_by_one(
    three: list[LiveSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pep.Standing

    def look(held: Any) -> Any:
        if len(held) > 1:
            raise ZeroDivisionError
        return real(held)

    monkeypatch.setattr(pep, "Standing", look)
    before = [session.confirmed for session in three]
    lease.renew(three)
    assert all(session.confirmed > then for session, then in zip(three, before, strict=True))


def test_a_database_that_is_away_ends_nobody_and_confirms_nobody(
    house: House, three: list[LiveSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise refuse(RefusalCode.DATABASE_UNAVAILABLE)

    monkeypatch.setattr(pep, "Standing", away)
    assert house.gateway is not None
    watches = house.gateway._watchdog._watches
    eventually(lambda: not any(watch.renewing for watch in watches.values()), "those under way are done")
    before = [session.confirmed for session in three]
    lease.renew(three)
    assert [session.confirmed for session in three] == before
    assert all(session.reason is None for session in three)
