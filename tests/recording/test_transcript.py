"""A recording can be read when it is whole, damaged or hostile: per channel, as bytes, as text."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions.recording import asciicast
from sessions.recording.recorder import Recorder
from sessions.recording.transcript import (
    Transcript,
    channel_view,
    channels,
    exact_bytes,
    read_file,
    text_lines,
)
from tests.recording.scene import HEADER, HandClock, session


def cast(*events: tuple[str, str]) -> bytes:
    lines = [asciicast.event_line(1.5, code, data) for code, data in events]
    return asciicast.header_line(HEADER) + b"".join(lines)


def text_of(*outputs: str) -> list[str]:
    return [line.text for line in text_lines([cast(*(("o", output) for output in outputs))])]


def test_one_channel_s_view_is_a_recording_of_its_own_with_the_markers(tmp_path: Path) -> None:
    session(tmp_path / "a.cast")
    view = b"".join(channel_view(read_file(tmp_path / "a.cast"), 3))
    header, *events = map(json.loads, view.splitlines())
    assert header["version"] == 2
    assert header["breakglass"] == HEADER["breakglass"]
    assert [event[1:] for event in events] == [
        ["m", "exec 3: uname -a"],
        ["o", "Linux \ufffd\ufffd"],
        ["o", "warning\n"],
        ["o", "\ufffd"],
    ]
    other = b"".join(channel_view(read_file(tmp_path / "a.cast"), 0))
    assert [json.loads(line)[1] for line in other.splitlines()[1:]] == ["r", "o", "o", "o", "m", "o"]


def test_the_channels_are_listed_and_their_bytes_exact(tmp_path: Path) -> None:
    session(tmp_path / "a.cast")
    assert channels(read_file(tmp_path / "a.cast")) == [(0, False), (3, False), (3, True)]
    assert b"".join(exact_bytes(read_file(tmp_path / "a.cast"), 3)) == b"Linux \xff\xfe\xc3"
    assert b"".join(exact_bytes(read_file(tmp_path / "a.cast"), 3, stderr=True)) == b"warning\n"


def test_an_empty_session_still_gives_a_valid_view(tmp_path: Path) -> None:
    Recorder(tmp_path / "a.cast", HEADER, clock=HandClock()).close()
    assert len(b"".join(channel_view(read_file(tmp_path / "a.cast"), 0)).splitlines()) == 1


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_damage_stops_the_reader(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = session(tmp_path_factory.mktemp("t") / "a.cast")
    raw = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=8)):
        raw[at] = data.draw(st.integers(0, 255))
    size = data.draw(st.integers(1, 200))
    pieces = [bytes(raw[start : start + size]) for start in range(0, len(raw), size)]
    transcript = Transcript(pieces)
    untouched = set(whole.splitlines()) & set(bytes(raw).splitlines())
    told = sum(1 for _ in transcript)
    assert told >= sum(1 for line in untouched if b'"o"' in line or b'"m"' in line)
    list(text_lines(pieces))
    list(channel_view(pieces, 0))


def test_a_line_without_end_is_not_kept_in_memory() -> None:
    pieces = [
        cast(("o", "before\n")),
        *[b"\0" * 1_000_000] * 40,
        b"\n",
        asciicast.event_line(2, "o", "after\n"),
    ]
    tracemalloc.start()
    assert [line.text for line in text_lines(pieces)] == ["before", "after"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * asciicast.MOST_LINE


def test_bytes_left_without_their_text_by_a_torn_write_are_shown() -> None:
    line = asciicast.bytes_line(1.0, "b", b"caf\xc3\xa9 \xff")
    raw = cast(("o", "a")) + line + asciicast.event_line(1.0, "m", "recovered")
    assert [moment.data for moment in Transcript([raw])] == ["a", "café \ufffd", "recovered"]


@pytest.mark.parametrize(
    ("outputs", "lines"),
    [
        (["plain\r\n", "two\n"], ["plain", "two"]),
        (["\x1b[1;31mred\x1b[0m and \x1b]0;a title\x07text\r\n"], ["red and text"]),
        (["split \x1b[3", "1mred\x1b", "[0m\r", "\n"], ["split red"]),
        (["\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\\n"], ["link"]),
        (["lss\b \b -la\r\n"], ["ls -la"]),
        (["lss\b\x1b[K -la\r\n"], ["ls -la"]),
        (["10 %\r20 %\r\n"], ["10 %", "20 %"]),
        (["\x1b(Bcharset \x0eshift\x0f\n"], ["charset shift"]),
        (["no newline"], ["no newline"]),
        (["half \x1b["], ["half ["]),
        (["\x1b]0;" + "x" * 9000, "y" * 90, "y\x07seen\n"], ["seen"]),
        (["\x1bPq" + "x" * 9000, "y\x1b", "\\seen\n"], ["seen"]),
        (["tab\tkept \u2028 \x9b31mred\n"], ["tab\tkept \u2028 red"]),
    ],
)
def test_text_for_searching_is_what_a_reader_saw(outputs: list[str], lines: list[str]) -> None:
    assert text_of(*outputs) == lines


def test_a_title_that_never_ends_does_not_hide_the_session_for_ever() -> None:
    assert text_of("\x1b]0;", *["x" * 60_000] * 20, "seen\n")[-1].endswith("seen")


def test_text_knows_when_and_where(tmp_path: Path) -> None:
    clock = HandClock()
    recorder = Recorder(tmp_path / "a.cast", HEADER, clock=clock)
    recorder.output(1, b"slow ")
    clock.seconds += 5
    recorder.output(2, b"other\n")
    recorder.output(1, b"line\nnext")
    recorder.close()
    lines = list(text_lines(read_file(recorder.path)))
    assert [(line.time, line.stream.channel, line.text) for line in lines] == [
        (5.0, 2, "other"),
        (0.0, 1, "slow line"),
        (5.0, 1, "next"),
    ]
    assert [line.text for line in text_lines(read_file(recorder.path), 2)] == ["other"]


@pytest.mark.parametrize(
    "evil", ["\x1b]", "\x1b[", "\b", "\x1b[K", "\r", "\x1b", "a\b", "\x1b[1;", "\x9b", "\n", " \x1bP;"]
)
def test_hostile_output_costs_no_more_than_its_length(evil: str) -> None:
    flood = cast(*[("o", evil * (60_000 // len(evil)))] * 4)
    begun = time.process_time()
    for _ in text_lines([flood]):
        pass
    drops = cast(*[("o", evil)] * 20_000)
    for _ in text_lines([drops]):
        pass
    assert time.process_time() - begun < 4
