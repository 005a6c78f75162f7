"""Connections to the database: few, kept between borrowings, and thrown away when the database hung up on them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, connections
from django.db.backends.signals import connection_created

from breakglass import clock
from breakglass.domain.refusals import Refused
from breakglass.models import AuditHead
from sessions.gateway import borrowed
from sessions.gateway.borrowed import borrowed_db, kept_connections

pytestmark = pytest.mark.django_db(transaction=True)


def elsewhere(act: Callable[[], Any]) -> Any:
    """What `act` returns or raises in a thread of its own, as the gateway's threads come and go."""
    said: list[Any] = []

    def run() -> None:
        try:
            said.append((act(), None))
        except Exception as error:  # noqa: BLE001 - raised again below
            said.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    value, error = said[0]
    if error is not None:
        raise error
    return value


def look() -> int:
    with borrowed_db():
        return AuditHead.objects.count()


@pytest.fixture
def opened() -> Iterator[list[object]]:
    """Every connection that is opened while the test runs."""
    made: list[object] = []

    def note(**more: Any) -> None:
        made.append(more["connection"])

    connection_created.connect(note)
    yield made
    connection_created.disconnect(note)


def test_threads_that_come_and_go_share_one_connection(opened: list[object]) -> None:
    with kept_connections():
        assert [elsewhere(look) for _ in range(10)] == [1] * 10
        assert len(opened) == 1
    assert not borrowed._pool._idle


def test_without_a_running_gateway_nothing_stays_open(opened: list[object]) -> None:
    assert [elsewhere(look) for _ in range(2)] == [1, 1]
    assert len(opened) == 2 and all(made.connection is None for made in opened)  # type: ignore[attr-defined]


def test_borrowing_within_a_borrowing_is_the_same_connection(opened: list[object]) -> None:
    def nested() -> int:
        with borrowed_db():
            outer = connections["default"]
            with borrowed_db():
                assert connections["default"] is outer
            return AuditHead.objects.count()

    assert elsewhere(nested) == 1
    assert len(opened) == 1


def test_a_connection_on_which_something_failed_is_not_used_again(opened: list[object]) -> None:
    def fail() -> None:
        with borrowed_db(), connections["default"].cursor() as cursor:
            cursor.execute("SELECT no_such_column FROM no_such_table")

    with kept_connections():
        with pytest.raises((DatabaseError, Refused)):
            elsewhere(fail)
        assert elsewhere(look) == 1
        assert len(opened) == 2


def test_a_database_that_was_away_is_refused_and_then_used_again(
    opened: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept when the database restarts is thrown away before anybody is refused for it."""
    with kept_connections():
        assert elsewhere(look) == 1
        with monkeypatch.context() as away:

            def gone(*_: Any) -> None:
                raise OperationalError("the database is away")

            away.setattr(type(connections["default"]), "get_new_connection", gone)
            away.setattr(borrowed._Held, "is_of_use", lambda _: False)
            with pytest.raises(Refused, match="database can't be reached"):
                elsewhere(look)
        assert elsewhere(look) == 1
        assert len(opened) == 2


def test_a_connection_that_the_server_closed_is_noticed_before_it_is_used(opened: list[object]) -> None:
    if connection.vendor != "postgresql":
        return  # a file doesn't hang up
    with kept_connections():
        assert elsewhere(look) == 1
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert elsewhere(look) == 1


def test_who_finds_no_free_connection_is_refused_instead_of_waiting_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(borrowed, "PATIENCE", 0.05)
    monkeypatch.setattr(borrowed._pool, "_room", threading.BoundedSemaphore(1))

    def both() -> None:
        with borrowed_db():
            elsewhere(look)

    with pytest.raises(Refused, match="database can't be reached"):
        elsewhere(both)
    assert elsewhere(look) == 1


def test_a_database_that_stands_still_lets_go_of_who_waits_for_it() -> None:
    """SQLite has a timeout of its own for that."""
    if connection.vendor != "postgresql":
        return
    asked, over = threading.Event(), threading.Event()

    def wait() -> None:
        with borrowed_db(longest=0.1), connection.cursor() as cursor:
            asked.set()
            cursor.execute("SELECT pg_sleep(600)")

    def hang_up() -> None:
        asked.wait(30)
        while not over.wait(0.1):
            borrowed.hang_up_late(clock.monotonic())

    threading.Thread(target=hang_up, daemon=True).start()
    with kept_connections():
        try:
            with pytest.raises(Refused, match="database_unavailable"):
                elsewhere(wait)
        finally:
            over.set()
        assert elsewhere(look) == 1, "the next one gets a connection that works"
    with connection.cursor() as cursor:  # it sleeps on by itself
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query = 'SELECT pg_sleep(600)' AND pid <> pg_backend_pid()"
        )
