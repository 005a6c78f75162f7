"""A recording as a transcript: which commands were run, what they showed, and when.

Each channel with a terminal goes through a terminal emulator of its own (shell.py); output without one is text already.
What a hostile recording can ask for is bounded: time, memory, lines, and how much is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from breakglass.domain.text import storable
from sessions.recording import asciicast
from sessions.recording.shell import Shell
from sessions.recording.spans import (
    COMMAND,
    MOST_COMMAND,
    MOST_LINES_OF_SPAN,
    OUTPUT,
    Budget,
    Line,
    Span,
)
from sessions.recording.transcript import Moment, Transcript, _Text

VERSION: Final = 1
"""Of the renderer: a better one gives another number, and what older ones rendered is rendered again."""
SECONDS: Final = 30.0
"""Of the processor's time for one recording; what comes after is left out, and that is said."""
_STARTED = re.compile(r"channel (\d{1,9}): (\w+)")
_MOST_CHANNELS: Final = 300


@dataclass(frozen=True)
class Known:
    """What the protocol told of a channel; `seconds` is how long it was open."""

    kind: str
    command: str = ""
    seconds: float | None = None
    exit_status: int | None = None
    began: float = 0.0


@dataclass
class Rendered:
    """The spans in the order in which they began, and what was left out."""

    spans: list[Span] = field(default_factory=list)
    lines: int = 0
    problem: str = ""


class _Plain:
    """A channel without a terminal: its lines are the output of what it ran."""

    def __init__(self, number: int, span: Span | None) -> None:
        self._span = span or Span(number, OUTPUT, 0.0)
        self._texts: dict[bool, _Text] = {}
        self._new = span is None

    def feed(self, moment: Moment, budget: Budget) -> None:
        stream = moment.stream
        if stream is None:
            return
        text = self._texts.setdefault(stream.stderr, _Text(stream))
        self._keep([Line(line.time, line.text) for line in text.feed(moment.time, moment.data)], budget)

    def _keep(self, lines: list[Line], budget: Budget) -> None:
        for line in lines:
            if len(self._span.lines) >= budget.lines:
                budget.over = self._span.cut = True
                return
            self._span.lines.append(line)

    def finish(self, time: float, emit: Callable[[Span], None], budget: Budget) -> None:
        for text in self._texts.values():
            self._keep([Line(line.time, line.text) for line in text.finish()], budget)
        if self._new and self._span.lines:
            self._span.began = self._span.lines[0].time
        if self._span.ended is None:
            self._span.ended = time
        if not self._new or self._span.lines:
            emit(self._span)


class _Renderer:
    def __init__(self, known: Mapping[int, Known], budget: Budget) -> None:
        self._known, self._budget = known, budget
        self._began: dict[int, float] = {}
        self._sizes: dict[int, tuple[int, int]] = {}
        self._kinds: dict[int, str] = {number: one.kind for number, one in known.items()}
        self._channels: dict[int, Shell | _Plain] = {}
        self.spans: list[Span] = []
        self.last = 0.0

    def moment(self, moment: Moment) -> None:
        self.last = max(self.last, moment.time)
        number = moment.stream.channel if moment.stream else 0
        if moment.code == asciicast.MARKER:
            if started := _STARTED.match(moment.data):
                self._began.setdefault(int(started[1]), moment.time)
                self._kinds.setdefault(int(started[1]), started[2])
        elif moment.code == asciicast.RESIZE:
            self._resize(number, moment.data)
        elif moment.code == asciicast.OUTPUT and self._kinds.get(number) not in ("sftp", "forward"):
            channel = self._channel(number)
            if isinstance(channel, Shell):
                channel.feed(moment.time, moment.data)
            elif channel is not None:
                channel.feed(moment, self._budget)

    def finish(self) -> None:
        for number, one in self._known.items():
            if one.kind == "exec" and number not in self._channels:
                self._channel(number)  # it showed nothing, and was run all the same
        for number, channel in self._channels.items():
            known = self._known.get(number)
            began = self._began.get(number, known.began if known else 0.0)
            end = began + known.seconds if known and known.seconds is not None else self.last
            if isinstance(channel, Shell):
                channel.finish(end)
            else:
                channel.finish(end, self.spans.append, self._budget)

    def _resize(self, number: int, data: str) -> None:
        columns, _, lines = data.partition("x")
        if columns.isdecimal() and lines.isdecimal() and len(data) < 16:
            self._sizes[number] = int(columns), int(lines)
            if isinstance(shell := self._channels.get(number), Shell):
                shell.resize(int(columns), int(lines))

    def _channel(self, number: int) -> Shell | _Plain | None:
        found = self._channels.get(number)
        if found is None and len(self._channels) < _MOST_CHANNELS:
            span = self._exact(number)
            if number in self._sizes:
                found = Shell(number, *self._sizes[number], self.spans.append)
                if span:
                    found.begin(span)
            else:
                found = _Plain(number, span)
            self._channels[number] = found
        return found

    def _exact(self, number: int) -> Span | None:
        """The command of an exec channel, as the protocol gave it."""
        known = self._known.get(number)
        if known is None or known.kind != "exec":
            return None
        began = self._began.get(number, known.began)
        ended = began + known.seconds if known.seconds is not None else None
        text = known.command[:MOST_COMMAND]
        return Span(number, COMMAND, began, text, True, ended, known.exit_status)


def render(
    pieces: Iterable[bytes],
    known: Mapping[int, Known],
    *,
    ticks: Callable[[], float],
    seconds: float = SECONDS,
    budget: Budget | None = None,
) -> Rendered:
    """Render a recording. `known` is what the protocol told of its channels, `ticks` a clock. Never takes much longer than
    `seconds` of it, nor keeps more than `budget`; where something was left out, `problem` says so."""
    budget = budget or Budget()
    renderer = _Renderer(known, budget)
    transcript = Transcript(pieces)
    until = ticks() + seconds
    problem = ""
    for moment in transcript:
        if ticks() > until:
            problem = f"It takes too long to render: cut {moment.time:.0f} s after its beginning."
            break
        renderer.moment(moment)
    renderer.finish()
    done = Rendered(problem=problem)
    for span in sorted(renderer.spans, key=lambda one: (one.began, one.kind != COMMAND)):
        _add(done, span, budget)
    if budget.over and not problem:
        done.problem = "It shows more than a transcript keeps: the rest is in the recording alone."
    return done


def _add(done: Rendered, span: Span, budget: Budget) -> None:
    """A span in parts that can be stored; the first has the name, those after it are its output."""
    if not budget.take_span():
        return
    kept = []
    for line in span.lines:
        text = storable(line.text)
        if not budget.take(text):
            span.cut = True
            break
        kept.append(Line(round(line.time, 3), text))
    done.lines += len(kept)
    span.text, span.lines = storable(span.text), kept[:MOST_LINES_OF_SPAN]
    done.spans.append(span)
    rest = kept[MOST_LINES_OF_SPAN:]
    cut, span.cut = span.cut, span.cut or bool(rest)
    while rest and budget.take_span():
        part, rest = rest[:MOST_LINES_OF_SPAN], rest[MOST_LINES_OF_SPAN:]
        more = Span(span.channel, OUTPUT, part[0].time, lines=part, cut=bool(rest) or cut, ended=span.ended)
        done.spans.append(more)
