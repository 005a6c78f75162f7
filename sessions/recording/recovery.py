"""After a crash: bring an open recording into a state that players and the seal accept, losing no whole line."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from sessions.recording import asciicast, files

REMARK = "recovered: the gateway stopped in the middle of this session"
_BLOCK = 64 * 1024


@dataclass(frozen=True)
class Recovery:
    """What `recover()` found. `cut` bytes were an unfinished line: never acknowledged, so never relayed."""

    ended: str
    cut: int
    events: int
    damaged_lines: int
    header: dict[str, Any]

    @property
    def crashed(self) -> bool:
        """Whether the recorder died before it could end the recording."""
        return self.ended == asciicast.RECOVERED


def recover(plain_path: Path) -> Recovery:
    """Cut a torn last line off, say in the recording that it was recovered, and count what is there.

    Done in place (a full disk has no room for a copy) in steps of which each leaves a valid file; calling it again
    changes nothing. A recording that was closed in order is left as it is. RecordingBusy while a recorder writes.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    with FileIO(os.open(plain_path, flags), "rb+") as source:
        files.hold(source.fileno(), plain_path)
        cut = _mend_last_line(source)
        scan = _scan(source)
        if not scan.ended:
            _append(source, _closing_lines(scan))
            scan.ended, scan.events = asciicast.RECOVERED, scan.events + 2
    return Recovery(scan.ended, cut, scan.events, scan.damaged, scan.header)


@dataclass
class _Scan:
    header: dict[str, Any] = field(default_factory=dict)
    lines: int = 0
    events: int = 0
    damaged: int = 0
    time: float = 0.0
    ended: str = ""


def _scan(source: FileIO) -> _Scan:
    scan = _Scan()
    source.seek(0)
    for line in asciicast.split_lines(iter(lambda: source.read(_BLOCK), b"")):
        scan.lines += 1
        if scan.lines == 1 and (header := asciicast.parse_header(line)):
            scan.header = header
        elif event := asciicast.parse_event(line):
            scan.events += 1
            scan.time = max(scan.time, event.time)
            scan.ended = event.data if event.code == asciicast.END else ""
        else:
            scan.damaged += 1
    return scan


def _closing_lines(scan: _Scan) -> bytes:
    header = b"" if scan.lines else asciicast.header_line({"breakglass": {"header": "lost"}})
    return (
        header
        + asciicast.event_line(scan.time, asciicast.MARKER, REMARK)
        + asciicast.event_line(scan.time, asciicast.END, asciicast.RECOVERED)
    )


def _mend_last_line(source: FileIO) -> int:
    """End the file after its last whole line; returns how many bytes that took off."""
    size = source.seek(0, os.SEEK_END)
    start = _line_start(source, size)
    if start == size:
        return 0
    source.seek(start)
    torn = source.read(min(size - start, asciicast.MOST_LINE))
    if len(torn) == size - start and (asciicast.parse_event(torn) or asciicast.parse_header(torn)):
        _append(source, b"\n")  # only the newline is missing: no shorter part of an event is valid JSON
        return 0
    os.ftruncate(source.fileno(), start)
    os.fsync(source.fileno())
    return size - start


def _line_start(source: FileIO, end: int) -> int:
    """Where the line that reaches `end` begins; `end` itself if the file ends with a newline."""
    while end > 0:
        start = max(end - _BLOCK, 0)
        source.seek(start)
        found = source.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _append(source: FileIO, line: bytes) -> None:
    if os.write(source.fileno(), line) != len(line):
        raise OSError(errno.ENOSPC, "no room to end the recording: free some space, then recover it again")
    os.fsync(source.fileno())
