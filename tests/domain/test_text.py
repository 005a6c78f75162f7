"""What people type, made fit to be kept."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from breakglass.domain.text import one_line, plain, storable, visible


@given(st.text(st.characters()))
def test_whatever_is_typed_can_be_encoded_and_stored_by_postgresql(text: str) -> None:
    kept = storable(text)
    kept.encode()
    assert "\x00" not in kept
    assert len(kept) == len(text)


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_what_is_fit_already_is_left_alone(text: str) -> None:
    assert storable(text) == text


def test_text_is_trimmed_and_cut() -> None:
    assert plain("  a b\n", 10) == "a b"
    assert plain("abc", 2) == "ab"


@given(st.text(st.characters()))
def test_one_line_is_one_line(text: str) -> None:
    assert len(one_line(text, 50).splitlines()) <= 1
    assert len(one_line(text, 50)) <= 50


@given(st.text(st.characters()))
def test_what_is_visible_commands_no_terminal(text: str) -> None:
    shown = visible(text)
    shown.encode()
    assert all(unicodedata.category(char)[0] != "C" or char in "\n\t" or _unassigned(char) for char in shown)
    assert visible(shown) == shown


def _unassigned(char: str) -> bool:
    return unicodedata.category(char) in ("Cn", "Co")


def test_plain_words_lines_and_tabs_stay_as_they_are() -> None:
    assert visible("Grüße, 東京\r\n\tzwei") == "Grüße, 東京\n\tzwei"
    assert visible("\x1b[2J\x9b31m\x7f\u202e\rX") == "\ufffd[2J\ufffd31m\ufffd\ufffd\ufffdX"
