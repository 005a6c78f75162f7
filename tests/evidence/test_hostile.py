"""verify.py before bundles and folders that were made to hurt whoever checks them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sessions.evidence import bundle, sshsig, zipped
from sessions.evidence.case import as_json
from sessions.evidence.zipped import Member, measure
from sessions.services import evidence
from sessions.services.recordings import store
from tests.evidence.house import House, stranger, unpacked
from tests.evidence.test_verifier import PROGRAM, check, files_of, rebuilt


@pytest.fixture
def data(done: House) -> bytes:
    return done.zipped()


def test_no_file_of_the_reader_is_opened_because_a_bundle_names_it(data: bytes, tmp_path: Path) -> None:
    """As a key's place /dev/zero would never end, and a secret would be shown."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    for place in ("/dev/zero", str(secret), 1):
        files = files_of(data)
        manifest = json.loads(files["manifest.json"])
        manifest["keys"]["checkpoint"] = place
        files["manifest.json"] = as_json(manifest)
        told = check(tmp_path, rebuilt(files))
        assert told.code, told.says
        assert "hunter2" not in told.says


def test_a_link_in_a_folder_is_not_followed(data: bytes, tmp_path: Path) -> None:
    for number, name in enumerate(("report.html", "manifest.json", "audit/checkpoint.txt")):
        folder = unpacked(tmp_path / str(number), data)
        (folder / name).unlink()
        (folder / name).symlink_to("/dev/zero")
        told = stranger(PROGRAM, folder)
        assert told.code == 8, told.says
        assert f"{name} is no plain file" in told.says


def test_a_pipe_in_a_folder_is_not_waited_for(data: bytes, tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "piped", data)
    (folder / "report.pdf").unlink()
    os.mkfifo(folder / "report.pdf")
    assert stranger(PROGRAM, folder).code == 8


def test_a_file_that_is_listed_again_and_again_is_read_once(data: bytes, tmp_path: Path) -> None:
    files = files_of(data)
    told = check(tmp_path, rebuilt(files | {"README.txt": files["README.txt"]}))
    assert told.code == 0
    manifest = json.loads(files["manifest.json"])
    manifest["files"] += manifest["files"][:1]
    text = as_json(manifest)
    signed = {
        "manifest.json": text,
        "manifest.json.sig": sshsig.sign(text, evidence.evidence_key(), bundle.NAMESPACE),
    }
    again = b"".join(zipped.pieces([measure(Member.of(*pair)) for pair in (files | signed).items()]))
    told = check(tmp_path, again)
    assert told.code == 8
    assert "twice" in told.says


def test_a_terminal_that_knows_few_letters_is_no_traceback(data: bytes, tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "letters", data)
    (folder / "f\u00fcr dich.txt").write_text("x")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-X", "utf8=0", PROGRAM, folder],
        capture_output=True, timeout=120, check=False, env={"PATH": "/usr/bin:/bin", "LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"},
    )  # fmt: skip
    assert b"Traceback" not in done.stderr, done.stderr
    assert done.returncode == 8
    assert b"was added" in done.stdout


def test_what_the_house_was_alarmed_by_is_said(done: House) -> None:
    store().sealed_path(done.session.pk).unlink()
    told = check(done.folder, done.zipped())
    assert f"the house says: The recording of {done.session.label} is not in this bundle" in told.says


def test_that_the_report_is_only_signed_is_said(data: bytes, tmp_path: Path) -> None:
    told = check(tmp_path, data)
    assert "unknown if the report" in told.says
