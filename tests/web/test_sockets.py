"""A socket outlives a database that can't be asked for a moment, and no more than that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import uuid4

import pytest
from django.db import InterfaceError, OperationalError

from breakglass import clock
from breakglass.models import Person
from breakglass.web import sockets
from breakglass.web.sockets import Login, Socket

Answers = list[Login | Exception | None]


async def _unused(*_: object) -> None:
    raise AssertionError


@pytest.fixture
def until_over(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], Answers]:
    """Ask until the login is over, with these answers one after the other, 10 s between; those that weren't needed."""

    def run(answers: Answers) -> Answers:
        left, now = list(answers), [1000.0]

        def login_of(_: object) -> Login | None:
            now[0] += 10
            answer = left.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(sockets, "login_of", login_of)
        monkeypatch.setattr(sockets, "RECHECK_SECONDS", 0)
        monkeypatch.setattr(clock, "monotonic", lambda: now[0])
        asyncio.run(Socket({}, _unused, _unused, LOGIN).until_login_is_over())
        return left

    return run


LOGIN = Login(Person(pk=uuid4()), "key", "203.0.113.9")
AWAY = OperationalError("the connection was refused")


def test_a_database_that_is_away_for_a_moment_ends_no_login(until_over: Callable[[Answers], Answers]) -> None:
    moment: Answers = [AWAY, InterfaceError("closed"), AWAY, AWAY, AWAY, LOGIN]
    assert until_over([LOGIN, *moment, *moment, *moment, None, LOGIN]) == [LOGIN]


def test_a_login_that_nobody_can_vouch_for_is_over_after_a_minute(
    until_over: Callable[[Answers], Answers],
) -> None:
    assert until_over([LOGIN, *[AWAY] * 7, LOGIN]) == [LOGIN]
    with pytest.raises(ValueError):  # no answer of the database's
        until_over([LOGIN, ValueError()])
