"""What a transcript is made of: spans of a recording with a name and lines, within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["command", "screen", "output"]
COMMAND: Final = "command"
SCREEN: Final = "screen"
OUTPUT: Final = "output"

MOST_LINE: Final = 2000
MOST_COMMAND: Final = 8000
MOST_LINES_OF_SPAN: Final = 400
MOST_LINES: Final = 40_000
MOST_CHARACTERS: Final = 4 * 1024 * 1024
MOST_SPANS: Final = 5_000
MOST_SEEN: Final = 300


@dataclass
class Line:
    """A line as it was shown; `time` is when it began, in seconds of the recording."""

    time: float
    text: str


@dataclass
class Span:
    """A command, a full-screen program, or what was shown outside of both."""

    channel: int
    kind: Kind
    began: float
    text: str = ""
    exact: bool = False
    ended: float | None = None
    exit_status: int | None = None
    lines: list[Line] = field(default_factory=list)
    cut: bool = False


@dataclass
class Budget:
    """What one recording may take of the database; what doesn't fit is left out, and that is said."""

    lines: int = MOST_LINES
    characters: int = MOST_CHARACTERS
    spans: int = MOST_SPANS
    over: bool = False

    def take(self, text: str) -> bool:
        """Room for one more line?"""
        if self.lines <= 0 or self.characters < len(text):
            self.over = True
            return False
        self.lines -= 1
        self.characters -= len(text)
        return True

    def take_span(self) -> bool:
        if self.spans <= 0:
            self.over = True
            return False
        self.spans -= 1
        return True


class Seen:
    """The distinct lines that a full-screen program showed, in the order in which they were first seen."""

    def __init__(self) -> None:
        self._lines: dict[str, float] = {}
        self.cut = False

    def add(self, time: float, texts: Iterator[str]) -> None:
        for text in texts:
            shown = text.strip()[:MOST_LINE]
            if len(shown) < 2 or shown in self._lines:
                continue
            if len(self._lines) >= MOST_SEEN:
                self.cut = True
                return
            self._lines[shown] = time

    def lines(self) -> list[Line]:
        return [Line(time, text) for text, time in self._lines.items()]
