"""After a crash the recording is mended in place: whole lines stay, the torn one goes, and it says what happened."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sessions.recording import asciicast
from sessions.recording.files import RecordingBusy
from sessions.recording.recorder import Recorder
from sessions.recording.seal import recover
from tests.recording.scene import HandClock, session

END_LINES = 2  # the remark and the end event


def test_a_file_torn_at_any_byte_keeps_every_whole_line(tmp_path: Path) -> None:
    whole = session(tmp_path / "whole.cast", outputs=1)
    torn = tmp_path / "torn.cast"
    for size in range(len(whole)):
        torn.write_bytes(whole[:size])
        found = recover(torn)
        mended = torn.read_bytes()
        *kept, last = whole[:size].split(b"\n")
        if asciicast.parse_event(last) or asciicast.parse_header(last):
            kept.append(last)  # all but its newline was written
            last = b""
        ended_in_order = len(kept) == whole.count(b"\n")
        lines = mended.splitlines()
        assert lines[: len(kept)] == kept
        assert asciicast.parse_header(lines[0])
        assert all(asciicast.parse_event(line) for line in lines[1:])
        assert len(lines) == max(len(kept), 1) + (0 if ended_in_order else END_LINES)
        assert found.crashed is not ended_in_order
        assert (found.events, found.damaged_lines, found.cut) == (len(lines) - 1, 0, len(last))


def test_recovering_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.cast"
    path.write_bytes(session(path)[:-40])
    first = recover(path)
    once = path.read_bytes()
    second = recover(path)
    assert path.read_bytes() == once
    assert (second.ended, second.events, second.cut) == (first.ended, first.events, 0)
    assert first.cut > 0
    assert first.header["breakglass"]["person"] == "rita"


def test_a_recording_that_ended_in_order_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.cast"
    whole = session(path)
    found = recover(path)
    assert (found.ended, found.cut, found.crashed) == ("closed", 0, False)
    assert path.read_bytes() == whole


def test_a_live_recording_is_not_touched(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.cast", {}, clock=HandClock())
    recorder.output(1, b"still here")
    before = recorder.path.read_bytes()
    with pytest.raises(RecordingBusy):
        recover(recorder.path)
    assert recorder.path.read_bytes() == before
    recorder.close()


@pytest.mark.parametrize("junk", [b"\0" * 5000, b"\0" * 5_000_000, b"[1.0,", b'[1.0,"o","\\u00', b"garbage"])
def test_what_a_power_cut_leaves_behind_the_last_line_is_cut_off(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "a.cast"
    whole = session(path)
    path.write_bytes(whole + junk)
    assert recover(path).cut == len(junk)
    assert path.read_bytes() == whole


def test_damage_in_the_middle_is_counted_and_loses_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.cast"
    lines = session(path).splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"\0" * 4096 + lines[3], *lines[4:]]))
    found = recover(path)
    assert found.damaged_lines == 1
    assert found.events == len(lines) - 2


def test_a_full_disk_is_mended_without_room(small_disk: Path) -> None:
    path = small_disk / "a.cast"
    whole = session(path)
    path.write_bytes(whole + b'[9.0,"o","torn')
    with (small_disk / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(b"x" * 4096) == 4096 and os.statvfs(small_disk).f_bavail:
            pass
    assert recover(path).cut == 14
    assert path.read_bytes() == whole


def test_the_real_player_takes_what_was_recovered(
    tmp_path: Path, asciinema: Callable[..., subprocess.CompletedProcess[bytes]]
) -> None:
    path = tmp_path / "a.cast"
    whole = session(path)
    path.write_bytes(whole[: len(whole) // 2])
    recover(path)
    done = asciinema("cat", path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "line 0: café".encode() in done.stdout
