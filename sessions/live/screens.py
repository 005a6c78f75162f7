"""What a terminal needs to begin in the middle of a recording: each channel's size, and the modes that it was put into.

Long recordings aren't sent from their beginning: the screen is redrawn from what was shown last, and these say in what
state a terminal was before that (alternate screen, cursor, scroll region, line drawing). Read once, as far as needed.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import Final

# Lines that say which channel follows and how large it is; and, escaped as the recorder does it, what sets modes.
_SIGNS: Final = re.compile(
    rb'^\[[0-9.]+,"(?:c","(?P<channel>[0-9]{1,9})[^"]*|r","(?P<size>\d{1,4}x\d{1,4}))"\]$'
    rb"|(?<!\\)\\u001b(?:\[\?(?P<modes>[\d;]{1,40})(?P<set>[hl])|\[(?P<region>\d{0,4};?\d{0,4})r|(?P<set2>[()][0AB]|[=>])|(?P<full>c))",
    re.MULTILINE,
)
_MARKS: Final = (b"\\u001b", b',"c","', b',"r","')
_SCREENS: Final = ("?47", "?1047", "?1049")
MOST_CHANNELS: Final = 16
"""A session has ten open at once, a page shows eight; and all these are remembered for many places in the file."""
MOST_DIGITS, MOST_MODES = 4, 64
"""A terminal knows some forty modes; a hostile machine may name millions."""


@dataclass
class Screen:
    """One channel's. `modes` by name, in the order in which a terminal is to be told."""

    size: str = ""
    modes: dict[str, str] = field(default_factory=dict)

    def spelled(self) -> str:
        """The sequences that bring a fresh terminal there; the alternate screen first."""
        first = sorted(self.modes, key=lambda name: name not in _SCREENS)
        return "".join(self.modes[name] for name in first)


@dataclass
class Screens:
    """All channels of a recording up to `at`, which is where a line begins."""

    at: int = 0
    channel: str = "0"
    by_channel: dict[str, Screen] = field(default_factory=dict)

    def copy(self) -> Screens:
        return copy.deepcopy(self)

    def read(self, lines: bytes) -> None:
        """Take in whole lines that follow."""
        self.at += len(lines)
        if not any(mark in lines for mark in _MARKS):
            return
        for found in _SIGNS.finditer(lines):
            self._take(found)

    def _take(self, found: re.Match[bytes]) -> None:
        if found["channel"] is not None:
            self.channel = found["channel"].decode()
            return
        screen = self.by_channel.pop(self.channel, None) or Screen()
        self.by_channel[self.channel] = screen  # the one that was in use last is the last
        if len(self.by_channel) > MOST_CHANNELS:
            del self.by_channel[next(iter(self.by_channel))]
        if found["size"] is not None:
            screen.size = found["size"].decode()
        elif found["modes"] is not None:
            for number in found["modes"].decode().split(";"):
                if len(number) <= MOST_DIGITS and len(screen.modes) < MOST_MODES:
                    screen.modes[f"?{number}"] = f"\x1b[?{number}{found['set'].decode()}"
        elif found["region"] is not None:
            screen.modes["r"] = f"\x1b[{found['region'].decode()}r"
        elif found["set2"] is not None:
            word = found["set2"].decode()
            screen.modes[word[0] if word[0] in "()" else "keypad"] = f"\x1b{word}"
        else:
            screen.modes.clear()
