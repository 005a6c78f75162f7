"""The smallest line discipline: what somebody types becomes lines; echo, erase, Ctrl-C, Ctrl-D, Ctrl-U."""

from __future__ import annotations

import codecs
from collections import deque

MOST_LINE = 2000
MOST_LINES = 100
END = "\x04"
BREAK = "\x03"


class Keyboard:
    """Fed by the reader of a connection; not locked. `lines` are finished lines; None is the end of the input."""

    def __init__(self) -> None:
        self.lines: deque[str | None] = deque()
        self.deaf = False
        self.hidden = False
        self.interrupted = False
        self.dropped = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._typed = ""
        self._before = ""
        self._escape = ""

    def feed(self, data: bytes) -> str:
        """Take what was typed; returns what a terminal should echo."""
        return "".join(self._take(character) for character in self._decoder.decode(data))

    def end(self) -> None:
        """Nothing more will come."""
        self.lines.append(None)

    def forget(self) -> None:
        """Drop what was typed ahead, finished or not. The end of the input stays the end."""
        ended = None in self.lines
        self.dropped += len(self._typed) + sum(len(line or "") for line in self.lines)
        self._typed, self._escape = "", ""
        self.lines.clear()
        if ended:
            self.lines.append(None)

    def _take(self, character: str) -> str:
        before, self._before = self._before, character
        if self.deaf:
            self.interrupted = self.interrupted or character == BREAK
            self.dropped += 1
            return ""
        if self._in_escape(character):
            return ""
        if character in "\r\n":
            return "" if before == "\r" and character == "\n" else self._finish(self._typed) + "\r\n"
        if character in (BREAK, END):
            return self._finish(None)
        if character in "\x7f\b":
            self._typed, erased = self._typed[:-1], self._typed[-1:]
            return self._shown("\b \b" if erased else "")
        if character == "\x15":
            erased, self._typed = self._typed, ""
            return self._shown("\b \b" * len(erased))
        if not character.isprintable() or len(self._typed) >= MOST_LINE:
            return ""
        self._typed += character
        return self._shown(character)

    def _in_escape(self, character: str) -> bool:
        """Whether it belongs to a key such as an arrow, which means nothing here."""
        if character == "\x1b":
            self._escape = character
        elif self._escape == "\x1b" and character in "[O":
            self._escape += character
        elif len(self._escape) > 1:
            self._escape = "" if character.isalpha() or character == "~" else self._escape
        else:
            self._escape = ""
            return False
        return True

    def _shown(self, text: str) -> str:
        return "" if self.hidden else text

    def _finish(self, line: str | None) -> str:
        self._typed = ""
        if len(self.lines) < MOST_LINES:
            self.lines.append(line)
        return ""
