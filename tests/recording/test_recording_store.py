"""Recordings lie in private folders, under names made of session ids; what is unfinished is found."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from sessions.recording.recorder import Recorder, RecordingFailed
from sessions.recording.store import OpenRecording, Store
from tests.recording.scene import HEADER, REPOSITORY

HOLDER = """
import sys, time
from pathlib import Path
from sessions.recording.recorder import Recorder
recorder = Recorder(Path(sys.argv[1]), {}, clock=time)
print("recording", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.prepare()
    return store


def test_folders_are_private_even_where_somebody_opened_them(store: Store) -> None:
    (store.root / "open").chmod(0o755)
    store.prepare()
    for folder in (store.root, store.root / "open", store.root / "sealed"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_names_come_from_session_ids_alone(store: Store) -> None:
    session_id = uuid.uuid4()
    assert store.open_path(session_id).parent == store.root / "open"
    assert str(session_id) in store.sealed_path(session_id).name
    for evil in ("../../etc/passwd", "x/../y", ""):
        with pytest.raises(ValueError, match="badly formed"):
            store.open_path(evil)  # type: ignore[arg-type]


def test_it_refuses_below_the_reserve_and_says_so(small_disk: Path) -> None:
    store = Store(small_disk, least_free=2 << 20)
    store.prepare()
    store.check_space()
    (small_disk / "ballast").write_bytes(b"x" * (3 << 20))
    with pytest.raises(RecordingFailed, match="are free where recordings are kept") as failure:
        store.check_space()
    assert failure.value.no_space


def test_it_refuses_where_the_folder_is_gone(tmp_path: Path) -> None:
    with pytest.raises(RecordingFailed):
        Store(tmp_path / "nowhere").check_space()


def test_the_recordings_of_the_dead_are_told_from_those_of_the_living(store: Store) -> None:
    mine, theirs, dead = sorted(uuid.uuid4() for _ in range(3))
    recorder = Recorder(store.open_path(mine), HEADER, clock=time)
    command = [sys.executable, "-c", HOLDER]
    with (
        subprocess.Popen(
            [*command, store.open_path(theirs)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
        ) as living,
        subprocess.Popen(
            [*command, store.open_path(dead)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
        ) as dying,
    ):
        for process in (living, dying):
            assert process.stdout
            assert process.stdout.readline() == b"recording\n"
        dying.kill()
        dying.wait()
        (store.root / "open" / "notes.cast").write_text("not ours")
        (store.root / "open" / f"{uuid.uuid4()}.cast").symlink_to("/etc/hostname")
        assert list(store.open_recordings()) == [
            OpenRecording(mine, store.open_path(mine), True),
            OpenRecording(theirs, store.open_path(theirs), True),
            OpenRecording(dead, store.open_path(dead), False),
        ]
        living.kill()
    recorder.close()
    assert [found.live for found in store.open_recordings()] == [False, False, False]


def test_sealed_recordings_are_listed(store: Store) -> None:
    session_id = uuid.uuid4()
    store.sealed_path(session_id).write_bytes(b"")
    store.sealed_path(session_id).with_name("x.draft").write_bytes(b"")
    assert list(store.sealed_recordings()) == [(session_id, store.sealed_path(session_id))]
