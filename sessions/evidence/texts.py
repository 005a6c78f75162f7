"""Files of a bundle that people and spreadsheets open: transcripts, tables. Nothing in them can act on whoever does."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from breakglass.domain.text import visible
from sessions.recording.transcript import TextLine, text_lines

MOST_TRANSCRIPT: Final = 16 * 1024 * 1024
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Wide ones too: spreadsheets of some languages take them for the same."""


def transcript(pieces: Iterable[bytes], session: dict[str, Any]) -> Iterator[bytes]:
    """What was shown in a session that couldn't be rendered: line by line with its time, without terminal sequences and
    invisible characters."""
    yield f"{session['label']}: {session['person']['username']} on {session['asset']} as {session['login']}\n".encode()
    yield b"NOT RENDERED: lines as they came, not as a terminal showed them. Seconds since the beginning, channel, text.\n"
    yield b"The .cast has every byte.\n\n"
    yield from bounded(map(_line, text_lines(pieces)))


def bounded(lines: Iterable[bytes]) -> Iterator[bytes]:
    """As much of a text as a bundle holds of one; that it goes on is said."""
    size = 0
    for line in lines:
        size += len(line)
        if size > MOST_TRANSCRIPT:
            yield b"\nCut here: the recording goes on, and the .cast has all of it.\n"
            return
        yield line


def _line(line: TextLine) -> bytes:
    text = visible(line.text).replace("\n", " ")
    error = " stderr" if line.stream.stderr else ""
    return f"{line.time:10.3f}  {line.stream.channel}{error}  {text}\n".encode()


def table(heads: tuple[str, ...], rows: Iterable[dict[str, Any]]) -> bytes:
    """CSV (RFC 4180) whose cells no spreadsheet takes for a formula: such a cell begins with an apostrophe."""
    sink = io.StringIO(newline="")
    writer = csv.writer(sink)
    writer.writerow(heads)
    for row in rows:
        writer.writerow([_cell(row[head]) for head in heads])
    return sink.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, bool | int | float):
        return str(value)
    text = visible(str(value))
    return f"'{text}" if text.startswith(_FORMULA) else text
