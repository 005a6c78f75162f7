"""What a login costs, in questions to the database: counted, for time is measured by tests/bench."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from django.db.backends.signals import connection_created
from django.db.backends.utils import CursorWrapper

from sessions.gateway import watchdog
from tests.gateway.house import House

LOGIN, ASKED_AGAIN = 37, 7


def test_a_login_asks_the_database_no_more_than_it_must(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        watchdog, "RENEW_EVERY", 60.0
    )  # however slow the machine is, only the first look counts
    monkeypatch.setattr(watchdog, "SIGN_EVERY", 60.0)
    house.grant()
    house.run("true")  # what is read once a process
    house.ended()
    code = house.rita.code()
    asked: Counter[str] = Counter()
    opened: list[object] = []
    mine = threading.get_ident()
    execute = CursorWrapper.execute

    def count(cursor: Any, sql: Any, params: Any = None) -> Any:
        if threading.get_ident() != mine and not str(sql).startswith(("BEGIN", "SAVEPOINT", "RELEASE")):
            asked[threading.current_thread().name.partition("_")[0]] += 1
        return execute(cursor, sql, params)

    def note(**more: Any) -> None:
        if threading.get_ident() != mine:
            opened.append(more)

    monkeypatch.setattr(CursorWrapper, "execute", count)
    connection_created.connect(note)
    try:
        assert house.run("true", code=code).returncode == 0
    finally:
        connection_created.disconnect(note)
    assert asked["ssh-leg"] <= LOGIN, asked
    assert asked["lease"] <= ASKED_AGAIN, asked
    assert len(opened) <= 2, "connections are kept, not opened for each question"
