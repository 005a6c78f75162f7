"""How a recording is spelled: asciicast v2, one JSON line an event, printable ASCII only.

A recording is one session and may hold several channels. Players know three of these codes and skip the others.

  [t, "o", "text"]      shown to the person
  [t, "m", "label"]     a marker
  [t, "r", "80x24"]     the terminal was resized
  [t, "c", "3"]         what follows belongs to channel 3 ("3 stderr": to its error stream)
  [t, "h", "base64"]    bytes relayed that end inside a character; the next "o" of the channel will show them
  [t, "b", "base64"]    the exact bytes behind the "o" on the next line, where its text can't give them back: it was
                        in another encoding, or binary, of which the "o" shows the words and a dot for each other byte
  [t, "s", "2 1048600 9f86..."]   two segments have ended: the first 1048600 bytes of this file, with that SHA-256
  [t, "e", "closed"]    the end: "closed" in order, "cut" after a failure, "recovered" after a crash

So the exact bytes of a channel are its "o" texts in UTF-8, with each "b" in place of the "o" that it precedes, and
with the last "h" added where no "o" follows it. Everything beyond ASCII is escaped: a torn or hostile recording
can't send a terminal sequence to whoever prints the file.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from json.encoder import encode_basestring_ascii as quote
from typing import Any, NamedTuple

from pydantic_core import to_json

OUTPUT, MARKER, RESIZE, CHANNEL, HELD, BYTES, SEGMENT, END = "o", "m", "r", "c", "h", "b", "s", "e"
CLOSED, CUT, RECOVERED = "closed", "cut", "recovered"
MOST_CELLS = 1000
"""Columns or rows beyond this are recorded as this: a player allocates what a recording asks for."""
MOST_LINE = 4 * 1024 * 1024
"""The recorder writes no line near this length; a longer one is damage, and isn't kept in memory."""


LONG = 256
"""From this length on an ASCII text is spelled by pydantic's encoder: the same bytes in a third of the time."""

_decode = json.JSONDecoder().decode


class Event(NamedTuple):
    """One event as it stands in the file; `time` counts seconds from the header."""

    time: float
    code: str
    data: str


class Stream(NamedTuple):
    """One direction of output within a session: a channel's normal output, or its error output."""

    channel: int
    stderr: bool = False


_DOTTED = bytes(
    byte if (32 <= byte < 127 and byte not in b'"\\') or byte == 10 else ord(".") for byte in range(256)
)


def event_line(time: float, code: str, data: str) -> bytes:
    """Spell one event, newline included."""
    if len(data) >= LONG and data.isascii() and "\x7f" not in data:
        return b'[%.6f,"%b",%b]\n' % (time, code.encode("ascii"), to_json(data))
    return f'[{time:.6f},"{code}",{quote(data)}]\n'.encode("ascii")


def bytes_line(time: float, code: str, data: bytes) -> bytes:
    """Spell one event that carries exact bytes."""
    return b'[%.6f,"%b","%b"]\n' % (time, code.encode("ascii"), binascii.b2a_base64(data, newline=False))


def dotted_line(time: float, data: bytes) -> bytes:
    """Spell one output event for bytes that are no text: lines and words as they are, a dot for each other byte."""
    return b'[%.6f,"o","%b"]\n' % (time, data.translate(_DOTTED).replace(b"\n", b"\\n"))


def stream_line(time: float, stream: Stream) -> bytes:
    """Spell the switch to a channel's stream."""
    return event_line(time, CHANNEL, f"{stream.channel} stderr" if stream.stderr else str(stream.channel))


def segment_line(time: float, segments: int, size: int, sha256: str) -> bytes:
    """Spell that so many segments have ended, at that size, with the hash of the file so far."""
    return event_line(time, SEGMENT, f"{segments} {size} {sha256}")


def header_line(facts: Mapping[str, Any]) -> bytes:
    """Spell the header; size and version are put into the bounds that players accept, the rest is kept as given."""
    width, height = cells(facts.get("width", 80)), cells(facts.get("height", 24))
    header = {**facts, "version": 2, "width": width, "height": height}
    return json.dumps(header, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def cells(count: int) -> int:
    """A terminal's columns or rows, within what a player can bear."""
    return min(max(int(count), 1), MOST_CELLS)


def split_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a recording that comes in pieces, without newlines, the torn last one too, in bounded memory.

    Of a line that is too long to be one, an unreadable rest is given.
    """
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n") if rest else piece.split(b"\n")
        yield from lines
        if len(rest) > MOST_LINE:
            rest = b"?"
    if rest:
        yield rest


def parse_header(line: bytes) -> dict[str, Any] | None:
    """Read a header line; None if it isn't one."""
    value = _parse(line)
    return value if isinstance(value, dict) and value.get("version") == 2 else None


def parse_event(line: bytes) -> Event | None:
    """Read an event line; None if it isn't one."""
    match _parse(line):
        case [int() | float() as time, str() as code, str() as data] if math.isfinite(time):
            return Event(float(time), code, data)
    return None


def parse_stream(data: str) -> Stream | None:
    """Read what a channel event says; None if it makes no sense."""
    number, _, rest = data.partition(" ")
    if not (number.isascii() and number.isdigit() and len(number) < 10) or rest not in ("", "stderr"):
        return None
    return Stream(int(number), rest == "stderr")


def parse_segment(data: str) -> tuple[int, int, str] | None:
    """Read what a segment event says: segments, bytes, SHA-256; None if it makes no sense."""
    words = data.split(" ")
    if len(words) != 3 or not all(word.isascii() and word.isdigit() and len(word) < 19 for word in words[:2]):
        return None
    return int(words[0]), int(words[1]), words[2]


def parse_bytes(data: str) -> bytes:
    """Read exact bytes; what can't be read gives none."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _parse(line: bytes) -> Any:
    try:
        return _decode(line.decode())
    except (ValueError, RecursionError):
        return None
