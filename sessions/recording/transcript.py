"""Reading a recording, whole or damaged: what was shown on each channel, as a replay, as bytes, as text.

Every reader takes the plain file in pieces (from the disk while the session lives, or from `open_sealed()`), needs little
memory, and skips a damaged line rather than stop at it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sessions.recording import asciicast
from sessions.recording.asciicast import Stream

_BLOCK = 64 * 1024


class Moment(NamedTuple):
    """One event, with the stream it belongs to and, for output, the exact bytes behind it."""

    time: float
    code: str
    data: str
    stream: Stream | None
    exact: bytes


@dataclass
class Transcript:
    """A recording being read. Iterate once; `header`, `damaged_lines` and `ended` are filled on the way."""

    pieces: Iterable[bytes]
    header: dict[str, Any] = field(default_factory=dict)
    damaged_lines: int = 0
    ended: str = ""

    def __iter__(self) -> Iterator[Moment]:
        """Output, markers and resizes in order. Output that was still held at the end is shown as replaced."""
        stream = Stream(0)
        exact: bytes | None = None
        held: dict[Stream, bytes] = {}
        time = 0.0
        for event in self._events():
            time = event.time
            if event.code == asciicast.OUTPUT:
                held.pop(stream, None)
                given = event.data.encode(errors="replace") if exact is None else exact
                yield Moment(time, event.code, event.data, stream, given)
                exact = None
                continue
            if exact is not None:  # a torn write left the bytes without their text
                yield Moment(time, asciicast.OUTPUT, exact.decode(errors="replace"), stream, exact)
                exact = None
            if event.code == asciicast.BYTES:
                exact = asciicast.parse_bytes(event.data)
            elif event.code == asciicast.HELD:
                held[stream] = asciicast.parse_bytes(event.data)
            elif event.code == asciicast.CHANNEL:
                stream = asciicast.parse_stream(event.data) or stream
            elif event.code in (asciicast.MARKER, asciicast.RESIZE):
                yield Moment(time, event.code, event.data, stream, b"")
            elif event.code == asciicast.END:
                self.ended = event.data
        for stream, rest in held.items():
            yield Moment(time, asciicast.OUTPUT, rest.decode(errors="replace"), stream, rest)

    def _events(self) -> Iterator[asciicast.Event]:
        for number, line in enumerate(asciicast.split_lines(self.pieces)):
            if number == 0 and (header := asciicast.parse_header(line)):
                self.header = header
            elif event := asciicast.parse_event(line):
                yield event
            else:
                self.damaged_lines += 1


class TextLine(NamedTuple):
    """A line that was shown, without terminal sequences; `time` is when it began."""

    time: float
    stream: Stream
    text: str


def read_file(path: Path) -> Iterator[bytes]:
    """The pieces of a plain recording on disk; a live one is read as far as it goes."""
    with path.open("rb") as source:
        while piece := source.read(_BLOCK):
            yield piece


def channel_view(pieces: Iterable[bytes], channel: int) -> Iterator[bytes]:
    """One channel's recording as a valid asciicast v2 of its own, error output included, all markers kept."""
    transcript = Transcript(pieces)
    begun = False
    for moment in transcript:
        if not begun:
            yield asciicast.header_line(transcript.header)
            begun = True
        if moment.code == asciicast.MARKER or (moment.stream and moment.stream.channel == channel):
            yield asciicast.event_line(moment.time, moment.code, moment.data)
    if not begun:
        yield asciicast.header_line(transcript.header)


def channels(pieces: Iterable[bytes]) -> list[Stream]:
    """The streams on which something was shown, in order of first appearance."""
    seen: dict[Stream, None] = {}
    for moment in Transcript(pieces):
        if moment.code == asciicast.OUTPUT and moment.stream:
            seen.setdefault(moment.stream)
    return list(seen)


def exact_bytes(pieces: Iterable[bytes], channel: int, *, stderr: bool = False) -> Iterator[bytes]:
    """What was recorded of one stream, byte for byte as the asset sent it."""
    wanted = Stream(channel, stderr)
    for moment in Transcript(pieces):
        if moment.code == asciicast.OUTPUT and moment.stream == wanted:
            yield moment.exact


def text_lines(pieces: Iterable[bytes], channel: int | None = None) -> Iterator[TextLine]:
    """What was shown, as lines of plain text for searching; of one channel if named."""
    texts: dict[Stream, _Text] = {}
    for moment in Transcript(pieces):
        if moment.code != asciicast.OUTPUT or moment.stream is None:
            continue
        if channel in (None, moment.stream.channel):
            text = texts.setdefault(moment.stream, _Text(moment.stream))
            yield from text.feed(moment.time, moment.data)
    for text in texts.values():
        yield from text.finish()


_SEQUENCE = re.compile(
    r"(?P<erase>\x1b\[0?K)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b[]PX^_][^\x07\x18\x1a\x1b\x9c]*(?:[\x07\x18\x1a\x9c]|(?=\x1b))"  # titles, links
    r"|\x1b[ -/]+[0-~]"  # character sets
    r"|\x1b[0-OQ-WYZ\\`-~]"
)
_STRING_END = re.compile(r"[\x07\x18\x1a\x9c]|(?=\x1b)")
_UNFINISHED = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*|\x1b[ -/]*")
_MOST_OPEN = 64
_MOST_HIDDEN = 1024 * 1024
"""A title or picture that goes on for longer than this is taken for text again."""
_LINE_END = re.compile(r"(?<!\r)\r*\n|\r(?=[^\r\n])")
_ERASE = "\x1e"
_MOST_TEXT = 8192
"""A longer line of text is given in parts."""


class _Text:
    """One stream's output on its way to lines of text; hostile output costs no more than its length."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._open = ""
        self._hidden = 0
        self._return = ""
        self._parts: list[str] = []
        self._length = 0
        self._began = 0.0

    def feed(self, time: float, data: str) -> Iterator[TextLine]:
        text = self._return + self._plain(data.replace(_ERASE, ""))
        whole = text.rstrip("\r")
        self._return = "\r" if len(whole) < len(text) else ""
        first, *others = _LINE_END.split(whole)
        yield from self._add(time, first)
        for other in others:
            yield self._take()
            yield from self._add(time, other)

    def finish(self) -> Iterator[TextLine]:
        self._parts.append(self._open)
        if (last := self._take()).text:
            yield last

    def _add(self, time: float, text: str) -> Iterator[TextLine]:
        if not self._length:
            self._began = time
        if text:
            self._parts.append(text)
            self._length += len(text)
        if self._length > _MOST_TEXT:
            yield self._take()

    def _take(self) -> TextLine:
        line = TextLine(self._began, self._stream, _as_seen("".join(self._parts)))
        self._parts, self._length = [], 0
        return line

    def _plain(self, data: str) -> str:
        """Without terminal sequences; the beginning of one is kept back until the rest comes."""
        if self._hidden:
            end = _STRING_END.search(data)
            self._hidden += len(data)
            if end is None and self._hidden < _MOST_HIDDEN:
                return ""
            data = data[end.end() :] if end else data
            self._hidden = 0
        text = _SEQUENCE.sub(_erase, self._open + data)
        at = max(text.rfind("\x1b"), text.rfind("\x9b"))
        rest = text[at:] if at >= 0 else ""
        self._open = ""
        if rest[:1] == "\x1b" and rest[1:2] in ("]", "P", "X", "^", "_"):
            self._hidden = 1
        elif len(rest) <= _MOST_OPEN and _UNFINISHED.fullmatch(rest):
            self._open = rest
        else:
            return text
        return text[:at]


def _erase(sequence: re.Match[str]) -> str:
    return _ERASE if sequence["erase"] else ""


def _as_seen(line: str) -> str:
    """The line as it stood in the end: backspaces and erasures done, control characters gone."""
    if line.isprintable():
        return line.rstrip()
    cells: list[str] = []
    at = 0
    for character in line:
        if character == "\x08":
            at = max(at - 1, 0)
        elif character == _ERASE:
            del cells[at:]
        elif character == "\t" or not ("\x00" <= character <= "\x1f" or "\x7f" <= character <= "\x9f"):
            cells[at : at + 1] = character
            at += 1
    return "".join(cells).rstrip()
