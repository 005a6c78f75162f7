"""Which stretches of a recording a player may leap over and still show the very screen that it would have come to.

Lines of plain text (letters, line ends, colours) change of a terminal what they write, where the cursor stands and the pen.
Once enough of them have scrolled by, nothing of the screen is left from before, so that only the last chunk of such a
stretch has to be shown, if the pen is known in it. Nothing is guessed: what isn't surely plain is to be shown whole.
"""

from __future__ import annotations

import re
from typing import Final

from sessions.recording import asciicast

PLAIN: Final = 1
"""Plain text on one channel in a terminal that scrolls whole and begins in no escape sequence."""
SETTLES: Final = 2
"""What it leaves depends on nothing before it but the modes: the pen is put back, then so many lines that all is new."""
FLOWS: Final = 4
"""The same, but that the pen is never touched in it."""
COLOURLESS: Final = 8
"""No escape sequence in it."""
BESIDE: Final = 16
"""More than one channel has shown something up to here. What is sure of them together isn't of one that is looked at alone:
another may have closed a sequence, or set the margins back, that is still open or set in that one's own terminal."""

SCROLLBACK: Final = 100
"""Lines that the player's emulator keeps above the screen; a terminal that grows shows them again."""
_SPARE: Final = 64
_NEAR: Final = 64 * 1024
_ESC: Final = rb"\\u001b"
_PATIENCE: Final = 400_000
"""So many escapes outside of plain text are read for what they do to the margins (0.1 s); then all is taken as doubtful."""
# A backslash that isn't one of these escapes; or one of a text that spells an escape ("\\u001b"), which is doubtful.
_NOT_PLAIN: Final = re.compile(
    rb'\\(?!r|n|u001b\[[0-9;:]*m|t|"|\\(?!u00)|/|b|u0007|u00[a-f]|u0[1-9a-f]|u[1-9a-f])'
)
_SIZE: Final = re.compile(r"[0-9]{1,4}x([0-9]{1,4})")
_LINE_END: Final = re.compile(rb"(?<!\\)\\r\\n")
_ODD_MARK: Final = re.compile(f',"{asciicast.MARKER}","'.encode() + rb'[^"]*\\')
_SWITCH: Final = re.compile(f',"{asciicast.CHANNEL}","([0-9]+)'.encode())
_PEN_BACK: Final = re.compile(_ESC + rb"\[0?m")
_MARGINS: Final = re.compile(
    rb'\\u00(?:(?P<doubt>(?<=\\\\u00)|[89]|1b(?:(?=")|\[(?![0-?]*[ !#-/]*(?:[@-\[\]-~]|\\\\))|\\(?!\\)))|1b\[(?P<margins>[0-9;]*)r)'
)
_OPEN_END: Final = re.compile(
    rb"\[[0-?]*[ !#-/]*(?:[@-\[\]-~]|\\\\)|[78=>cDEHM]|\([0-9A-Za-z]|\][^\"\\]*\\u0007"
)


class Leaps:
    """Reads a recording chunk by chunk, all lines that begin in it, and says of each what may be leapt over."""

    def __init__(self, rows: int) -> None:
        self._rows = {rows}
        self._ground = True
        self._whole = True
        self._patience = _PATIENCE
        self._channels: set[bytes] = set()

    def resized(self, size: str) -> None:
        """A terminal of the recording has had that size, as an event spells it."""
        if found := _SIZE.fullmatch(size):
            self._rows.add(asciicast.cells(int(found[1])))

    def lost(self) -> None:
        """What came next can't be read: nothing is sure from there on."""
        self._ground = self._whole = False

    def read(self, lines: bytes, *, steady: bool) -> int:
        """The flags of these lines, which follow those read before: `steady` where in them no terminal is resized and the
        channel stays. Resizes must have been told."""
        if not steady:
            self._channels.update(_SWITCH.findall(lines))
        flags = self._flags(lines, steady=steady)
        return flags | BESIDE if flags and len(self._channels) > 1 else flags

    def _flags(self, lines: bytes, *, steady: bool) -> int:
        # An escape in a mark is none of the terminal's; such marks are rare, and what stands beside them is shown.
        if not steady or _NOT_PLAIN.search(lines) or _ODD_MARK.search(lines):
            self._read_margins(lines)
            self._read_end(lines)
            return 0
        coloured = lines.find(b"\\u001b") >= 0
        flags = PLAIN if self._ground and self._whole else 0
        self._ground = self._ground or coloured
        if not flags:
            return 0
        if not coloured:
            return flags | COLOURLESS | (FLOWS if self._scrolls(lines, 0) else 0)
        back = _PEN_BACK.search(lines)
        return flags | (SETTLES if back and self._scrolls(lines, back.end()) else 0)

    def _scrolls(self, lines: bytes, begin: int) -> bool:
        """Whether from the first line end on all that a terminal keeps is written anew."""
        end_of_line = _LINE_END.search(lines, begin)
        if end_of_line is None:
            return False
        at, wanted = end_of_line.start(), 2 * max(self._rows) + SCROLLBACK + _SPARE
        return any(_line_feeds(lines, at, end) >= wanted for end in (at + _NEAR, len(lines)))

    def _read_margins(self, lines: bytes) -> None:
        """Whether the whole screen scrolls after these lines."""
        self._patience -= lines.count(b"\\u00")
        if self._patience < 0:
            self._whole = False
            return
        for found in _MARGINS.finditer(lines):
            self._whole = not found["doubt"] and self._is_whole(found["margins"])

    def _is_whole(self, margins: bytes) -> bool:
        if not margins:
            return True
        top, _, bottom = margins.partition(b";")
        return top in (b"", b"0", b"1") and self._rows == {int(bottom) if bottom.isdigit() else -1}

    def _read_end(self, lines: bytes) -> None:
        """Whether the emulator is between two sequences after these lines."""
        at = max(lines.rfind(b"\\u001b"), lines.rfind(b"\\u008"), lines.rfind(b"\\u009"))
        if at >= 0:
            escape = lines.startswith(b"\\u001b", at) and not lines.startswith(b"\\", at - 1)
            self._ground = escape and _OPEN_END.match(lines, at + 6) is not None


def _line_feeds(lines: bytes, begin: int, end: int) -> int:
    """At least so many; a text of backslash and letter is none."""
    return lines.count(b"\\n", begin, end) - lines.count(b"\\\\n", begin, end)
