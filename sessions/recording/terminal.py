"""A terminal that reads what a recording shows: pyte's screen behind a reader that nothing can hold up.

pyte knows what each sequence does to a screen. What it is given here is bounded first: sequences have a length, strings
(titles, links, pictures) are never kept, sizes and numbers are clamped, characters pile up no higher than eight. Text that
scrolls by in bulk doesn't go through the screen at all. Whoever listens is told of lines as they leave the screen.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from typing import Any, Final, NamedTuple, Protocol

import pyte
from pyte import charsets
from pyte import modes as mo
from pyte.screens import Char, Cursor, Margins
from wcwidth import wcwidth

MOST_COLUMNS: Final = 500
MOST_LINES: Final = 200
MOST_STRING: Final = 1024 * 1024
"""A title or picture that goes on for longer than this is taken for text again, as elsewhere in the house."""
MOST_KEPT: Final = 4096
"""Of a string so much is looked at."""
_MOST_PILE: Final = 8
_BULK: Final = 4096

_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|\x1b\[(?P<csi>[0-?]{0,128})(?P<between>[ -/]{0,4})(?P<final>[@-~])"
    r"|\x1b\[(?P<over>[0-?]{129,})"
    r"|\x1b(?P<string>[\]PX^_])"
    r"|\x1b(?P<esc>[ -/]{0,4}[0-OQ-WYZ\\`-~])"
    r"|(?P<control>[\x00-\x1f\x7f-\x9f])"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]{0,128}[ -/]{0,4}|[ -/]{0,4})\Z")
_PARAMETERS = re.compile(r"[ -?]*")
_STRING_END = re.compile(r"[\x07\x18\x1a]|\x1b\\?")
_SGR = re.compile(r"\x1b\[[0-9;:]{0,128}m|\x1b\[0?K(?=\r?\n)")
_BULKY = re.compile(r"[^\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f]+\Z")
_ALTERNATE: Final = frozenset({47, 1047, 1049})
_PASTE: Final = 2004
# A sequence that pyte has no answer to does nothing, and what comes after it is still read.
_STUMBLES: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


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

# Final byte -> what it does, and how many numbers it takes.
_CSI: Final[dict[str, tuple[str, int]]] = {
    "@": ("insert_characters", 1), "A": ("cursor_up", 1), "B": ("cursor_down", 1), "C": ("cursor_forward", 1),
    "D": ("cursor_back", 1), "E": ("cursor_down1", 1), "F": ("cursor_up1", 1), "G": ("cursor_to_column", 1),
    "H": ("cursor_position", 2), "J": ("erase_in_display", 1), "K": ("erase_in_line", 1), "L": ("insert_lines", 1),
    "M": ("delete_lines", 1), "P": ("delete_characters", 1), "X": ("erase_characters", 1), "a": ("cursor_forward", 1),
    "b": ("repeat", 1), "d": ("cursor_to_line", 1), "e": ("cursor_down", 1), "f": ("cursor_position", 2),
    "g": ("clear_tab_stop", 1), "r": ("set_margins", 2), "`": ("cursor_to_column", 1), "s": ("save_cursor", 0),
    "u": ("restore_cursor", 0),
}  # fmt: skip
_ESC: Final = {
    "c": "reset", "D": "index", "E": "linefeed", "M": "reverse_index", "H": "set_tab_stop", "7": "save_cursor",
    "8": "restore_cursor",
}  # fmt: skip
_CONTROL: Final = {
    "\x08": "backspace", "\t": "tab", "\n": "linefeed", "\x0b": "linefeed", "\x0c": "linefeed", "\r": "carriage_return",
    "\x0e": "shift_out", "\x0f": "shift_in",
}  # fmt: skip


class Terminal(pyte.Screen):
    """A screen that reads text with its sequences, and tells a listener of what leaves it."""

    def __init__(self, columns: int, lines: int, listener: Listener) -> None:
        self.listener = listener
        self.now = 0.0
        self.base = 0
        """The number of the topmost line."""
        self.addressed = 0
        """How often the cursor was sent to a place on the screen, but for a look aside."""
        self._began: dict[int, float] = {}
        self._joined: set[int] = set()
        self._rest = ""
        self._string: list[str] | None = None
        self._hidden = 0
        self._over = False
        self._aside = False
        self._last = " "
        self._kept: _Kept | None = None
        super().__init__(_within(columns, MOST_COLUMNS), _within(lines, MOST_LINES))

    # --- reading

    def feed(self, time: float, data: str, *, bulk: bool = True) -> None:
        """Read what was shown at `time`, in seconds."""
        self.now = time
        data, self._rest = self._rest + data, ""
        if bulk and len(data) >= _BULK and self._string is None:
            data = self._scrolled_by(data)
        at = 0
        while at < len(data):
            if self._string is not None:
                at = self._read_string(data, at)
                continue
            if self._over:
                at = self._read_over(data, at)
                continue
            token = _TOKEN.match(data, at)
            if token is None:
                if _UNFINISHED.match(data, at):
                    self._rest = data[at:]
                    return
                at += 1  # an escape that is no sequence
                continue
            at = token.end()
            self._do(token)

    def _do(self, token: re.Match[str]) -> None:
        if token["text"]:
            if self._kept is None:
                self.listener.drawn()
            self.draw(token["text"])
        elif token["control"]:
            if name := _CONTROL.get(token["control"]):
                getattr(self, name)()
        elif token["final"]:
            self._csi(token["csi"], token["between"], token["final"])
        elif token["over"]:
            self._over = True
        elif token["string"]:
            self._string, self._hidden = ([] if token["string"] == "]" else [""]), 0
        elif token["esc"]:
            self._escape(token["esc"])

    def _read_string(self, data: str, at: int) -> int:
        end = _STRING_END.search(data, at)
        piece = data[at : end.start() if end else len(data)]
        self._hidden += len(piece)
        kept = self._string
        if kept is not None and kept[:1] != [""] and self._hidden <= MOST_KEPT:
            kept.append(piece)
        if end is None:
            if self._hidden > MOST_STRING:
                self._string = None
            return len(data)
        self._string = None
        if kept and kept[:1] != [""] and self._hidden <= MOST_KEPT and end[0] not in "\x18\x1a":
            code, _, text = "".join(kept).partition(";")
            self.listener.string(code, text)
        # An escape that doesn't end the string begins something else.
        return end.start() if end[0] == "\x1b" and end.end() < len(data) else end.end()

    def _read_over(self, data: str, at: int) -> int:
        """The rest of a sequence with more numbers than any has: it does nothing."""
        parameters = _PARAMETERS.match(data, at)
        at = parameters.end() if parameters else at
        if at < len(data):
            self._over = False
            at += "@" <= data[at] <= "~"
        return at

    def _csi(self, given: str, between: str, final: str) -> None:
        if between or given[:1] in ("<", "=", ">"):
            return
        private = given[:1] == "?"
        numbers = [_number(word) for word in given.lstrip("?").split(";")][:32]
        if final in "hl":
            self._modes(numbers, private=private, on=final == "h")
        elif not private and final in _CSI:
            name, most = _CSI[final]
            if name == "cursor_position" and not self._aside and self._kept is None:
                self.addressed += 1
            with suppress(*_STUMBLES):
                getattr(self, name)(*[number or None for number in numbers[:most]])

    def _modes(self, numbers: list[int], *, private: bool, on: bool) -> None:
        for number in numbers:
            if private and number in _ALTERNATE:
                self._alternate(on)
            elif private and number == _PASTE:
                self.listener.paste_mode(on)
            elif (private and number in (6, 7)) or (not private and number in (4, 20)):
                (self.set_mode if on else self.reset_mode)(number, private=private)

    def _escape(self, code: str) -> None:
        if name := _ESC.get(code):
            getattr(self, name)()
        elif code[0] == "(":
            self.g0_charset = charsets.MAPS.get(code[1:], charsets.LAT1_MAP)
        elif code[0] == ")":
            self.g1_charset = charsets.MAPS.get(code[1:], charsets.LAT1_MAP)

    # --- what scrolls by

    def _scrolled_by(self, data: str) -> str:
        """Of many plain lines the last screenful is drawn; those before are told of at once. Returns what is to be drawn."""
        if self._kept or self.margins is not None or self.mode & {mo.IRM, mo.LNM}:
            return data
        text = _SGR.sub("", data)
        lines = text.split("\n")
        if len(lines) < 3 * self.lines or not _BULKY.match(text):
            return data
        first, middle, last = lines[0], lines[1 : -self.lines - 1], lines[-self.lines - 1 :]
        if any("\r" in line.rstrip("\r") for line in middle):
            return data
        self.feed(self.now, first + "\n", bulk=False)
        self.flush(self.cursor.y)
        for line in middle:
            shown = line.rstrip("\r").expandtabs()
            self.listener.gone(self.base, self.now, shown.rstrip(), joined=False)
            self.base += max(1, -(-len(shown) // self.columns))
        self.cursor.y, self.cursor.x = 0, 0
        return "\n".join(last)

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


def _number(word: str) -> int:
    return min(int(word), 9999) if word.isdecimal() and word.isascii() and len(word) < 10 else 0
