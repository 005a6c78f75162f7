"""Small pictures of open sessions, as lines of text: each recording is read where it grows and drawn on a screen here.

For a wall of many sessions that is looked at every two seconds. A session that shows more than can be drawn is joined again
near its end: what a wall shows is what is on the screen now.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from breakglass import clock
from sessions.live.disk import DiskSilent, Line
from sessions.recording import asciicast
from sessions.recording.terminal import Terminal

COLUMNS, LINES = 80, 24
AT_ONCE: Final = 32 * 1024
ALL_AT_ONCE: Final = 256 * 1024
"""Drawn for one look at the wall, all sessions together: some 0.3 s of one processor."""
FAR_BEHIND: Final = 4 * AT_ONCE
FORGET: Final = 60.0
MOST_CHANNELS: Final = 16
STRIDE: Final = ALL_AT_ONCE // AT_ONCE
"""So many may draw all they want in one look."""

Screen = tuple[int, list[str]]
"""Columns, and rows of text."""


class _Nobody:
    """A wall wants the screen alone."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class Thumbnail:
    """One session's screen: of the channel that showed something last."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where there is no such file here."""
        self._file = path.open("rb", buffering=0)
        self._terminals: OrderedDict[str, Terminal] = OrderedDict()
        self._channel = "0"
        self._width, self._height = COLUMNS, LINES

    def look(self, most: int) -> int:
        """Draw what came, `most` bytes of it; how many were drawn."""
        behind = os.fstat(self._file.fileno()).st_size - self._file.tell()
        if behind > FAR_BEHIND:
            self._file.seek(-AT_ONCE, os.SEEK_END)
            self._file.readline()
            self._terminals.clear()
        data = self._file.read(min(most, AT_ONCE))
        end = data.rfind(b"\n") + 1
        if not end and len(data) < asciicast.MOST_LINE:
            self._file.seek(-len(data), os.SEEK_CUR)
            return self._long(len(data))
        self._file.seek(end - len(data), os.SEEK_CUR)
        for line in data[:end].splitlines():
            self._draw(line)
        return end

    @property
    def screen(self) -> Screen:
        return self.columns, self.rows

    @property
    def rows(self) -> list[str]:
        """What is on the screen, without what is empty below."""
        terminal = self._terminals.get(self._channel) or next(reversed(self._terminals.values()), None)
        if terminal is None:
            return []
        rows = [terminal.text(y).rstrip() for y in range(terminal.lines)]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    @property
    def columns(self) -> int:
        terminal = self._terminals.get(self._channel)
        return COLUMNS if terminal is None else int(terminal.columns)

    def begin_anew(self) -> None:
        """Forget what was drawn, and go on with what comes."""
        self._terminals.clear()

    def close(self) -> None:
        self._file.close()

    def _long(self, seen: int) -> int:
        """A line longer than what is read at once is passed by, once it is whole."""
        if seen < AT_ONCE:
            return 0
        start = self._file.tell()
        line = self._file.readline(asciicast.MOST_LINE)
        if not line.endswith(b"\n"):
            self._file.seek(start)
        return seen

    def _draw(self, line: bytes) -> None:
        event = asciicast.parse_event(line)
        if event is None:
            header = asciicast.parse_header(line)
            if header:
                self._width, self._height = _size(header.get("width"), header.get("height"))
        elif event.code == asciicast.CHANNEL:
            self._channel = event.data.split(" ")[0]
        elif event.code == asciicast.RESIZE:
            width, _, height = event.data.partition("x")
            columns, lines = _size(width, height)
            self._terminal().resize(lines, columns)
        elif event.code == asciicast.OUTPUT:
            self._terminal().feed(event.time, event.data)

    def _terminal(self) -> Terminal:
        found = self._terminals.get(self._channel)
        if found is None:
            found = self._terminals[self._channel] = Terminal(self._width, self._height, _Nobody())
            if len(self._terminals) > MOST_CHANNELS:
                self._terminals.popitem(last=False)
        self._terminals.move_to_end(self._channel)
        return found


class Wall:
    """The thumbnails of one process. What nobody asked for in a minute is given up."""

    def __init__(self) -> None:
        self._line = Line()
        self._kept: OrderedDict[UUID, Thumbnail] = OrderedDict()
        self._asked: dict[UUID, float] = {}
        self._shown: dict[UUID, Screen] = {}
        self._turn = 0

    def look(self, wanted: Mapping[UUID, Path]) -> tuple[dict[UUID, Screen], bool]:
        """Bring these up to date: columns and rows of each; and whether the disk is silent, so that they are old. A session
        whose recording isn't here is left out."""
        try:
            return self._line.wait(partial(self._look, wanted)), False
        except DiskSilent:
            shown = self._shown
            return {one: shown[one] for one in wanted if one in shown}, True

    def _look(self, wanted: Mapping[UUID, Path]) -> dict[UUID, Screen]:
        """In a thread, one at a time."""
        now = clock.monotonic()
        self._asked.update(dict.fromkeys(wanted, now))
        for gone in [one for one, asked in self._asked.items() if now - asked > FORGET]:
            del self._asked[gone]
            if thumbnail := self._kept.pop(gone, None):
                thumbnail.close()
        left = ALL_AT_ONCE
        for session_id in self._in_turn(wanted):
            thumbnail = self._one(session_id, wanted[session_id])
            if thumbnail is not None:
                left -= _looked(thumbnail, max(1024, min(AT_ONCE, left)))
        found = {one: self._kept[one].screen for one in wanted if one in self._kept}
        self._shown = {one: screen for one, screen in self._shown.items() if one in self._asked} | found
        return found

    def _in_turn(self, wanted: Mapping[UUID, Path]) -> list[UUID]:
        """Each time another one comes first: those who show much leave nothing to those behind them."""
        self._turn += 1
        order = list(wanted)
        first = self._turn * STRIDE % max(1, len(order))
        return order[first:] + order[:first]

    def _one(self, session_id: UUID, path: Path) -> Thumbnail | None:
        known = self._kept.get(session_id)
        if known is None:
            try:
                known = self._kept[session_id] = Thumbnail(path)
            except OSError:
                return None
        return known


def _looked(thumbnail: Thumbnail, most: int) -> int:
    """As `look`; a screen that can't be drawn begins anew, and takes no other one with it."""
    try:
        return thumbnail.look(most)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, TypeError, ValueError):
        thumbnail.begin_anew()
        return most


def _size(width: Any, height: Any) -> tuple[int, int]:
    try:
        return min(max(int(width), 20), 200), min(max(int(height), 4), 60)
    except (TypeError, ValueError):
        return COLUMNS, LINES
