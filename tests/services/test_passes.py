"""Passes in the background: the long ones come one at a time and leave the worker's slots to what is urgent."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.db import OperationalError, transaction

from breakglass import doorbell, later, passes, tasks
from breakglass.models import Person
from breakglass.services import extensions, grants, notices
from sessions import services as data_plane
from sessions import tasks as data_tasks
from sessions.services import watching
from tests.support.cast import Cast
from tests.support.clock import NOON


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"data_dir": tmp_path})
    return tmp_path


def _queue(*people: Person) -> None:
    with transaction.atomic():
        notices.queue(people, topic="request:1", subject="Rita asks", body="Look", path="/", now=NOON)


def test_a_second_pass_goes_away_at_once_and_one_after_it_works() -> None:
    with passes.alone("x") as first, passes.alone("x") as second, passes.alone("y") as other:
        assert (first, second, other) == (True, False, True)
    with passes.alone("x") as third:
        assert third


def test_who_is_killed_holds_up_nobody(folder: Path) -> None:
    holder = (
        f"import fcntl; file = open({str(folder / 'x.lock')!r}, 'w'); fcntl.flock(file, fcntl.LOCK_EX); "
        "print('held', flush=True); input()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", holder], stdin=pipe, stdout=pipe) as process:
        assert process.stdout and process.stdout.readline() == b"held\n"
        with passes.alone("x") as mine:
            assert not mine
        process.kill()
        process.wait()
    with passes.alone("x") as mine:
        assert mine


def test_a_lock_that_cannot_be_had_stops_nothing(folder: Path) -> None:
    (folder / "x.lock").mkdir()
    with passes.alone("x") as mine:
        assert mine


def test_notices_go_in_one_pass_at_a_time(cast: Cast) -> None:
    _queue(cast.ada)
    with passes.alone("notices"):
        assert notices.deliver_due(NOON) == 0
    assert mail.outbox == []
    assert notices.deliver_due(NOON) == 1


def test_what_is_queued_while_a_pass_is_on_goes_with_it(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    send, queued = EmailMessage.send, []

    def queue_more(message: EmailMessage, *rest: Any) -> int:
        if not queued:
            queued.append(cast.ben)
            _queue(cast.ben)
        return send(message, *rest)

    monkeypatch.setattr(EmailMessage, "send", queue_more)
    _queue(cast.ada)
    assert notices.deliver_due(NOON) == 2


def test_an_asked_for_pass_is_dropped_where_the_workers_are_busy(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(doorbell, "answers", lambda: True)
    monkeypatch.setattr(
        later.current_app, "send_task", lambda name, **how: sent.append({"name": name, **how})
    )
    with django_capture_on_commit_callbacks(execute=True):
        _queue(cast.ada)
    assert {"name": "breakglass.send_notices", "args": (), "eta": None, "expires": 10} in sent


def test_what_one_service_raises_stops_no_other() -> None:
    ran: list[datetime] = []

    def bad(now: datetime) -> None:
        raise ZeroDivisionError

    passes.each((bad, ran.append), NOON)
    assert ran == [NOON]


def test_a_bad_service_stops_no_other_of_the_sweeps(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(now: datetime) -> None:
        raise ZeroDivisionError

    ran: list[str] = []
    monkeypatch.setattr(grants, "expire_due", bad)
    monkeypatch.setattr(extensions, "withdraw_moot", lambda now: ran.append("moot"))
    monkeypatch.setattr(watching, "sweep", bad)
    monkeypatch.setattr(data_plane, "escalate_overdue", lambda now: ran.append("overdue"))
    tasks.sweep()
    data_tasks.sweep()
    assert ran == ["moot", "overdue"]


def test_one_bad_row_stops_no_other_but_the_database_away_does() -> None:
    seen: list[int] = []

    def act(row: int) -> bool:
        seen.append(row)
        if row == 1:
            raise ZeroDivisionError
        if row == 3:
            raise OperationalError("gone")
        return True

    assert passes.count(act, [0, 1, 2]) == 2
    seen.clear()
    with pytest.raises(OperationalError):
        passes.count(act, [2, 3, 4])
    assert seen == [2, 3]
