"""What is on a terminal's screen: pyte's screen, bounded, which knows its lines by number and tells of those that leave it.

Sizes are clamped, characters pile up no higher than eight, and a line that is longer than the screen runs through it
without being drawn. Whoever listens is told of each line that is gone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from copy import copy
from typing import Any, Final, NamedTuple, Protocol

import pyte
from pyte import charsets
from pyte import modes as mo
from pyte.screens import Char, Cursor, Margins
from wcwidth import wcwidth

MOST_COLUMNS: Final = 500
MOST_LINES: Final = 200
_MOST_PILE: Final = 8


class Listener(Protocol):
    """What is told of a terminal while it reads."""

    def gone(self, number: int, time: float, text: str, joined: bool) -> None:
        """A line left the screen; `joined`: the next one goes on with it."""

    def newline(self) -> None:
        """The cursor is about to go to the next line."""

    def drawn(self) -> None:
        """Text is about to be drawn."""

    def paste_mode(self, on: bool) -> None:
        """The program asks to be told of pastes: a line is being edited from now on, or no more."""

    def alternate(self, on: bool) -> None:
        """A program took the whole screen, or gave it back."""

    def string(self, code: str, text: str) -> None:
        """An OSC with this number."""


class Row(NamedTuple):
    """A line on the screen: its number counts all lines since the beginning."""

    number: int
    time: float
    text: str
    joined: bool


class _Kept(NamedTuple):
    """The screen below a program that took all of it."""

    buffer: dict[int, Any]
    began: dict[int, float]
    joined: set[int]
    cursor: Cursor
    margins: Margins | None


class _Chars(dict[str, Char]):
    """One Char for each character that was ever drawn."""

    def __missing__(self, data: str) -> Char:
        if len(self) > 20_000:
            self.clear()
        self[data] = made = Char(data)
        return made


_CHARS = _Chars()
_BLANK = _CHARS[" "]


class Glass(pyte.Screen):
    """The screen, and what a program below a full-screen one left on it."""

    def __init__(self, columns: int, lines: int, listener: Listener) -> None:
        self.listener = listener
        self.now = 0.0
        self.base = 0
        """The number of the topmost line."""
        self._began: dict[int, float] = {}
        self._joined: set[int] = set()
        self._aside = False
        self._last = " "
        self._kept: _Kept | None = None
        super().__init__(_within(columns, MOST_COLUMNS), _within(lines, MOST_LINES))

    # --- what leaves it

    def flush(self, rows: int) -> None:
        """Tell of the uppermost `rows` lines as gone, and empty the whole screen; the next line is its first."""
        self._tell(rows)
        self.buffer.clear()
        self._began.clear()
        self._joined.clear()

    def _tell(self, rows: int) -> None:
        if self._kept is None:
            for row in self.rows(rows):
                self.listener.gone(*row)
            self.base += rows

    def _alternate(self, on: bool) -> None:
        """A program takes the whole screen and gives it back as it was."""
        if on and self._kept is None:
            self.listener.alternate(True)
            self._kept = _Kept(dict(self.buffer), self._began, self._joined, copy(self.cursor), self.margins)
            self.buffer.clear()
            self._began, self._joined, self.margins = {}, set(), None
        elif not on and self._kept is not None:
            self.listener.alternate(False)
            kept, self._kept = self._kept, None
            self.buffer.clear()
            self.buffer.update(kept.buffer)
            self._began, self._joined, self.cursor, self.margins = kept[1:]
            self.ensure_hbounds()
            self.resize()

    # --- what is on the screen

    def rows(self, count: int | None = None) -> Iterator[Row]:
        """The screen's lines from the top."""
        for y in range(self.lines if count is None else count):
            joined = y in self._joined
            yield Row(self.base + y, self.began(y), self.text(y, self.columns if joined else None), joined)

    def text(self, y: int, upto: int | None = None) -> str:
        """A line's text without the blanks at its end; as far as column `upto`, with them, if that is given."""
        line = self.buffer.get(y)
        if not line:
            return " " * (upto or 0)
        last = max(line) + 1 if upto is None else upto
        shown = "".join(line[x].data if x in line else " " for x in range(min(last, self.columns)))
        return shown.rstrip() if upto is None else shown

    @property
    def is_taken(self) -> bool:
        """Whether a program has the whole screen."""
        return self._kept is not None

    def logical(self, first: int, last: int) -> str:
        """The text of lines that wrap into each other."""
        whole = [self.text(y, self.columns) for y in range(first, last)]
        return "".join([*whole, self.text(last)])

    def start(self, y: int) -> int:
        """The first of the lines that wrap into each other, as far as line `y`."""
        while y > 0 and y - 1 in self._joined:
            y -= 1
        return y

    def end(self, y: int) -> int:
        """The last of them, be it still blank."""
        while y in self._joined and y + 1 < self.lines:
            y += 1
        return y

    def used(self) -> int:
        """How many lines from the top to the last that shows anything."""
        return next((y + 1 for y in range(self.lines - 1, -1, -1) if self.text(y)), 0)

    def began(self, y: int) -> float:
        return self._began.get(y, self.now)

    def goes_on(self, y: int) -> bool:
        """Whether the line wraps into the next."""
        return y in self._joined and y + 1 < self.lines and bool(self.text(y + 1))

    # --- what pyte does, bounded

    def draw(self, data: str) -> None:
        charset = self.g1_charset if self.charset else self.g0_charset
        if charset is not charsets.LAT1_MAP:
            data = data.translate(charset)
        self._last = data[-1]
        if data.isascii():
            self._draw_narrow(data)
            return
        for char in data:
            width = wcwidth(char)
            if width in (1, 2):
                self._draw_wide(char, width)
            elif width == 0 and unicodedata.combining(char):
                self._pile(char)

    def _draw_narrow(self, data: str) -> None:
        at = 0
        if len(data) > self.columns * (self.lines + 4):
            at = self._run_by(data)
        while at < len(data):
            self._wrap(1)
            part = data[at : at + self.columns - self.cursor.x]
            if mo.IRM in self.mode:
                self.insert_characters(len(part))
            self._began.setdefault(self.cursor.y, self.now)
            x = self.cursor.x
            self.buffer[self.cursor.y].update(
                zip(range(x, x + len(part)), map(_CHARS.__getitem__, part), strict=False)
            )
            self.cursor.x += len(part)
            at += len(part)

    def _run_by(self, data: str) -> int:
        """Of a line longer than the screen the end is drawn; of what ran through, its beginning is told."""
        if self.margins is not None or mo.DECAWM not in self.mode or mo.IRM in self.mode:
            return 0
        rows = len(data) // self.columns - self.lines
        if self._kept is None:
            self._joined.add(self.cursor.y)
            self.flush(self.cursor.y + 1)
            for row in range(min(rows, 8)):
                text = data[row * self.columns : (row + 1) * self.columns]
                self.listener.gone(self.base + row, self.now, text, joined=True)
            self.base += rows
        self.cursor.y = self.cursor.x = 0
        return rows * self.columns

    def _draw_wide(self, char: str, width: int) -> None:
        self._wrap(width)
        if mo.IRM in self.mode:
            self.insert_characters(width)
        self._began.setdefault(self.cursor.y, self.now)
        line = self.buffer[self.cursor.y]
        line[self.cursor.x] = _CHARS[char]
        if width == 2 and self.cursor.x + 1 < self.columns:
            line[self.cursor.x + 1] = _CHARS[""]
        self.cursor.x = min(self.cursor.x + width, self.columns)

    def _wrap(self, width: int) -> None:
        if self.cursor.x + width <= self.columns or self.columns < width:
            return
        if mo.DECAWM in self.mode:
            self._joined.add(self.cursor.y)
            self.carriage_return()
            self.index()
        else:
            self.cursor.x = self.columns - width

    def _pile(self, char: str) -> None:
        line = self.buffer[self.cursor.y]
        under = line.get(self.cursor.x - 1)
        if under is not None and under.data and len(under.data) < _MOST_PILE:
            line[self.cursor.x - 1] = Char(unicodedata.normalize("NFC", under.data + char))

    def repeat(self, count: int | None = None) -> None:
        """REP: the last character again."""
        self.draw(self._last * min(count or 1, self.columns))

    def linefeed(self) -> None:
        if self._kept is None:
            self.listener.newline()
        if not self.goes_on(self.cursor.y):
            self._joined.discard(self.cursor.y)
        super().linefeed()

    def index(self) -> None:
        top, bottom = self.margins or Margins(0, self.lines - 1)
        if self.cursor.y != bottom:
            self.cursor_down()
            return
        if top == 0:
            self._tell(1)
        for y in range(top, bottom):
            if y + 1 in self.buffer:
                self.buffer[y] = self.buffer.pop(y + 1)
            else:
                self.buffer.pop(y, None)
        self.buffer.pop(bottom, None)
        self._began = {y - (top < y <= bottom): at for y, at in self._began.items() if y != top}
        self._joined = {y - (top < y <= bottom) for y in self._joined if y != top}

    def reverse_index(self) -> None:
        if self.cursor.y == (self.margins.top if self.margins else 0):
            self._joined.clear()
        super().reverse_index()

    def erase_in_display(self, how: int | None = 0, *args: Any, **kwargs: Any) -> None:
        if how in (2, 3) or (not how and (self.cursor.y, self.cursor.x) == (0, 0)):
            if how != 3:
                self.flush(self.used())
            return
        rows = range(self.cursor.y + 1, self.lines) if not how else range(self.cursor.y)
        for y in rows:
            self.buffer.pop(y, None)
            self._began.pop(y, None)
            self._joined.discard(y)
        self.erase_in_line(how or 0)

    def erase_in_line(self, how: int | None = 0, private: bool = False) -> None:
        line = self.buffer[self.cursor.y]
        x = self.cursor.x
        for at in [at for at in line if (how == 2) or (not how and at >= x) or (how == 1 and at <= x)]:
            del line[at]
        if how != 1:
            self._joined.discard(self.cursor.y)
        if not line:
            self._began.pop(self.cursor.y, None)

    def cursor_to_line(self, line: int | None = None) -> None:
        if self.margins is None:
            self.mode.discard(mo.DECOM)
        super().cursor_to_line(line)

    def erase_characters(self, count: int | None = None) -> None:
        line = self.buffer[self.cursor.y]
        for x in range(self.cursor.x, min(self.cursor.x + (count or 1), self.columns)):
            line.pop(x, None)

    def save_cursor(self) -> None:
        self.savepoints.clear()
        self._aside = True
        super().save_cursor()

    def restore_cursor(self) -> None:
        self._aside = False
        super().restore_cursor()

    def set_margins(self, top: int | None = None, bottom: int | None = None) -> None:
        super().set_margins(top, bottom)
        if self.margins == Margins(0, self.lines - 1):
            self.margins = None

    def reset(self) -> None:
        if self.buffer:
            self.flush(self.used())
        super().reset()
        self.dirty.clear()
        self.cursor = Cursor(0, 0)

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        lines, columns = (
            _within(lines or self.lines, MOST_LINES),
            _within(columns or self.columns, MOST_COLUMNS),
        )
        over = self.cursor.y - lines + 1
        if over > 0:  # what doesn't fit leaves at the top
            kept = {y - over: line for y, line in self.buffer.items() if y >= over}
            self._tell(over)
            self.buffer.clear()
            self.buffer.update(kept)
            self._began = {y - over: at for y, at in self._began.items() if y >= over}
            self._joined = {y - over for y in self._joined if y >= over}
            self.cursor.y -= over
        for y in [y for y in self.buffer if y >= lines]:
            del self.buffer[y]
        for line in self.buffer.values():
            for x in [x for x in line if x >= columns]:
                del line[x]
        self.lines, self.columns = lines, columns
        self.margins = None
        self.cursor.x = min(self.cursor.x, columns)
        self.tabstops = set(range(8, columns, 8))


def _within(count: int, most: int) -> int:
    return min(max(int(count), 2), most)
