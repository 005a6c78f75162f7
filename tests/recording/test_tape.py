"""The index of a recording: where which second stands, found in chunks without reading the lines between."""

from __future__ import annotations

import random

import pytest

from sessions.recording import asciicast
from sessions.recording.recorder import Recorder
from sessions.recording.tape import BUCKETS, Tape, wind
from tests.recording.scene import HEADER, HandClock

SMALL = 4096  # chunks of this size have all that longer ones have, many times


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two channels in turns, resizes, marks, a pause, one output longer than two chunks, hostile text."""
    chance = random.Random(5)
    clock = HandClock()
    path = tmp_path_factory.mktemp("tape") / "a.cast"
    recorder = Recorder(path, HEADER, clock=clock)
    for number in range(600):
        clock.seconds += chance.random() if number != 300 else 900
        recorder.output(
            chance.choice((1, 2)), b"x" * chance.randrange(120) + b' ,"m","not a mark"] ,"c","9"]\r\n'
        )
        if number % 50 == 7:
            recorder.resize(80 + number, 24, channel=chance.choice((1, 2)))
        if number % 40 == 3:
            recorder.marker(f'mark {number} ,"r","9x9"] \u202e</script>')
        if number == 450:
            recorder.output(2, b"\x1b]0;" + b"t" * 3 * SMALL)
    recorder.close()
    return path.read_bytes()


def pieces(plain: bytes, size: int = SMALL) -> list[bytes]:
    return [plain[at : at + size] for at in range(0, len(plain), size)]


def wound(plain: bytes) -> Tape:
    last = asciicast.parse_event(plain.splitlines()[-1])
    assert last
    return wind(pieces(plain), last.time, len(plain))


def test_each_chunk_is_entered_where_its_first_line_begins(plain: bytes) -> None:
    tape = wound(plain)
    screen, channel, time, line_at = "80x24", 0, 0.0, 0
    expected = {}
    for line in plain.splitlines(keepends=True):
        event = asciicast.parse_event(line)
        expected[line_at] = (screen, channel, event.time if event else time)
        if event and event.code == "r":
            screen = event.data
        if event and event.code == "c":
            stream = asciicast.parse_stream(event.data)
            assert stream
            channel = stream.channel
        line_at += len(line)
    for number, chunk in enumerate(pieces(plain)):
        at = number * SMALL + tape.firsts[number]
        if tape.firsts[number] == len(chunk):
            continue  # the middle of a long line
        said = (tape.screens[number], tape.channels[number], tape.starts[number])
        assert said == (expected[at] if number else ("80x24", 0, 0.0)), number
    assert len(tape.starts) == len(pieces(plain))
    assert tape.starts == sorted(tape.starts)


def test_marks_and_resizes_are_found_and_nothing_that_only_looks_like_one(plain: bytes) -> None:
    events = [event for line in plain.splitlines() if (event := asciicast.parse_event(line))]
    marks = wound(plain).marks
    assert [(mark.time, mark.code, mark.text) for mark in marks] == [
        (event.time, event.code, event.data) for event in events if event.code in "mr"
    ]
    assert {mark.channel for mark in marks if mark.code == "r"} == {1, 2}


def test_the_activity_counts_each_byte_once_and_where_it_was(plain: bytes) -> None:
    tape = wound(plain)
    assert sum(tape.activity) == len(plain)
    width, wanted, at = tape.seconds / BUCKETS, [0] * BUCKETS, 0
    for line in plain.splitlines(keepends=True):
        event = asciicast.parse_event(line)
        if event:
            at = min(int(event.time / width), BUCKETS - 1)
        wanted[at] += len(line)
    assert [bool(volume) for volume in tape.activity] == [bool(volume) for volume in wanted]
    assert tape.activity == wanted


def test_the_size_of_the_chunks_changes_nothing(plain: bytes) -> None:
    whole = wind([plain], wound(plain).seconds, len(plain))
    assert (whole.marks, whole.activity) == (wound(plain).marks, wound(plain).activity)


@pytest.mark.parametrize(
    "damaged", [b"", b"\n\n\n", b"[[[[\n", b'[1,"m"\n[2,"m","kept"]\n', b"\xff\xfe[" * 9000]
)
def test_damage_stops_nothing(damaged: bytes) -> None:
    tape = wind(pieces(damaged), 3.0, len(damaged))
    assert [mark.text for mark in tape.marks] == (["kept"] if b"kept" in damaged else [])
    assert sum(tape.activity) == len(damaged)
