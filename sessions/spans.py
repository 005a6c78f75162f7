"""Spans of a recording, `(from, to)` in seconds: merged, clamped, bounded, and what they leave out. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

MOST = 500
Span = tuple[float, float]


def merged(spans: Iterable[Sequence[float]], length: float, most: int = MOST) -> list[Span]:
    """The spans in order, without overlap, inside 0 to `length`, to the hundredth of a second.

    At most `most`: of more, the shortest are left out, so that nothing counts as seen that wasn't. Raises ValueError
    where one isn't two finite numbers.
    """
    inside = sorted(span for span in (_clamped(one, length) for one in spans) if span[0] < span[1])
    found: list[Span] = []
    for begin, end in inside:
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    if len(found) > most:
        found = sorted(sorted(found, key=lambda span: span[0] - span[1])[:most])
    return found


def missing(seen: Sequence[Span], length: float) -> list[Span]:
    """What merged spans leave out of 0 to `length`."""
    edges = [(0.0, 0.0), *seen, (length, length)]
    gaps = [(before[1], after[0]) for before, after in pairwise(edges)]
    return [gap for gap in gaps if gap[1] - gap[0] >= 0.01]


def total(spans: Iterable[Span]) -> float:
    """How many seconds merged spans hold."""
    return sum(end - begin for begin, end in spans)


def busy(spans: Iterable[Span], length: float, activity: Sequence[int], most: float) -> float:
    """How many seconds of merged spans something was shown in, at least, where a pause is cut after `most` seconds.

    `activity` counts what was shown in equal parts of the length.
    """
    wide = length / len(activity) if activity else 0.0
    if wide <= 0:
        return 0.0
    found = 0.0
    for begin, end in spans:
        for number in range(int(begin / wide), min(len(activity), int(end / wide) + 1)):
            if activity[number]:
                found += max(0.0, min(end, (number + 1) * wide) - max(begin, number * wide))
    return found * min(1.0, most / wide)


def percent(seen: Sequence[Span], length: float) -> int:
    """How much of the length was seen. 100 only where nothing was left out but a rounding; 0 only where nothing was seen."""
    if length <= 0:
        return 0
    share = total(seen) / length * 100
    if share >= 99.95:
        return 100
    return min(99, max(1, round(share))) if share > 0 else 0


def _clamped(span: Sequence[float], length: float) -> Span:
    if isinstance(span, str | bytes) or not isinstance(span, Sequence) or len(span) != 2:
        raise ValueError("a span is two numbers")
    for number in span:
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError("a span is two numbers")
    try:
        begin, end = float(span[0]), float(span[1])
    except OverflowError:
        raise ValueError("a span is two finite numbers") from None
    if not (math.isfinite(begin) and math.isfinite(end)):
        raise ValueError("a span is two finite numbers")
    return round(min(max(begin, 0.0), length), 2), round(min(max(end, 0.0), length), 2)
