"""What a player may leap over: only what surely leaves nothing of the screen from before, and the modes as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions.recording.leaps import BESIDE, COLOURLESS, FLOWS, PLAIN, SETTLES, Leaps
from sessions.recording.recorder import Recorder
from sessions.recording.tape import wind
from tests.recording.scene import HEADER, HandClock

LOG = "\x1b[33mwarn\x1b[0m the spool is behind \\new\r\n" * 400
TEXT = "nothing but letters, \u6771\u4eac and a tab\t.\r\n" * 400


def spelled(folder: Path, *texts: str, mark: str = "") -> list[bytes]:
    """Each text as the lines that a recorder writes for it, an event a call."""
    clock = HandClock()
    path = folder / f"{len(list(folder.iterdir()))}.cast"
    recorder = Recorder(path, HEADER, clock=clock)
    at, pieces = 0, []
    for number, text in enumerate(texts):
        clock.seconds += 1
        recorder.output(1, text.encode())
        if mark and number == len(texts) - 1:
            recorder.marker(mark)
        size = path.stat().st_size
        pieces.append(path.read_bytes()[at:size])
        at = size
    recorder.close()
    return pieces


def flags(folder: Path, *texts: str, mark: str = "") -> int:
    """Of the last text, after the others."""
    leaps = Leaps(24)
    *before, last = spelled(folder, "begin\r\n", *texts, mark=mark)
    for lines in before:
        leaps.read(lines, steady=False)
    return leaps.read(last, steady=True)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (LOG, PLAIN | SETTLES),
        (TEXT, PLAIN | COLOURLESS | FLOWS),
        (LOG.replace("\x1b[0m", ""), PLAIN),
        (LOG.replace("\r\n", "\n"), PLAIN),
        (LOG[: len(LOG) // 4], PLAIN),
        (LOG.replace("\r\n", "\r"), PLAIN),
        (("\x1b[0m" + "C:\\\\new" * 3 + "\r") * 400, PLAIN),
        ("progress 7 %\r" * 900, PLAIN | COLOURLESS),
    ],
)
def test_plain_text_is_leapt_over_once_enough_of_it_has_scrolled_by(
    tmp_path: Path, text: str, wanted: int
) -> None:
    assert flags(tmp_path, text) == wanted


@pytest.mark.parametrize(
    "odd",
    [
        "\x1b[H", "\x1b[2J", "\x1b7", "\x1bc", "\x1b[?1049h", "\x1b]0;title\x07", "\x1b[5;10r", "\x0e", "\x0c", "\x0b", "\x9b5m",
        "\x1b", "\x1b[3", "\x1bPq\x1b\\", "\x7f\x1b(0", "\\u001b[0m", "\x18", "\x1b[38;5;1", "\x00", "\x85", "\x1b[1b",
    ],
)  # fmt: skip
def test_one_sequence_of_another_kind_and_it_is_shown(tmp_path: Path, odd: str) -> None:
    assert flags(tmp_path, LOG + odd + LOG) == 0


def test_a_mark_that_spells_a_sequence_is_none_of_the_terminals(tmp_path: Path) -> None:
    assert flags(tmp_path, LOG, mark="file: write /srv/\x1b[0m") == 0
    assert flags(tmp_path, LOG, mark="10 minutes left") == PLAIN | SETTLES


@pytest.mark.parametrize(
    ("before", "sure"),
    [
        ("\x1b[H\x1b[2J\x1b[?7l\x1b[4h", True),
        ("\x1b]0;title\x07", True),
        ("\x1b]0;title\x1b\\", True),
        ("\x1b[5;10r", False),
        ("\x1b[5;10r\x1b[r", True),
        ("\x1b[1;24r", True),
        ("\x1b[1;20r", False),
        ("\x1b[2;24r", False),
        ("\x1b[r\x1b[5;1\n0r", False),
        ("\x9b5;10r", False),
        ("\\u001b[r\x1b[5;10r", False),
    ],
)
def test_only_a_screen_that_scrolls_whole_is_left(tmp_path: Path, before: str, sure: bool) -> None:
    assert flags(tmp_path, before, "\x1b[0m", LOG) == (PLAIN | SETTLES if sure else 0)


def test_a_margin_in_two_pieces_is_a_doubt(tmp_path: Path) -> None:
    assert flags(tmp_path, "\x1b[5", ";10r", LOG) == 0
    assert flags(tmp_path, "\x1b", "[5;10r", LOG) == 0


def test_a_sequence_that_is_still_open_swallows_what_looks_plain(tmp_path: Path) -> None:
    assert flags(tmp_path, "\x1b]0;never ended", TEXT) == 0
    assert flags(tmp_path, "\x1bPq", TEXT) == 0
    assert flags(tmp_path, "\x1b[?104", "9h" + TEXT) == 0
    # What has colours ends it; after that all is sure again.
    leaps = Leaps(24)
    opened, coloured, text = spelled(tmp_path, "\x1b]0;never ended", LOG, TEXT)
    assert [leaps.read(lines, steady=True) for lines in (opened, coloured, text)] == [
        0, 0, PLAIN | COLOURLESS | FLOWS
    ]  # fmt: skip


def test_where_a_terminal_changes_its_size_or_the_channel_changes_all_is_shown(tmp_path: Path) -> None:
    clock = HandClock()
    recorder = Recorder(tmp_path / "b.cast", HEADER, clock=clock)
    for number in range(60):
        clock.seconds += 1
        recorder.output(2 if number == 20 else 1, LOG.encode())
        if number == 40:
            recorder.resize(80, 900, channel=1)
    recorder.close()
    plain = (tmp_path / "b.cast").read_bytes()
    size = len(plain) // 16
    chunks = [plain[at : at + size] for at in range(0, len(plain), size)]
    found = wind(chunks, 60.0, len(plain)).leaps
    assert len(found) == len(chunks)
    assert found[0] == 0  # the header and the first channel
    assert found.count(PLAIN | SETTLES) + found.count(PLAIN | SETTLES | BESIDE) >= 5 and found.count(0) >= 3
    # With 900 rows a sixteenth of it isn't enough to leave nothing from before.
    assert found[:11].count(PLAIN) == 0 and set(found[12:-1]) == {PLAIN | BESIDE}


@pytest.mark.parametrize(
    ("first", "beside"), [("\x1b[5;10r\x1b[15;1H", "\x1b[r"), ("\x1b]0;never ended ", "\x1b[m")]
)
def test_what_one_channel_leaves_open_no_other_closes_for_it(tmp_path: Path, first: str, beside: str) -> None:
    clock = HandClock()
    recorder = Recorder(tmp_path / "c.cast", HEADER, clock=clock)
    for channel, text in ((1, first), (2, beside), (1, "begin\r\n"), *[(1, TEXT)] * 30):
        clock.seconds += 1
        recorder.output(channel, text.encode())
    recorder.close()
    plain = (tmp_path / "c.cast").read_bytes()
    size = len(plain) // 8
    found = wind([plain[at : at + size] for at in range(0, len(plain), size)], 40.0, len(plain)).leaps
    # All together is as sure as it was; alone channel 1 scrolls a part of its screen only, or is in the middle of a title.
    assert all(flags & BESIDE for flags in found if flags) and found.count(0) < len(found)
