"""Where in a recording which second stands: what a player needs to begin anywhere without reading all before it.

Made in one pass over the chunks of a sealed recording, each of `sealed.CHUNK` bytes. Nothing that was shown is in it,
only times, sizes, channels, volumes and the marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sessions.recording import asciicast
from sessions.recording.leaps import Leaps

BUCKETS: Final = 600
"""The activity is counted in so many equal parts of the recording's time."""
MOST_MARKS: Final = 20_000
"""More marks than this aren't listed; `left_out` counts them."""
MOST_LABEL: Final = 1000
_NEAR: Final = 512
_FOUND: Final = {
    code: f',"{code}","'.encode() for code in (asciicast.MARKER, asciicast.RESIZE, asciicast.CHANNEL)
}


class Mark(NamedTuple):
    """A remark or a resize: when, which of the two (`m`, `r`), on which channel (of a resize), what."""

    time: float
    code: str
    channel: int
    text: str


@dataclass
class Tape:
    """The index of one recording. For each chunk: `firsts` is where in it the first line begins (its length where none
    does), `starts` the time of the first event that begins in it or after it, `screens` and `channels` the terminal's size
    and the channel that hold there, `leaps` what a player need not show of the lines that begin in it (`leaps`)."""

    seconds: float
    size: int
    cols: int = 80
    rows: int = 24
    firsts: list[int] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    screens: list[str] = field(default_factory=list)
    channels: list[int] = field(default_factory=list)
    leaps: list[int] = field(default_factory=list)
    activity: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    marks: list[Mark] = field(default_factory=list)
    left_out: int = 0


def wind(chunks: Iterable[bytes], seconds: float, size: int) -> Tape:
    """The index of a recording that is this long and has so many bytes. Damaged lines are passed over."""
    return _Winder(seconds, size).wind(chunks)


class _Winder:
    def __init__(self, seconds: float, size: int) -> None:
        self.tape = Tape(seconds, size)
        self._screen = ""
        self._channel = 0
        self._bucket = 1
        self._counted = 0
        self._leaps = Leaps(self.tape.rows)
        self._begun = b""
        self._steady = True

    def wind(self, chunks: Iterable[bytes]) -> Tape:
        tape, tail, offset = self.tape, b"", 0
        for number, chunk in enumerate(chunks):
            if number == 0:
                self._read_header(chunk)
            first = 0 if not tail else chunk.find(b"\n") + 1 or len(chunk)
            tail += chunk[:first]
            if tail.endswith(b"\n"):  # the line that began in the chunk before
                self._read(tail, offset + first - len(tail))
                self._judge(self._begun + tail)
                tail = b""
            tape.screens.append(self._screen)
            tape.channels.append(self._channel)
            tape.firsts.append(first)
            tape.starts.append(_next_time(chunk, first))
            end = max(first, chunk.rfind(b"\n") + 1)
            if end > first:
                self._begun = chunk[first:end]
                self._read(self._begun, offset + first)
            if end == len(chunk) and not tail:
                self._judge(self._begun)
            if len(tail) > asciicast.MOST_LINE:
                self._leaps.lost()
            tail = tail[: asciicast.MOST_LINE] + chunk[end:]
            offset += len(chunk)
        self._count(offset)
        self._fill_starts()
        tape.leaps += [0] * (len(tape.starts) - len(tape.leaps))
        return tape

    def _judge(self, lines: bytes) -> None:
        """All lines that begin in the chunks before are known now. Where a line fills whole chunks, none begins in these."""
        self.tape.leaps.append(self._leaps.read(lines, steady=self._steady))
        self.tape.leaps += [0] * (len(self.tape.starts) - len(self.tape.leaps))
        self._begun, self._steady = b"", True

    def _read_header(self, chunk: bytes) -> None:
        header = asciicast.parse_header(chunk.partition(b"\n")[0]) or {}
        cols, rows = header.get("width"), header.get("height")
        if isinstance(cols, int) and isinstance(rows, int):
            self.tape.cols, self.tape.rows = asciicast.cells(cols), asciicast.cells(rows)
        self._screen = f"{self.tape.cols}x{self.tape.rows}"
        self._leaps = Leaps(self.tape.rows)

    def _fill_starts(self) -> None:
        """A chunk in which nothing begins holds the middle of a long event: what follows counts."""
        following = self.tape.seconds
        for number in range(len(self.tape.starts) - 1, -1, -1):
            if self.tape.starts[number] < 0:
                self.tape.starts[number] = following
            following = self.tape.starts[number]
        if self.tape.starts:
            self.tape.starts[0] = 0.0

    def _read(self, lines: bytes, offset: int) -> None:
        self._read_marks(lines)
        if (switch := _last(lines, asciicast.CHANNEL)) and (stream := asciicast.parse_stream(switch.data)):
            self._channel = stream.channel
        self._steady = self._steady and switch is None
        last = lines.rfind(b"\n", 0, -1) + 1
        until = _time(lines, last)
        width = self.tape.seconds / BUCKETS
        while until is not None and width > 0 and self._bucket < BUCKETS and self._bucket * width <= until:
            self._count(offset + _position(lines, self._bucket * width))
            self._bucket += 1

    def _count(self, position: int) -> None:
        self.tape.activity[self._bucket - 1] += max(0, position - self._counted)
        self._counted = max(position, self._counted)

    def _read_marks(self, lines: bytes) -> None:
        found = [at for code in (asciicast.MARKER, asciicast.RESIZE) for at in _places(lines, _FOUND[code])]
        for at in sorted(found):
            event = _event_at(lines, at)
            if event is None or event.code not in (asciicast.MARKER, asciicast.RESIZE):
                continue
            channel = 0
            if event.code == asciicast.RESIZE:
                self._screen = event.data[:20]
                self._leaps.resized(self._screen)
                self._steady = False
                switch = _last(lines, asciicast.CHANNEL, at)
                stream = asciicast.parse_stream(switch.data) if switch else None
                channel = stream.channel if stream else self._channel
            if len(self.tape.marks) >= MOST_MARKS:
                self.tape.left_out += 1
            else:
                self.tape.marks.append(Mark(event.time, event.code, channel, event.data[:MOST_LABEL]))


def _places(lines: bytes, needle: bytes) -> Iterator[int]:
    at = lines.find(needle)
    while at >= 0:
        yield at
        at = lines.find(needle, at + 1)


def _last(lines: bytes, code: str, end: int | None = None) -> asciicast.Event | None:
    """The last event of that code, before `end`. Inside a text the bytes that are looked for can't be: quotes are escaped there."""
    at = lines.rfind(_FOUND[code], 0, end)
    return _event_at(lines, at) if at >= 0 else None


def _event_at(lines: bytes, at: int) -> asciicast.Event | None:
    begin = lines.rfind(b"\n", 0, at) + 1
    end = lines.find(b"\n", at)
    return asciicast.parse_event(lines[begin : end if end >= 0 else len(lines)])


def _time(lines: bytes, begin: int) -> float | None:
    """The time of the event whose line begins there; None where none does."""
    if lines[begin : begin + 1] != b"[":
        return None
    try:
        return float(lines[begin + 1 : lines.index(b",", begin, begin + 40)])
    except ValueError:
        return None


def _next_time(chunk: bytes, at: int) -> float:
    """The time of the first event that begins at that place or after it; below 0 where none does."""
    while at < len(chunk):
        if (time := _time(chunk, at)) is not None:
            return time
        at = chunk.find(b"\n", at) + 1 or len(chunk)
    return -1.0


def _position(lines: bytes, time: float) -> int:
    """Where the first line begins whose event isn't before that time: by halving, since times only grow."""
    low, high = 0, len(lines)
    while high - low > _NEAR:
        middle = (low + high) // 2
        begin = lines.find(b"\n", middle, high) + 1
        at = _time(lines, begin) if begin and begin < high else None
        if at is None or at >= time:
            high = middle
        else:
            low = begin
    while low < len(lines):
        at = _time(lines, low)
        if at is not None and at >= time:
            return low
        following = lines.find(b"\n", low) + 1
        if not following:
            break
        low = following
    return len(lines)
