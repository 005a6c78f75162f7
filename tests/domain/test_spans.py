"""Spans of a recording: merged, clamped, bounded; and what they leave out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.spans import MOST, merged, missing, percent, total


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], []),
        ([(0, 5)], [(0, 5)]),
        ([(4, 6), (0, 5)], [(0, 6)]),
        ([(0, 5), (5, 9)], [(0, 9)]),
        ([(0, 9), (2, 3)], [(0, 9)]),
        ([(1, 2), (3, 4)], [(1, 2), (3, 4)]),
        # Outside the recording, backwards and empty ones count for nothing.
        ([(-3, 2), (95, 4000)], [(0, 2), (95, 100)]),
        ([(7, 3), (5, 5), (200, 300), (-9, -1)], []),
        ([(0.123456, 1.98765)], [(0.12, 1.99)]),
        ([[0, 1e308]], [(0, 100)]),
    ],
)
def test_what_they_add_up_to(spans: list[tuple[float, float]], expected: list[tuple[float, float]]) -> None:
    assert merged(spans, 100) == expected


@pytest.mark.parametrize(
    "span",
    [(0, float("nan")), (float("-inf"), 1), (0,), (0, 1, 2), "ab", ("0", "1"), (None, 1), (True, 5), 7, {},
     (0, 10**400), ([0], [1])],
)  # fmt: skip
def test_anything_but_two_finite_numbers_is_no_span(span: object) -> None:
    with pytest.raises(ValueError):
        merged([span], 100)  # type: ignore[list-item]


def test_of_too_many_the_shortest_go_so_that_nothing_unseen_counts() -> None:
    many = [(i * 3, i * 3 + (2 if i % 2 else 1)) for i in range(MOST + 100)]
    kept = merged(many, 10_000)
    assert len(kept) == MOST
    assert set(kept) <= set(many)
    assert {(begin, end) for begin, end in many if end - begin == 2} <= set(kept)


@given(st.lists(st.tuples(st.floats(-50, 150), st.floats(-50, 150)), max_size=40))
def test_seen_and_missing_make_the_whole(spans: list[tuple[float, float]]) -> None:
    seen = merged(spans, 100)
    assert all(before[1] < after[0] for before, after in pairwise(seen))
    assert total(seen) + total(missing(seen, 100)) == pytest.approx(100, abs=0.5)
    assert merged(seen, 100) == seen
    assert 0 <= percent(seen, 100) <= 100


@pytest.mark.parametrize(
    ("seen", "length", "expected"),
    [
        ([], 100, 0), ([(0, 100)], 100, 100), ([(0, 62)], 100, 62), ([(0, 0.1)], 100, 1), ([(0, 99.9)], 100, 99),
        ([(0, 99.96)], 100, 100), ([], 0, 0),
    ],
)  # fmt: skip
def test_all_and_nothing_are_said_only_of_all_and_nothing(
    seen: list[tuple[float, float]], length: float, expected: int
) -> None:
    assert percent(seen, length) == expected
