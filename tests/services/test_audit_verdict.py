"""`verify_audit` before somebody who owns the database: each edit is caught, and what can't be known is said."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from breakglass.domain.audit import AuditTag
from breakglass.models import AuditCheckpoint, AuditEvent
from breakglass.models.audit_triggers import UNPROTECT
from breakglass.services import audit, audit_verdict
from breakglass.services.anchors import anchor_of
from breakglass.services.audit_verdict import Code
from breakglass.services.notary import Memory, Notary
from breakglass.services.notes import Signer
from tests.services.test_notary import execute, forge_all, rows, unprotected
from tests.support.clock import NOON

pytestmark = pytest.mark.django_db
SIGNER = Signer("broker.example/audit", bytes(range(32)))
THIEF = Signer("broker.example/audit", bytes(32))
OFF = {"no_recordings": True}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A trail of 10 rows, all of them signed, and what an anchor has of it."""
    sign(tmp_path / "key.signed", SIGNER)
    rows(9)
    anchor = tmp_path / "anchor"
    anchor_of(f"file://{anchor}").send(sign(tmp_path / "key.signed", SIGNER), NOON)
    return anchor


def sign(memory: Path, signer: Signer) -> str:
    clerk = Notary(signer, Memory(memory))
    clerk.begin(NOON)
    clerk.look(NOON)
    return clerk.last.note


def run(*words: str, **options: Any) -> tuple[int, str]:
    """The exit code, and everything that was said."""
    out = io.StringIO()
    try:
        call_command("verify_audit", *words, stdout=out, stderr=out, processes=1, **{**OFF, **options})
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue()
    return 0, out.getvalue()


def anchored(monkeypatch: pytest.MonkeyPatch, *addresses: object) -> None:
    config = django_settings.BREAKGLASS.model_copy(update={"audit_anchors": ",".join(map(str, addresses))})
    monkeypatch.setattr(django_settings, "BREAKGLASS", config)


def test_an_intact_trail_is_said_to_be_and_what_is_not_known_too(kept: Path) -> None:
    rows(2)
    code, said = run(checkpoint=[str(kept)], vkey=[str(SIGNER.key)])
    assert code == 0
    assert "OK: 12 rows" in said
    assert "signed: the first 10 rows, 10 of them outside" in said
    assert "can't be known: whether rows 11 to 12 were changed since" in said
    assert "key was stolen" in said
    assert "recordings" in said


def test_without_anything_from_outside_it_says_so(kept: Path) -> None:
    code, said = run()
    assert code == 0
    assert "nothing outside of this database was asked" in said
    assert "it is taken from the trail itself" in said


EDITS = {
    "a row updated": ("UPDATE breakglass_auditevent SET subject = 'x' WHERE seq = 4", Code.BROKEN, "row 4 was changed"),
    "a column set to another actor": (
        "UPDATE breakglass_auditevent SET actor_name = 'rita' WHERE seq = 4", Code.BROKEN, "row 4 was changed"),
    "a row deleted": ("DELETE FROM breakglass_auditevent WHERE seq = 4", Code.BROKEN, "row 4 is missing"),
    "the last rows deleted": ("DELETE FROM breakglass_auditevent WHERE seq > 6", Code.TRUNCATED, "row 7 is missing"),
    "emptied": ("DELETE FROM breakglass_auditevent", Code.TRUNCATED, "row 1 is missing"),
    "the head moved": ("UPDATE breakglass_audithead SET seq = 6", Code.BROKEN, "head"),
    "the head removed": ("DELETE FROM breakglass_audithead", Code.BROKEN, "head"),
    "a checkpoint's note changed": (
        "UPDATE breakglass_auditcheckpoint SET note = replace(note, '/audit', '/audio')", Code.CHECKPOINT, "10 rows"),
    "a row turned into one of the notary's": (
        "UPDATE breakglass_auditevent SET tag = 'audit:notary:started' WHERE seq = 4", Code.BROKEN, "row 4 was changed"),
    "the row that names the notary's key made unreadable": (
        "UPDATE breakglass_auditevent SET body = previous_hash WHERE seq = 1", Code.BROKEN, "row 1 was changed"),
    "the head moved out of sight": (
        "UPDATE breakglass_audithead SET seq = 9000000000000000000", Code.TRUNCATED, "row 11 is missing"),
    "a checkpoint's edge changed": (
        "UPDATE breakglass_auditcheckpoint SET edge = root WHERE size = 10", Code.CHECKPOINT, "signed note"),
    "a checkpoint's column changed": (
        "UPDATE breakglass_auditcheckpoint SET size = 9 WHERE size = 10", Code.CHECKPOINT, "signed note"),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_each_edit_of_a_superuser_is_caught_and_named(edit: str, kept: Path) -> None:
    statement, code, words = EDITS[edit]
    with unprotected():
        execute(statement)
    found, said = run(checkpoint=[str(kept)])
    assert found == code, said
    assert words in said


TYPES = {
    "UPDATE breakglass_auditevent SET body = replace(body, 'a', 'b') WHERE seq = 4": "row 4 was changed",
    "UPDATE breakglass_auditevent SET body = 5 WHERE seq = 4": "row 4 was changed",
    "UPDATE breakglass_auditevent SET subject = x'ff00' WHERE seq = 4": "row 4 was changed",
    "UPDATE breakglass_auditevent SET hash = lower(hex(hash)) WHERE seq = 4": "row 4 was changed",
    "UPDATE breakglass_auditevent SET previous_hash = hex(previous_hash) WHERE seq = 4": "row 4 doesn't follow",
    "UPDATE breakglass_audithead SET hash = lower(hex(hash))": "head",
    "UPDATE breakglass_auditcheckpoint SET root = 'x'": "signed note",
    "UPDATE breakglass_auditcheckpoint SET note = x'ff00'": "signed note",
}


@pytest.mark.parametrize("statement", TYPES)
def test_what_an_edit_turned_into_another_type_is_named_too(statement: str, kept: Path) -> None:
    """SQLite keeps what it is given: an edit by hand leaves text where there were bytes."""
    if connection.vendor != "sqlite":
        return  # PostgreSQL holds columns to their types
    with unprotected():
        execute(statement)
    code, said = run(checkpoint=[str(kept)])
    assert code in (Code.BROKEN, Code.CHECKPOINT), said
    assert TYPES[statement] in said


def test_a_trail_written_anew_with_head_and_all_is_caught_by_the_stored_checkpoints(kept: Path) -> None:
    forge_all(10)
    code, said = run()
    assert code == Code.FORKED
    assert "the trail's first 10 rows aren't those that were signed" in said
    assert "the chain holds in itself" in said


def _rewritten(signer: Signer, folder: Path) -> None:
    """Rows, head and checkpoints made anew, and signed with whatever key the thief has."""
    size = AuditEvent.objects.count()
    with unprotected():
        execute("DELETE FROM breakglass_auditcheckpoint")
    forge_all(size)
    sign(folder / "thief.signed", signer)


def test_rewritten_checkpoints_too_are_caught_by_the_signature(kept: Path, tmp_path: Path) -> None:
    _rewritten(THIEF, tmp_path)
    code, said = run(vkey=[str(SIGNER.key)])
    assert code == Code.CHECKPOINT
    assert "isn't signed by a key that is known here" in said


@pytest.mark.parametrize("thief", [THIEF, SIGNER], ids=["another key", "the stolen key"])
def test_a_whole_rewrite_is_caught_by_the_anchor_whoever_signed_it(
    thief: Signer, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _rewritten(thief, tmp_path)
    anchored(monkeypatch, f"file://{kept}")
    code, said = run()
    assert code == Code.FORKED, said
    assert str(kept) in said


def test_a_whole_trail_cut_short_and_signed_anew_is_caught_by_the_anchor(kept: Path, tmp_path: Path) -> None:
    with unprotected():
        execute("DELETE FROM breakglass_auditcheckpoint")
    forge_all(4)
    code, said = run(checkpoint=[str(kept)])
    assert code == Code.TRUNCATED
    assert "is of 10 rows; the trail has only 4" in said


def test_an_anchor_that_does_not_answer_is_said_and_has_its_own_code(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchored(monkeypatch, f"file://{kept}", f"file://{kept}-none", "syslog://127.0.0.1:9")
    code, said = run()
    assert code == Code.ANCHOR
    assert f"{kept}-none can't be read" in said
    assert "what the anchor syslog://127.0.0.1:9 kept: it only takes" in said
    assert run("--no-anchors")[0] == 0


def test_a_recording_that_is_missing_has_its_own_code(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost:
        name, verdict, what = "S-7", "damaged", "the sealed file is missing"

    monkeypatch.setattr(audit_verdict, "import_string", lambda _: lambda: [Lost()])
    code, said = run(no_recordings=False)
    assert code == Code.RECORDING
    assert "RECORDING: recording S-7: the sealed file is missing" in said


def test_a_recording_that_can_not_be_asked_about_is_not_called_whole(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        name, verdict, what = "S-8", "unknown", "the object store doesn't answer"

    monkeypatch.setattr(audit_verdict, "import_string", lambda _: lambda: [Away()])
    code, said = run(no_recordings=False)
    assert code == 0
    assert "can't be known: whether the recording S-8 is whole: the object store" in said


def test_the_gravest_of_several_is_the_code(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anchored(monkeypatch, f"file://{kept}-none")
    with unprotected():
        execute("UPDATE breakglass_auditevent SET subject = 'x' WHERE seq = 4")
    code, said = run()
    assert code == Code.BROKEN
    assert "ANCHOR" in said


def test_a_missing_trigger_is_warned_of(kept: Path) -> None:
    assert "is missing: rows could be changed" not in run()[1]
    with unprotected():
        assert "is missing: rows could be changed" in run()[1]


NOTHING = {
    "sqlite": [
        "DROP TRIGGER audit_no_update",
        "CREATE TRIGGER audit_no_update BEFORE UPDATE ON breakglass_auditevent WHEN 0 "
        "BEGIN SELECT RAISE(ABORT, 'audit rows are never updated'); END",
    ],
    "postgresql": [
        "DROP TRIGGER breakglass_auditevent_no_change ON breakglass_auditevent",
        "CREATE TRIGGER breakglass_auditevent_no_change BEFORE UPDATE OR DELETE ON breakglass_auditevent "
        "FOR EACH ROW WHEN (false) EXECUTE FUNCTION audit_append_only()",
    ],
}


def test_a_trigger_of_the_right_name_that_does_nothing_is_warned_of(kept: Path) -> None:
    assert "isn't the one that was made" not in run()[1]
    execute(*NOTHING[connection.vendor])
    assert "_update isn't the one" in run()[1] or "_no_change isn't the one" in run()[1]


def test_a_triggers_function_that_does_nothing_is_warned_of(kept: Path) -> None:
    if connection.vendor == "sqlite":
        return  # a trigger there is its own program
    execute(
        "CREATE OR REPLACE FUNCTION audit_in_order() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NEW; END $$"
    )
    assert "the trigger audit_in_order isn't the one that was made" in run()[1]


GONE = {
    "DROP TABLE breakglass_auditevent": (Code.TRUNCATED, "the table breakglass_auditevent is missing"),
    "DROP TABLE breakglass_audithead": (Code.BROKEN, "the table breakglass_audithead is missing"),
    "DROP TABLE breakglass_auditcheckpoint": (Code.CHECKPOINT, "breakglass_auditcheckpoint is missing"),
    "ALTER TABLE breakglass_auditevent RENAME COLUMN body TO words": (Code.TRUNCATED, "has no column body"),
    "ALTER TABLE breakglass_auditcheckpoint RENAME TO x": (Code.CHECKPOINT, "breakglass_auditcheckpoint is missing"),
}  # fmt: skip


@pytest.mark.parametrize("statement", GONE)
def test_a_table_that_is_gone_has_a_verdict(statement: str, kept: Path) -> None:
    code, words = GONE[statement]
    with transaction.atomic():
        execute(*UNPROTECT[connection.vendor], statement)
        found, said = run(checkpoint=[str(kept)])
        transaction.set_rollback(True)
    assert found == code, said
    assert words in said


def test_a_break_is_said_before_the_fork_that_hangs_on_it(kept: Path) -> None:
    """Only whole rows can be others than those that were signed."""
    kept.write_text(SIGNER.sign(f"broker.example/audit\n1\n{'A' * 43}=\n"))
    with unprotected():
        execute("UPDATE breakglass_auditevent SET subject = 'x' WHERE seq = 10")
    code, said = run(checkpoint=[str(kept)], vkey=[str(SIGNER.key)])
    assert code == Code.BROKEN, said
    assert said.index("BROKEN: row 10") < said.index("FORKED")


@pytest.mark.parametrize(
    "words", [["--vkey", "x+y"], ["--checkpoint", "/none"], ["--checkpoint", "/dev/null"]]
)
def test_what_can_not_be_understood_is_code_2(words: list[str]) -> None:
    with pytest.raises(CommandError) as caught:
        run(*words)
    assert caught.value.returncode == 2


def test_every_stored_checkpoint_is_held_against_the_rows(tmp_path: Path) -> None:
    for _ in range(4):
        rows(3)
        sign(tmp_path / "m", SIGNER)
    middle = AuditCheckpoint.objects.order_by("size")[1]
    false = SIGNER.sign(f"broker.example/audit\n{middle.size}\n{'A' * 43}=\n")
    with unprotected():
        execute(f"UPDATE breakglass_auditcheckpoint SET note = '{false}' WHERE size = {middle.size}")
    code, said = run()
    assert code == Code.FORKED
    assert f"the stored checkpoint of {middle.size} rows" in said


def test_appending_and_checking_go_together(kept: Path) -> None:
    with transaction.atomic():
        audit.append(AuditTag.LOGOUT, actor=None, subject="x", now=NOON)
    assert run()[0] == 0


@pytest.mark.parametrize("bytes_left", [20, -30, -1])
def test_a_torn_checkpoint_in_an_anchor_is_said_and_spoils_none_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Path, bytes_left: int
) -> None:
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1][:bytes_left])
    rows(3)
    anchor_of(f"file://{kept}").send(sign(tmp_path / "key.signed", SIGNER), NOON)
    anchored(monkeypatch, f"file://{kept}")
    code, said = run()
    if bytes_left == -1:  # only its last newline is missing
        assert code == Code.INTACT, said
    else:
        assert code == Code.ANCHOR, said
        assert "torn by a crash" in said
    assert "13 rows" in said or "are anchored" in said or code == Code.INTACT
