"""A recording proves itself as it grows: each segment states the hash of all before it."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sessions.recording import asciicast
from sessions.recording.recorder import SEGMENT, SEGMENT_SECONDS, Recorder
from sessions.recording.transcript import exact_bytes, read_file
from tests.recording.scene import HandClock, events

Start = Callable[..., Recorder]


def stated(path: Path) -> list[tuple[int, int, str]]:
    """What each segment line says, once it was held against the bytes before it."""
    said, before = [], b""
    for line in path.read_bytes().splitlines(keepends=True):
        event = asciicast.parse_event(line.rstrip())
        if event is not None and event.code == asciicast.SEGMENT:
            found = asciicast.parse_segment(event.data)
            assert found is not None
            number, size, sha256 = found
            assert (size, sha256) == (len(before), hashlib.sha256(before).hexdigest())
            assert number == len(said) + 1
            said.append(found)
        before += line
    return said


def test_each_mebibyte_ends_a_segment_that_states_the_hash_of_all_before_it(record: Start) -> None:
    recorder = record()
    data = b"x" * 60_000
    for _ in range(60):
        recorder.output(1, data)
    sizes = [0, *(size for _, size, _ in stated(recorder.path))]
    assert len(sizes) == 4
    steps = [after - before for before, after in itertools.pairwise(sizes)]
    assert all(SEGMENT <= step < SEGMENT + 70_000 for step in steps)
    assert recorder.progress().segments == 3
    assert b"".join(exact_bytes(read_file(recorder.path), 1)) == data * 60


def test_five_seconds_of_activity_end_a_segment_and_silence_adds_nothing(
    record: Start, hand_clock: HandClock
) -> None:
    recorder = record(clock=hand_clock)
    for _ in range(24):
        hand_clock.seconds += SEGMENT_SECONDS / 8
        recorder.output(1, b"a key, echoed")
    assert len(stated(recorder.path)) == 3
    hand_clock.seconds += 3600
    recorder.tick()
    assert len(stated(recorder.path)) == 3
    recorder.output(1, b"back again")
    assert len(stated(recorder.path)) == 4
    assert [code for _, code, _ in events(recorder.path)][-2:] == ["s", "o"]


def test_a_segment_ends_in_the_same_write_as_the_event_that_follows(
    record: Start, hand_clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = record(clock=hand_clock)
    recorder.output(1, b"before")
    written: list[bytes] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, line: written.append(line) or real(descriptor, line))
    hand_clock.seconds += SEGMENT_SECONDS
    recorder.output(1, b"after")
    monkeypatch.undo()
    assert len(written) == 1
    assert written[0].count(b"\n") == 2


def test_what_is_durable_is_a_prefix_of_the_file_that_was_synced(record: Start) -> None:
    recorder = record()
    first = recorder.durable
    assert first.size == recorder.path.stat().st_size
    recorder.output(1, b"not yet on the disk")
    assert recorder.durable.size <= recorder.path.stat().st_size
    recorder.tick()
    for reached in (first, recorder.durable, recorder.close(), recorder.durable):
        assert hashlib.sha256(recorder.path.read_bytes()[: reached.size]).hexdigest() == reached.sha256
    assert recorder.durable.size == recorder.path.stat().st_size > first.size


def test_what_could_not_be_synced_is_not_called_durable(
    record: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = record()
    before = recorder.durable
    monkeypatch.setattr("sessions.recording.files.sync_data", lambda descriptor: os.fsync(9999))
    recorder.output(1, b"lost with the power")
    recorder.tick()
    assert recorder.durable == before
