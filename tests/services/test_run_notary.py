"""`manage.py run_notary`: a process with a key of its own, which ends rather than sign what contradicts it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction

from breakglass.domain.audit import AuditTag
from breakglass.management.commands import run_notary
from breakglass.models import AuditAnchor, AuditCheckpoint, AuditEvent, Notice
from breakglass.services import audit, notary
from breakglass.services.notes import make_key, opened, read_key
from tests.services.test_notary import execute, forge_all, rows, unprotected
from tests.support.cast import Cast
from tests.support.clock import NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_key(tmp_path / "key", "broker.example/audit")
    return tmp_path / "key"


def run(key: Path, anchors: str = "") -> str:
    out = io.StringIO()
    call_command("run_notary", key_file=str(key), anchors=anchors, once=True, stdout=out, stderr=out)
    return out.getvalue()


def test_it_signs_what_is_there_and_carries_it_to_the_anchors(key: Path, tmp_path: Path) -> None:
    rows(3)
    said = run(key, f"file://{tmp_path}/one,file://{tmp_path}/other")
    point = AuditCheckpoint.objects.get()
    signer = read_key(key)
    assert said == f"notary {signer.key}\n"
    assert opened(point.note, signer.key)[0].size == 4
    assert (tmp_path / "one").read_text() == (tmp_path / "other").read_text() == point.note + "\n"
    assert set(AuditAnchor.objects.values_list("size", flat=True)) == {4}


def test_an_anchor_that_is_away_does_not_keep_it_from_the_others(key: Path, tmp_path: Path) -> None:
    rows(3)
    run(key, f"file://{tmp_path}/none/there,file://{tmp_path}/other")
    assert (tmp_path / "other").exists()
    assert "No such file" in AuditAnchor.objects.get(name__contains="none").problem


def test_what_it_signed_lies_beside_its_key_for_its_owner_alone(key: Path) -> None:
    run(key)
    memory = key.with_name("key.signed")
    assert memory.stat().st_mode & 0o777 == 0o600
    assert json.loads(memory.read_text())["size"] == 1


@pytest.mark.parametrize("mode", [0o640, 0o644])
def test_a_key_that_others_may_read_is_refused(key: Path, mode: int) -> None:
    key.chmod(mode)
    with pytest.raises(CommandError, match="others than its owner may read it") as caught:
        run(key)
    assert caught.value.returncode == 2


def test_no_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        run(tmp_path / "none")


def test_two_with_one_key_are_one_too_many(key: Path) -> None:
    with run_notary._alone(key), pytest.raises(CommandError, match="another notary runs"):
        run(key)


def test_a_contradiction_ends_it_with_its_code_and_tells_those_who_watch(key: Path, cast: Cast) -> None:
    rows(5)
    run(key)
    signed = AuditCheckpoint.objects.count()
    forge_all(AuditEvent.objects.count())
    for _ in range(2):  # started again, as by systemd
        with pytest.raises(SystemExit) as ended:
            run(key)
        assert ended.value.code == 3
    assert AuditCheckpoint.objects.count() == signed
    assert Notice.objects.filter(topic="audit", person__username="otto").count() == 1
    assert AuditEvent.objects.filter(tag=AuditTag.NOTARY_REFUSED).count() == 1


def test_an_alarm_that_the_trail_can_not_take_still_ends_it(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(5)
    run(key)
    with unprotected():
        execute("UPDATE breakglass_auditevent SET subject = 'x' WHERE seq = 2")

    def broken(*_: object) -> None:
        raise DatabaseError("nothing goes")

    monkeypatch.setattr(notary, "raise_alarm", broken)
    with pytest.raises(SystemExit) as ended:
        run(key)
    assert ended.value.code == 3


def test_a_database_that_is_away_is_waited_for(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop goes on; here it is stopped after a few rounds."""
    from threading import Event

    stop, rounds = Event(), []
    work = run_notary._Work(notary.Notary(read_key(key), notary.Memory(key.with_name("m"))), stop)

    def turn(*_: Any) -> None:
        rounds.append(1)
        if len(rounds) > 2:
            stop.set()
        raise DatabaseError("away")

    monkeypatch.setattr(work, "_turn", turn)
    monkeypatch.setattr(run_notary, "close_old_connections", lambda: None)
    work.run("", 0.01, once=False)
    assert len(rounds) == 3


def test_a_made_key_is_printed_by_its_public_half(tmp_path: Path) -> None:
    out = io.StringIO()
    call_command("make_notary_key", str(tmp_path / "k"), "--name", "a.example/audit", stdout=out)
    assert out.getvalue().strip() == str(read_key(tmp_path / "k").key)
    assert "PRIVATE" not in out.getvalue()
    with pytest.raises(CommandError, match="File exists"):
        call_command("make_notary_key", str(tmp_path / "k"), stdout=out)
    for wrong in ("a b", "a+b", ""):
        with pytest.raises(CommandError):
            call_command("make_notary_key", str(tmp_path / "x"), "--name", wrong or " ", stdout=out)


def test_a_row_after_the_checkpoint_is_under_the_next(key: Path) -> None:
    run(key)
    with transaction.atomic():
        audit.append(AuditTag.LOGOUT, actor=None, subject="x", now=NOON)
    run(key)
    assert list(AuditCheckpoint.objects.values_list("size", flat=True)) == [2, 1]
