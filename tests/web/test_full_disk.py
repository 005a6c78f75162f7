"""A full disk seen from the page and the API: reading goes on, a write is refused in words, nothing is half done."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import OperationalError, connection
from django.test import Client

from breakglass import clock, space
from breakglass.models import Incident
from breakglass.services import tokens
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene

WRITES = ("INSERT", "UPDATE", "DELETE")


@pytest.fixture
def full(scene: Scene) -> Iterator[Callable[[], Any]]:
    """A context in which the database answers each write as SQLite does on a full disk."""

    def refuse(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().upper().startswith(WRITES):
            raise OperationalError("database or disk is full") from sqlite3.OperationalError(
                "database or disk is full"
            )
        return execute(sql, params, many, context)

    yield lambda: connection.execute_wrapper(refuse)


def test_pages_are_read_and_a_write_is_refused_in_words(
    scene: Scene, enter: Enter, full: Callable[[], Any]
) -> None:
    rita = enter("rita")
    rita.raise_request_exception = False
    before = Incident.objects.count()
    with full():
        for path in ("/", "/sessions/", "/playbooks/"):
            assert rita.get(path).status_code == 200
        answer = rita.post("/incidents/open/", {"title": "Historian down"})
    assert answer.status_code == 507
    text = answer.content.decode()
    assert "disk_full" in text and "An administrator must free some space" in text
    assert "Traceback" not in text
    assert Incident.objects.count() == before


def test_the_api_says_disk_full(scene: Scene, full: Callable[[], Any]) -> None:
    _, token = tokens.issue_known(stage.person("rita"), "test", clock.now())
    client = Client(headers={"authorization": f"Bearer {token}"})
    with full():
        answer = client.post(
            "/api/v1/incidents", {"title": "Historian down"}, content_type="application/json"
        )
    assert answer.status_code == 507
    assert answer.json()["refusal"] == "disk_full"


@pytest.fixture
def recordings(settings: Any, tmp_path: Path) -> Path:
    settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"data_dir": tmp_path})
    folder: Path = tmp_path / "recordings"
    folder.mkdir()
    return folder


def test_every_page_warns_where_there_is_no_room_for_another_session(
    scene: Scene, enter: Enter, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rita = enter("rita")
    assert "No session can begin now" not in rita.get("/").content.decode()
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=1 << 10, f_frsize=1 << 10))
    for path in ("/", "/sessions/"):
        page = rita.get(path).content.decode()
        assert "No session can begin now" in page and "only 1 MiB are free" in page


def test_the_reserve_counts_as_room_only_while_it_is_held(tmp_path: Path) -> None:
    least = django_settings.BREAKGLASS.disk_reserve_mib << 20
    assert space.shortage(tmp_path, least, least)
    assert not space.shortage(tmp_path, least, 2 * least)
    (tmp_path / space.RESERVE).touch()
    os.truncate(tmp_path / space.RESERVE, least)
    assert not space.shortage(tmp_path, least, least)
    assert space.shortage(tmp_path, least, least - 1)


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(28, "No space left on device"), True),
        (OperationalError("database or disk is full"), True),
        (OperationalError('could not extend file "base/1": No space left on device'), True),
        (OSError(13, "Permission denied"), False),
        (OperationalError("database is locked"), False),
    ],
)
def test_what_comes_of_a_full_disk_is_known(error: Exception, full: bool) -> None:
    wrapped = RuntimeError("something of ours")
    wrapped.__cause__ = error
    assert space.is_full_disk(error) is full
    assert space.is_full_disk(wrapped) is full
