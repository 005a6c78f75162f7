"""E3: what can't be recorded doesn't happen. A failing disk stops the recording, says so, and leaves whole lines."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sessions.recording import files
from sessions.recording.recorder import NoRoom, Recorder, RecordingFailed
from sessions.recording.transcript import exact_bytes, read_file
from tests.recording.scene import REPOSITORY, HandClock, events

Start = Callable[..., Recorder]


def fill(recorder: Recorder, piece: bytes = b"x" * 1000) -> tuple[bytes, RecordingFailed]:
    relayed = b""
    with pytest.raises(RecordingFailed) as failure:
        while len(relayed) < 64 * 1024 * 1024:
            recorder.output(1, piece)
            relayed += piece
    return relayed, failure.value


def resize(disk: Path, size: str) -> None:
    """The small disk of the test with more room, as when somebody frees some."""
    remount = 32
    assert ctypes.CDLL(None).mount(b"none", bytes(disk), b"tmpfs", remount, f"size={size}".encode()) == 0


def take_the_rest(disk: Path) -> Path:
    """Somebody else fills what is left; returns what they filled."""
    ballast = disk / "somebody else's"
    with pytest.raises(OSError), ballast.open("wb", buffering=0) as other:
        while True:
            if other.write(b"x" * 4096) < 4096:
                raise OSError(errno.ENOSPC, "full")
    return ballast


def test_a_full_disk_takes_no_output_but_remarks_and_an_orderly_end(small_disk: Path, record: Start) -> None:
    recorder = record(small_disk / "a.cast")
    relayed, failure = fill(recorder)
    assert isinstance(failure, NoRoom)
    assert failure.no_space
    assert len(relayed) > 2_000_000
    take_the_rest(small_disk)
    size = recorder.path.stat().st_size
    with pytest.raises(NoRoom):
        recorder.output(1, b"never relayed" * 1000)
    assert (recorder.error, recorder.path.stat().st_size) == (None, size)
    recorder.marker("a remark")
    recorder.resize(9, 9)
    recorder.remark(1, b"Breakglass: the disk is full\r\n")
    recorder.close()
    told = b"Breakglass: the disk is full\r\n"
    assert b"".join(exact_bytes(read_file(recorder.path), 1)) == relayed + told
    assert events(recorder.path)[-1][1:] == ["e", "closed"]


def test_remarks_leave_the_half_of_the_reserve_that_an_orderly_end_needs(
    small_disk: Path, record: Start
) -> None:
    recorder = record(small_disk / "a.cast")
    fill(recorder)
    take_the_rest(small_disk)
    with pytest.raises(NoRoom):
        while True:
            recorder.marker("a remark" * 100)
    recorder.fail(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(RecordingFailed):
        recorder.marker("too late")
    recorder.close()
    last = events(recorder.path)[-2:]
    assert last[0][1] == "m"
    assert "No space left" in last[0][2]
    assert last[1][1:] == ["e", "cut"]


@pytest.mark.parametrize("length", [1000, 300_000])
def test_once_there_is_room_again_the_recording_goes_on_where_it_stopped(
    small_disk: Path, record: Start, length: int
) -> None:
    recorder = record(small_disk / "a.cast")
    piece = os.urandom(length)
    whole, failure = fill(recorder, piece)
    assert isinstance(failure, NoRoom)
    resize(small_disk, "8m")
    rest = piece[failure.done :]
    assert len(rest) > 0
    recorder.output(1, rest)
    recorder.close()
    assert b"".join(exact_bytes(read_file(recorder.path), 1)) == whole + piece
    assert events(recorder.path)[-1][1:] == ["e", "closed"]


def test_a_disk_without_room_starts_no_recording(small_disk: Path, record: Start) -> None:
    with (small_disk / "ballast").open("wb", buffering=0) as ballast:
        for _ in range(3 * 1024):
            ballast.write(b"x" * 1024)
    with pytest.raises(RecordingFailed) as failure:
        record(small_disk / "a.cast")
    assert failure.value.no_space
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


LIMITED = """
import sys, time
from pathlib import Path
from sessions.recording.recorder import NoRoom, Recorder, RecordingFailed
recorder = Recorder(Path(sys.argv[1]), {"width": 80, "height": 24}, clock=time)
relayed = 0
try:
    while True:
        recorder.output(1, b"0123456789" * 33)
        relayed += 330
except RecordingFailed as failure:
    assert failure.no_space and recorder.error is failure
recorder.close()
print(relayed)
"""


def test_a_write_cut_short_by_a_file_limit_is_a_failure_and_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "limited.cast"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    raw = path.read_bytes()
    assert raw.endswith(b"\n")
    assert len(b"".join(exact_bytes([raw], 1))) == int(done.stdout)
    assert all(json.loads(line) for line in raw.splitlines())


def test_a_torn_line_is_taken_off_where_the_disk_has_room_again(
    record: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = record()
    recorder.output(1, b"whole")
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, line: real(descriptor, line[:9]))
    with pytest.raises(RecordingFailed):
        recorder.output(1, b"never relayed")
    monkeypatch.undo()
    recorder.close()
    assert [event[1] for event in events(recorder.path)] == ["c", "o", "m", "e"]


def test_a_disk_that_fails_to_sync_stops_the_recording(
    record: Start, hand_clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = record(clock=hand_clock)
    recorder.output(1, b"before")

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "sync_data", broken)
    recorder.tick()
    assert recorder.error
    assert not recorder.error.no_space
    with pytest.raises(RecordingFailed):
        recorder.output(1, b"after")
    recorder.close()
    assert "after" not in recorder.path.read_text()


def test_closing_tells_a_failure_that_nobody_has_heard_of(
    record: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = record()
    monkeypatch.setattr(files, "sync_data", lambda descriptor: os.fsync(9999))
    recorder.output(1, b"x")
    with pytest.raises(RecordingFailed):
        recorder.close()
    recorder.close()


def unlink(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    other = path.with_suffix(".other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def shorten(path: Path) -> None:
    os.truncate(path, 20)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b'[0.1, "o", "forged"]\n')


@pytest.mark.parametrize("harm", [unlink, replace, shorten, lengthen])
def test_a_file_that_is_taken_away_or_changed_under_the_recorder_stops_the_recording(
    tmp_path: Path, record: Start, harm: Callable[[Path], None]
) -> None:
    recorder = record(tmp_path / "a.cast")
    recorder.output(1, b"seen")
    recorder.tick()
    assert recorder.error is None
    harm(recorder.path)
    recorder.tick()
    assert recorder.error is not None
    with pytest.raises(RecordingFailed):
        recorder.output(1, b"never relayed")
