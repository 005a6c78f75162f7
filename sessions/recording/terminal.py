"""A terminal that reads what a recording shows: a screen (`glass`) behind a reader that nothing can hold up.

pyte knows what each sequence does to a screen. What it is given here is bounded first: sequences have a length, strings
(titles, links, pictures) are never kept, numbers are clamped. Text that scrolls by in bulk doesn't go through the screen.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final

from pyte import charsets
from pyte import modes as mo

from sessions.recording.glass import Glass, Listener, Row

__all__ = ["Listener", "Row", "Terminal"]

MOST_STRING: Final = 1024 * 1024
"""A title or picture that goes on for longer than this is taken for text again, as elsewhere in the house."""
MOST_KEPT: Final = 4096
"""Of a string so much is looked at."""
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


class Terminal(Glass):
    """A screen that reads text with its sequences, and tells a listener of what leaves it."""

    def __init__(self, columns: int, lines: int, listener: Listener) -> None:
        self.addressed = 0
        """How often the cursor was sent to a place on the screen, but for a look aside."""
        self._rest = ""
        self._string: list[str] | None = None
        self._hidden = 0
        self._over = False
        super().__init__(columns, lines, listener)

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


def _number(word: str) -> int:
    return min(int(word), 9999) if word.isdecimal() and word.isascii() and len(word) < 10 else 0
