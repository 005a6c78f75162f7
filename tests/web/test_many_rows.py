"""A house with a long past answers as one with a short one: no page asks the database more often for having more rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoDbBlocker

from breakglass import clock
from tests.support.many import past, present
from tests.web import test_access
from tests.web.conftest import browser_of
from tests.web.stage import Scene

pytestmark = pytest.mark.django_db

FEW, MANY = 12, 60
# Each page as whoever sees most of it.
SEERS = ("otto", "vera", "admin", "ben", "rita", "rob")
SIDE_EFFECTS = ("/events/", "/stream/", "recording.cast", "/download/", "/evidence/")


def pages() -> list[tuple[str, str]]:
    found = []
    for row in test_access.TABLE:
        answers = row.answers.split()
        if row.method != "GET" or any(part in row.path for part in SIDE_EFFECTS):
            continue
        found += [(who, row.path) for who in SEERS if answers[test_access.WHO.index(who)] == "200"]
    return found


@pytest.fixture(scope="module")
def counts(
    _set: Scene, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[dict[tuple[str, str], list[int]]]:
    """How many queries each page made with a few rows of each kind, and with many."""
    found: dict[tuple[str, str], list[int]] = {}
    with django_db_blocker.unblock(), transaction.atomic():
        for amount in (FEW, MANY):
            past(amount, clock.now(), reviews_due=amount // 2)
            present(amount, clock.now())
            clients = {who: browser_of(who) for who in SEERS}
            for who, path in pages():
                found.setdefault((who, path), []).append(
                    _queries(clients[who], test_access.path_of(path, _set))
                )
        yield found
        transaction.set_rollback(True)


def test_no_page_asks_more_often_for_having_more_rows(counts: dict[tuple[str, str], list[int]]) -> None:
    assert len(counts) > 100
    grown = {f"{who} {path}": pair for (who, path), pair in counts.items() if pair[1] > pair[0]}
    assert grown == {}


def test_no_page_asks_more_than_fifty_times(counts: dict[tuple[str, str], list[int]]) -> None:
    assert {f"{who} {path}": pair for (who, path), pair in counts.items() if pair[1] > 50} == {}


def _queries(client: Client, path: str) -> int:
    # Once before: what a process asks once, it asks here.
    client.get(path)
    with CaptureQueriesContext(connection) as captured, transaction.atomic():
        assert client.get(path).status_code == 200, path
        transaction.set_rollback(True)
    return len(captured)
