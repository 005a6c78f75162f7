"""`manage.py export_audit` and verify.py: the whole trail in a stranger's hands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from breakglass.models import AuditCheckpoint
from sessions.evidence import bundle
from tests.evidence.house import SIGNER, House, stranger

PROGRAM = bundle.VERIFIER


@pytest.fixture
def folder(done: House) -> Path:
    made = done.folder / "export"
    call_command("export_audit", str(made))
    return made


def rewrite(folder: Path, lines: list[dict[str, object]]) -> None:
    (folder / "trail.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def lines_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "trail.jsonl").read_text().splitlines()]


def test_a_whole_trail_is_intact_and_the_doubt_is_named(folder: Path) -> None:
    told = stranger(folder / "verify.py")
    assert told.code == 0, told.says
    assert "each follows from the one before" in told.says
    assert "came along with it" in told.says
    kept = folder.parent / "kept.txt"
    kept.write_text(AuditCheckpoint.objects.latest("size").note)
    told = stranger(
        PROGRAM, folder / "trail.jsonl", "--checkpoint", kept, "--checkpoint-key", str(SIGNER.key)
    )
    assert told.code == 0, told.says
    assert "are those of your checkpoint" in told.says
    assert "unknown" not in told.says.replace("unknown about rows after", "")


def test_without_a_checkpoint_it_says_that_a_cut_can_not_be_seen(folder: Path) -> None:
    (folder / "checkpoint.txt").unlink()
    rewrite(folder, lines_of(folder)[:-1])
    told = stranger(PROGRAM, folder / "trail.jsonl")
    assert (told.code, "whether rows were cut off" in told.says) == (0, True)


def test_each_kind_of_damage_has_its_code_and_its_place(folder: Path) -> None:
    lines = lines_of(folder)
    body = str(lines[4]["body"])
    rewrite(
        folder,
        [
            *lines[:4],
            lines[4] | {"body": body.replace("rita", "rota").replace('"at":"2', '"at":"3')},
            *lines[5:],
        ],
    )
    told = stranger(PROGRAM, folder)
    assert (told.code, "audit row 5 is broken" in told.says) == (1, True), told.says
    rewrite(folder, [*lines[:7], *lines[8:]])
    told = stranger(PROGRAM, folder)
    assert (told.code, "audit row 8 is missing" in told.says) == (1, True)
    size = AuditCheckpoint.objects.latest("size").size
    rewrite(folder, lines[: size - 2])
    told = stranger(PROGRAM, folder)
    assert (told.code, f"truncated: the checkpoint beside it has {size} rows" in told.says) == (3, True)


def test_a_trail_that_was_written_anew_is_forked(folder: Path) -> None:
    from sessions.evidence import verify

    previous, made = verify.GENESIS, []
    for line in lines_of(folder):
        body = str(line["body"]).replace('"at":"2', '"at":"3')
        made.append(
            {
                "seq": line["seq"],
                "previous": previous,
                "body": body,
                "hash": verify.row_hash(previous, body.encode()),
            }
        )
        previous = str(made[-1]["hash"])
    rewrite(folder, made)
    told = stranger(PROGRAM, folder)
    assert (told.code, "forked" in told.says) == (4, True), told.says


def test_a_forged_checkpoint_shows(folder: Path) -> None:
    note = folder / "checkpoint.txt"
    text = note.read_text()
    note.write_text(text.replace(text.split("\n")[2], "A" * 43 + "="))
    told = stranger(PROGRAM, folder)
    assert told.code == 4
    assert "its signature isn't of key broker.example/audit" in told.says


def test_no_folder_is_written_over(folder: Path) -> None:
    with pytest.raises(CommandError) as caught:
        call_command("export_audit", str(folder))
    assert caught.value.returncode == 2


def test_of_many_checkpoints_the_newest_counts(folder: Path) -> None:
    """What an anchor kept is one after the other: the first alone would let the rest be cut off."""
    own = (folder / "checkpoint.txt").read_text()
    name, size = own.split("\n")[:2]
    later = own.replace(f"\n{size}\n", f"\n{int(size) + 100}\n")
    kept = folder.parent / "kept.txt"
    kept.write_text(own + "\n" + later + "\n")
    told = stranger(PROGRAM, folder, "--checkpoint", kept)
    assert told.code == 3, told.says
    assert f"your checkpoint has {int(size) + 100} rows" in told.says
    kept.write_text(own + "\n" + own + "\n")
    told = stranger(PROGRAM, folder, "--checkpoint", kept, "--checkpoint-key", folder / "notary.key")
    assert told.code == 0, told.says
    assert name in told.says
