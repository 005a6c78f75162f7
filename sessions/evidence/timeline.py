"""The picture of a grant: what happened when, as shapes that both the SVG and the PDF draw.

Units are points; x runs right, y runs down. Colours are words (`ink`, `live`, ...) that each renderer knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from xml.sax.saxutils import escape

from breakglass.domain.text import visible
from sessions.evidence.case import Case, over_at

WIDTH: Final = 720.0
MOST_SESSIONS: Final = 10
MOST_TICKS: Final = 160
COLOURS: Final = {
    "ink": "#171c1a",
    "soft": "#4d5753",
    "line": "#d3d7d3",
    "paper": "#ffffff",
    "wait": "#b9822a",
    "wait-wash": "#fcebc8",
    "live": "#14633a",
    "live-wash": "#dcf1e3",
    "act": "#0a5578",
    "act-wash": "#e1eff6",
    "stop": "#a51d1a",
    "stop-wash": "#fbe3e0",
}
_LEFT: Final = 92.0
_RIGHT: Final = 14.0
_LANE: Final = 26.0
_BAR: Final = 12.0


@dataclass(frozen=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    fill: str
    edge: str


@dataclass(frozen=True)
class Stroke:
    x1: float
    y1: float
    x2: float
    y2: float
    colour: str
    width: float = 1.0


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    radius: float
    colour: str


@dataclass(frozen=True)
class Text:
    x: float
    y: float
    words: str
    size: float = 9.0
    colour: str = "soft"
    bold: bool = False
    anchor: Literal["start", "middle", "end"] = "start"


Shape = Bar | Stroke | Dot | Text


@dataclass
class Picture:
    height: float
    says: str
    width: float = WIDTH
    shapes: list[Shape] = field(default_factory=list)


@dataclass(frozen=True)
class _Scale:
    start: datetime
    end: datetime

    def x(self, at: datetime) -> float:
        whole = (self.end - self.start).total_seconds()
        part = (min(max(at, self.start), self.end) - self.start).total_seconds() / whole
        return round(_LEFT + part * (WIDTH - _LEFT - _RIGHT), 2)


def picture_of(case: Case) -> Picture:
    """From the plea to the end of the access; what came hours later is said in words."""
    scale = _scale(case)
    shown = case.sessions[:MOST_SESSIONS]
    more = len(case.sessions) - len(shown)
    lanes = 2 + len(shown) + (1 if more else 0)
    top = 30.0
    made = Picture(top + lanes * _LANE + 34, _in_words(case))
    _axis(made, scale, top, top + lanes * _LANE)
    _request(made, scale, case, top + _LANE * 0.5)
    _grant(made, scale, case, top + _LANE * 1.5)
    for number, session in enumerate(shown):
        _session(made, scale, session, top + _LANE * (number + 2.5))
    if more:
        made.shapes.append(Text(_LEFT, top + _LANE * (lanes - 0.5) + 3, f"and {more} more: sessions.json"))
    _legend(made, case, made.height - 8)
    return made


def _scale(case: Case) -> _Scale:
    moments = [case.request["submitted_at"], case.grant["issued_at"], over_at(case) or case.at]
    moments += [one["ended_at"] or case.at for one in case.sessions]
    moments += [case.grant["ends_at"]] if case.grant["ends_at"] else []
    start, end = min(moments), max(moments)
    span = max(end - start, timedelta(seconds=60))
    return _Scale(start - span / 40, start + span + span / 40)


_STEPS: Final = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 604800)


def _axis(made: Picture, scale: _Scale, top: float, bottom: float) -> None:
    span = (scale.end - scale.start).total_seconds()
    step = next((step for step in _STEPS if span / step <= 9), span / 8)
    seconds = scale.start.timestamp() // step * step + step
    made.shapes.append(Text(0, 14, f"{scale.start:%d %b %Y}, UTC", 9, "ink", True))
    while seconds < scale.end.timestamp():
        at = datetime.fromtimestamp(seconds, scale.start.tzinfo)
        x = scale.x(at)
        made.shapes.append(Stroke(x, top - 6, x, bottom, "line", 0.6))
        clock = f"{at:%H:%M:%S}" if step < 60 else f"{at:%H:%M}" if step < 86400 else f"{at:%d %b}"
        made.shapes.append(Text(x, top - 10, clock, 8.5, "soft", anchor="middle"))
        seconds += step


def _request(made: Picture, scale: _Scale, case: Case, y: float) -> None:
    made.shapes.append(Text(0, y + 3, "Asked, approved", 9, "ink"))
    asked, decided = case.request["submitted_at"], case.request["decided_at"] or case.at
    _bar(made, scale, asked, decided, y, "wait")
    made.shapes.append(Dot(scale.x(asked), y, 4, "wait"))
    for one in case.approvals:
        colour = "live" if one["verdict"] == "approved" else "stop"
        made.shapes.append(Dot(scale.x(one["decided_at"]), y, 4.5, colour))


def _grant(made: Picture, scale: _Scale, case: Case, y: float) -> None:
    made.shapes.append(Text(0, y + 3, "Access allowed", 9, "ink"))
    begun = case.grant["starts_at"] or case.grant["issued_at"]
    over = over_at(case) or case.at
    ends = case.grant["ends_at"]
    if ends and ends > over:
        _bar(made, scale, over, ends, y, "line", wash="paper")
    if case.grant["use_by"]:
        _bar(made, scale, case.grant["issued_at"], case.grant["starts_at"] or over, y, "act")
    if case.grant["starts_at"]:
        _bar(made, scale, begun, over, y, "live")
    for moment in [over] if over_at(case) else []:
        _mark(made, scale.x(moment), y, "stop" if case.grant["state"] == "revoked" else "ink")


def _session(made: Picture, scale: _Scale, session: dict[str, Any], y: float) -> None:
    name = _short(f"{session['label']} {session['asset']}", 17)
    made.shapes.append(Text(0, y + 3, name, 9, "ink"))
    end = session["ended_at"]
    _bar(made, scale, session["opened_at"], end or scale.end, y, "act")
    ticks = [one["opened_at"] for one in session["channels"]] + [
        one["started_at"] for one in session["files"]
    ]
    places = sorted({round(scale.x(at)) for at in ticks})[:MOST_TICKS]
    for x in places:
        made.shapes.append(Stroke(x, y - 3.5, x, y + 3.5, "act", 1.1))
    if end:
        calm = session["end_reason"] in ("client_closed", "asset_closed", "released", "expired")
        _mark(made, scale.x(end), y, "ink" if calm else "stop")


def _bar(
    made: Picture, scale: _Scale, start: datetime, end: datetime, y: float, colour: str, wash: str = ""
) -> None:
    left, right = scale.x(start), scale.x(end)
    made.shapes.append(
        Bar(left, y - _BAR / 2, max(right - left, 1.5), _BAR, wash or f"{colour}-wash", colour)
    )


def _mark(made: Picture, x: float, y: float, colour: str) -> None:
    made.shapes.append(Stroke(x, y - 9, x, y + 9, colour, 2.2))


def _legend(made: Picture, case: Case, y: float) -> None:
    x = _LEFT
    marks = [("wait", "asked"), ("live", "approved"), *([("stop", "denied")] if _denied(case) else [])]
    for colour, word in marks:
        made.shapes += [Dot(x + 4, y - 3, 4, colour), Text(x + 12, y, word, 8.5)]
        x += 26 + 5 * len(word)
    made.shapes += [
        Stroke(x + 3, y - 7, x + 3, y + 1, "act", 1.1),
        Text(x + 9, y, "a channel or file operation", 8.5),
    ]
    x += 132
    made.shapes += [Stroke(x + 3, y - 9, x + 3, y + 2, "ink", 2.2), Text(x + 10, y, "ended", 8.5)]
    x += 54
    made.shapes += [
        Stroke(x + 3, y - 9, x + 3, y + 2, "stop", 2.2),
        Text(x + 10, y, "ended by others, or broken off", 8.5),
    ]
    x += 148
    made.shapes += [Bar(x, y - 8, 16, 9, "paper", "line"), Text(x + 21, y, "time not used", 8.5)]


def _denied(case: Case) -> bool:
    return any(one["verdict"] != "approved" for one in case.approvals)


def _in_words(case: Case) -> str:
    over = over_at(case)
    parts = [f"Asked {case.request['submitted_at']:%H:%M:%S}"]
    parts += [f"{one['verdict']} {one['decided_at']:%H:%M:%S}" for one in case.approvals]
    for one in case.sessions:
        ended = f"{one['ended_at']:%H:%M:%S}" if one["ended_at"] else "open"
        parts.append(f"{one['label']} {one['opened_at']:%H:%M:%S} to {ended}")
    parts.append(f"access over {over:%H:%M:%S}" if over else "access still runs")
    return "; ".join(parts) + " (UTC)"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def svg(made: Picture) -> str:
    """The picture as SVG of its own: no script, no link, no font from elsewhere."""
    shapes = "\n".join(map(_svg_shape, made.shapes))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {made.width:g} {made.height:g}" role="img" '
        f'font-family="Atkinson, Helvetica, Arial, sans-serif"><title>{_xml(made.says)}</title>\n{shapes}\n</svg>\n'
    )


def _svg_shape(shape: Shape) -> str:
    match shape:
        case Bar():
            colours = f'fill="{COLOURS[shape.fill]}" stroke="{COLOURS[shape.edge]}"'
            size = f'width="{shape.width:.2f}" height="{shape.height:g}"'
            return f'<rect x="{shape.x:g}" y="{shape.y:g}" {size} rx="2" {colours}/>'
        case Stroke():
            ends = f'x1="{shape.x1:g}" y1="{shape.y1:g}" x2="{shape.x2:g}" y2="{shape.y2:g}"'
            return f'<line {ends} stroke="{COLOURS[shape.colour]}" stroke-width="{shape.width:g}"/>'
        case Dot():
            colours = f'fill="{COLOURS[shape.colour]}" stroke="#ffffff" stroke-width="1"'
            return f'<circle cx="{shape.x:g}" cy="{shape.y:g}" r="{shape.radius:g}" {colours}/>'
        case Text():
            bold = ' font-weight="700"' if shape.bold else ""
            place = f'x="{shape.x:g}" y="{shape.y:g}" text-anchor="{shape.anchor}" font-size="{shape.size:g}"'
            return f'<text {place} fill="{COLOURS[shape.colour]}"{bold}>{_xml(shape.words)}</text>'


def _xml(text: str) -> str:
    return escape(visible(text))
