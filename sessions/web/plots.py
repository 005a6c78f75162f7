"""Plots as plain SVG shapes: where each mark stands, computed here; templates only write it down.

A plot is 100 units high and a fixed number of units a bucket wide; text stands outside of it, so that it keeps its size on
any screen. What a plot shows is always in a table beside it too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

HIGH = 100.0
WIDE = 20.0
"""Units a bucket."""


@dataclass(frozen=True)
class Line:
    """One curve: the points of each stretch without a gap as SVG wants them, and single dots for lonely values."""

    name: str
    kind: str
    stretches: Sequence[str]
    dots: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Bar:
    """One part of a bucket's column."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Plot:
    """What a template needs: the view box, the marks, and what the upper edge stands for."""

    width: float
    top: float
    lines: Sequence[Line] = ()
    bars: Sequence[Bar] = ()

    @property
    def box(self) -> str:
        return f"0 0 {self.width:g} {HIGH:g}"

    @property
    def middle(self) -> float:
        """What the line half way up stands for."""
        return self.top / 2


@dataclass(frozen=True)
class Share:
    """One row of a bar list; `percent` of the longest."""

    name: str
    count: int
    percent: float


def curves(series: Sequence[tuple[str, str, Sequence[float | None]]]) -> Plot:
    """Curves over the same buckets; (name, kind, values) each. None leaves a gap."""
    top = nice(max((value for _, _, values in series for value in values if value is not None), default=0.0))
    count = max((len(values) for _, _, values in series), default=0)
    lines = [_line(name, kind, values, top) for name, kind, values in series]
    return Plot(width=max(1, count) * WIDE, top=top, lines=lines)


def columns(kinds: Sequence[str], values: Sequence[Sequence[int]]) -> Plot:
    """Stacked columns: for each bucket one value a kind, from the ground up."""
    top = nice(max((float(sum(parts)) for parts in values), default=0.0), whole=True)
    bars = []
    for place, parts in enumerate(values):
        ground = HIGH
        for kind, value in zip(kinds, parts, strict=True):
            height = round(value / top * HIGH, 2)
            ground -= height
            if value:
                bars.append(Bar(kind, place * WIDE + 3, round(ground, 2), WIDE - 6, height))
    return Plot(width=max(1, len(values)) * WIDE, top=top, bars=bars)


def shares(rows: Sequence[tuple[str, int]]) -> list[Share]:
    """Rows as bars beside each other, the longest whole."""
    longest = max((count for _, count in rows), default=0) or 1
    return [Share(name, count, round(count / longest * 100, 1)) for name, count in rows]


def nice(value: float, *, whole: bool = False) -> float:
    """The least round figure that isn't below `value`: 1, 2 or 5 and zeros; never 0. `whole`: an even number at least."""
    if value <= 0 or (whole and value <= 2):
        return 2.0 if whole else 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(size * step for step in (1, 2, 5, 10) if size * step >= value * (1 - 1e-9))


def _line(name: str, kind: str, values: Sequence[float | None], top: float) -> Line:
    stretches: list[list[tuple[float, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            stretches.append([])
        else:
            x = place * WIDE + WIDE / 2
            stretches[-1].append((x, round(HIGH - min(1.0, value / top) * HIGH, 2)))
    whole = [stretch for stretch in stretches if stretch]
    return Line(
        name=name,
        kind=kind,
        stretches=[" ".join(f"{x:g},{y:g}" for x, y in stretch) for stretch in whole if len(stretch) > 1],
        dots=[point for stretch in whole for point in stretch],
    )
