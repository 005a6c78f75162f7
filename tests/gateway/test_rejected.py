"""What a gateway had to put aside is written after all, once, when a release or a database knows better."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError

from breakglass.models import AuditEvent
from sessions.gateway import entries, rejected
from sessions.gateway import journal as journals
from sessions.gateway.entries import Kind, to_json
from sessions.gateway.journal import new_path, parse, spell
from sessions.gateway.replay import replay
from sessions.gateway.writing import Writer
from sessions.models import JournalPosition

pytestmark = pytest.mark.django_db(transaction=True)

NOON = "2026-11-16T12:00:00+00:00"


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"data_dir": tmp_path})
    return journals.folder()


def note(number: int) -> dict[str, Any]:
    """An entry that can be counted."""
    return {"tag": "gateway:clock:stepped", "subject": "gateway:gw-9", "data": {"n": number}, "at": NOON}


def noted() -> list[int]:
    rows = AuditEvent.objects.filter(tag="gateway:clock:stepped").order_by("seq")
    return [row.data["n"] for row in rows]


def knows_no(numbers: Sequence[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A database whose tables aren't those of this release yet, as far as these entries are concerned."""
    writes = entries.write

    def write(given: Sequence[tuple[str, Any]]) -> None:
        if any(data["data"]["n"] in numbers for _, data in given):
            raise ProgrammingError('relation "gateway_future" does not exist')
        writes(given)

    monkeypatch.setattr(entries, "write", write)


@pytest.fixture
def aside(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of four entries of a dead gateway the second and the fourth were put aside."""
    path = new_path("gw-9")
    path.write_bytes(b"".join(spell(n, Kind.AUDIT, to_json(note(n))) for n in range(1, 5)))
    with monkeypatch.context() as before:
        knows_no([2, 4], before)
        assert replay(lambda name: name == "gw-9") == 4
    assert noted() == [1, 3]
    return path.with_suffix(".rejected")


def run() -> str:
    out = StringIO()
    call_command("replay_journal", stdout=out, stderr=out)
    return out.getvalue()


def test_what_was_put_aside_is_written_once_and_is_out_of_the_way(aside: Path, folder: Path) -> None:
    assert "2 written, 0 left aside" in run()
    assert noted() == [1, 3, 2, 4]
    assert list(folder.iterdir()) == [] and not JournalPosition.objects.exists()
    assert "0 written, 0 left aside" in run()
    assert noted() == [1, 3, 2, 4]
    assert replayed() == [2, 4]


def replayed() -> list[int]:
    """What the trail says came late."""
    rows = AuditEvent.objects.filter(tag="gateway:journal:replayed", subject="gateway:journal").order_by(
        "seq"
    )
    assert {(row.data["journal"].partition("+")[0], row.data["kind"]) for row in rows} == {
        ("gw-9", Kind.AUDIT)
    }
    return [row.data["entry"] for row in rows]


def test_one_that_still_cannot_be_written_stays_and_drops_no_neighbour(
    aside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = aside.stat()
    with monkeypatch.context() as still:
        knows_no([2], still)
        with pytest.raises(SystemExit) as code:
            run()
    assert code.value.code == 1 and noted() == [1, 3, 4]
    assert [parse(raw).seq for raw in aside.read_bytes().splitlines(keepends=True)] == [2]
    after = aside.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert "1 written, 0 left aside" in run()
    assert noted() == [1, 3, 4, 2] and not JournalPosition.objects.exists()


def test_a_replay_that_dies_between_the_database_and_the_file_writes_nothing_twice(
    aside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dies:
        dies.setattr(rejected, "_take_out", lambda *_: None)
        run()
    assert aside.exists()
    run()
    assert noted() == [1, 3, 2, 4] and not aside.exists() and not JournalPosition.objects.exists()


def test_what_a_living_gateway_puts_aside_meanwhile_is_kept(aside: Path) -> None:
    fresh = parse(spell(9, Kind.AUDIT, to_json(note(9))))
    living = Writer(aside.with_suffix(".journal"))
    rejected.retry_all(lambda _: living._keep(fresh))
    assert noted() == [1, 3, 2, 4]
    assert aside.read_bytes() == fresh.raw


def test_what_the_trail_does_not_call_put_aside_is_left_alone(aside: Path) -> None:
    """Its gateway died between the file and the trail: the next start may have written it."""
    with aside.open("ab") as file:
        file.write(spell(3, Kind.AUDIT, to_json(note(3))))
    with pytest.raises(SystemExit):
        run()
    assert noted() == [1, 3, 2, 4]


def test_two_replays_do_not_run_at_once(aside: Path, folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(CommandError, match="another process"):
            run()
    finally:
        os.close(descriptor)
    assert noted() == [1, 3]
