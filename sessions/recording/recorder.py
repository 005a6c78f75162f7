"""The recorder: what it has returned from is in the file, and what it can't write it refuses.

Law 4 rests on this file: the relay calls `output()` before it passes the bytes on. One call is one `os.write` to a
file opened for appending, so a SIGKILL of the process loses nothing that was relayed; a thread shared by all recorders
calls fdatasync each second, so a power cut loses at most about a second.

The file proves itself as it grows. At each MiB, or after 5 s of activity, a segment ends: the next write begins with a
line `[t, "s", "N BYTES SHA256"]`, which says that N segments have ended, that they are the first BYTES bytes of this very
file, and the SHA-256 of those. Each segment so holds the hash of all before it; the last one ends with the file. Such a
pair (bytes, SHA-256 of so many first bytes) also goes into the audit trail while the session lives
(sessions/services/marks.py), and anybody can check it: `head -c BYTES FILE | sha256sum`.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from sessions.recording import asciicast, files
from sessions.recording.asciicast import Stream
from sessions.recording.spelling import SAMPLE, binary, is_binary, shown
from sessions.recording.syncer import SYNC_SECONDS, syncer

MOST_AT_ONCE: Final = 64 * 1024
"""A longer output is written as several events, so that a reader needs little memory."""
RESERVE: Final = 256 * 1024
"""Room held beyond the end of each open file, for when the disk is full: half of it for remarks, half for an orderly
end. Output never touches it."""
SEGMENT: Final = 1024 * 1024
SEGMENT_SECONDS: Final = 5.0
WORST: Final = 8
"""How much longer than what it records an event may be: each byte of a broken encoding is shown and kept exactly."""
LINE: Final = 512
"""What an event takes beyond its text."""
_BESIDE: Final = LINE + RESERVE
STEP: Final = 1024 * 1024
"""Room is asked for in steps of this size."""
NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MAY_COME_BACK: Final = (errno.ENOSPC, errno.EDQUOT)


class RecordingFailed(Exception):
    """The recording can't go on; what was being written must not be relayed."""

    def __init__(self, path: Path, cause: OSError) -> None:
        super().__init__(f"recording {path.name}: {cause.strerror or cause}")
        self.path, self.cause = path, cause
        self.no_space = cause.errno in NO_SPACE


class NoRoom(RecordingFailed):
    """There is no room just now. Of what was given the first `done` bytes are recorded, the rest isn't, and the
    recording is whole: once there is room again the caller may go on with the rest."""

    done = 0


class Clock(Protocol):
    """What the recorder needs of a clock."""

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...


@dataclass(frozen=True)
class Progress:
    """How far a recording has come: enough to show later that the file wasn't shortened or altered."""

    size: int
    sha256: str
    seconds: float
    segments: int = 0


class Recorder:
    """One session's recording. Safe to call from many threads; the order of the file is the order of the calls."""

    def __init__(
        self,
        path: Path,
        header: Mapping[str, Any],
        *,
        clock: Clock,
        may_grow: Callable[[], bool] = lambda: True,
    ) -> None:
        """Create the file (it must not exist), header and directory entry on disk, or raise RecordingFailed.

        While `may_grow` says no, the disk counts as full, whatever it has: that room is for others (reserve.py).
        """
        self.path = path
        self._clock = clock
        self._may_grow = may_grow
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._error: RecordingFailed | None = None
        self._told = self._closed = self._dirty = False
        self._dirty_since = 0.0
        self._syncing_since: float | None = None
        self._size = self._allocated = 0
        self._digest = hashlib.sha256()
        self._stream: tuple[int, bool] | None = None
        self._held: dict[tuple[int, bool], tuple[bytes, float]] = {}
        self._start = clock.monotonic()
        self._last = 0.0
        self._segments = 0
        self._segment_full, self._segment_over = SEGMENT, SEGMENT_SECONDS
        line = asciicast.header_line(header)
        try:
            self._fd = files.create_for_append(path, line)
        except OSError as error:
            raise RecordingFailed(path, error) from error
        self._size = len(line)
        self._digest.update(line)
        try:
            self._hold_room(0)
        except OSError as error:
            os.close(self._fd)
            path.unlink()
            raise RecordingFailed(path, error) from error
        self._durable = self._progress()
        syncer.add(self)

    @property
    def error(self) -> RecordingFailed | None:
        """Why the recording stopped, if it did; a watchdog may ask without a lock."""
        return self._error

    @property
    def durable(self) -> Progress:
        """How far the recording has come on the disk itself: what a power cut can't take. Never waits."""
        return self._durable

    @property
    def behind(self) -> float:
        """For how many seconds something has been in the file that a power cut could take still. Never waits: a disk that
        stands still holds up whoever syncs, and whoever waits for them."""
        since = self._syncing_since
        if since is None:
            if not self._dirty:
                return 0.0
            since = self._dirty_since
        return max(0.0, self._clock.monotonic() - self._start - since)

    def output(self, channel: int, data: bytes, *, stderr: bool = False) -> int:
        """Record what is about to be shown. Returns the file's size after it: every byte given is within.

        NoRoom while the disk is full: then nothing is lost, and the rest may be given again.
        """
        stream = (channel, stderr)  # equal to a Stream, and a quarter of a microsecond cheaper
        with self._lock:
            if len(data) <= MOST_AT_ONCE:
                if self._size + len(data) * WORST + _BESIDE > self._allocated:
                    self._make_room(len(data) * WORST + LINE, RESERVE)
                self._output(stream, data)
            else:
                self._outputs(stream, data)
            return self._size

    def remark(self, channel: int, data: bytes, *, stderr: bool = False) -> int:
        """As `output`, for a line of the gateway's own: recorded out of the reserve while the disk is full."""
        with self._lock:
            self._make_room(len(data) * WORST + LINE, RESERVE // 2)
            self._output((channel, stderr), data)
            return self._size

    def marker(self, label: str) -> int:
        """Record a remark that players list; out of the reserve while the disk is full."""
        with self._lock:
            line = asciicast.event_line(self._now(), asciicast.MARKER, label)
            self._make_room(len(line) + LINE, RESERVE // 2)
            return self._append(line)

    def resize(self, cols: int, rows: int, *, channel: int | None = None) -> int:
        """Record the terminal's new size, of one channel if named; out of the reserve while the disk is full."""
        with self._lock:
            self._make_room(LINE, RESERVE // 2)
            time = self._now()
            size = f"{asciicast.cells(cols)}x{asciicast.cells(rows)}"
            switch = b"" if channel is None else self._switch(time, Stream(channel))
            return self._append(switch + asciicast.event_line(time, asciicast.RESIZE, size))

    def progress(self) -> Progress:
        """Size and running SHA-256 of what was written so far."""
        with self._lock:
            return self._progress()

    def close(self) -> Progress:
        """End the recording: held bytes shown, an end event, synced, closed. A second call changes nothing.

        After a failure it ends the file in order out of the reserve and keeps `error`; it raises only a failure
        that no caller has been told of yet.
        """
        with self._lock:
            if not self._closed:
                told = self._told
                self._end()
                self._closed = True
                syncer.remove(self)
                if self._sync():
                    self._durable = self._progress()
                with self._sync_lock:
                    os.close(self._fd)
                    self._fd = -1
                if self._error and not told:
                    raise self._error
            return self._progress()

    def tick(self) -> None:
        """Once a second, by the shared thread: show bytes held too long, then bring all to the disk.

        A file that was removed, replaced or shortened meanwhile is a failure: what nobody will find isn't recorded.
        """
        with self._lock:
            self._look_after_file()
            stale = self._clock.monotonic() - SYNC_SECONDS
            try:
                for stream in [stream for stream, (_, since) in self._held.items() if since <= stale]:
                    self._show_held(stream)
            except RecordingFailed:
                self._told = False  # `error` keeps it; the next caller is told
            reached = self._progress() if self._dirty else None
        if reached is not None and self._sync():
            self._durable = reached

    def fail(self, cause: OSError) -> RecordingFailed:
        """Stop this recording for good: every later call to record raises."""
        if self._error is None:
            self._error = RecordingFailed(self.path, cause)
        return self._error

    def _look_after_file(self) -> None:
        if self._error or self._closed or files.still_ours(self._fd, self.path, self._size):
            return
        self.fail(OSError(errno.ESTALE, "the file was removed, replaced or changed by somebody else"))

    def _outputs(self, stream: tuple[int, bool], data: bytes) -> None:
        """A long output as several events, as far as there is room."""
        for start in range(0, len(data), MOST_AT_ONCE):
            piece = data[start : start + MOST_AT_ONCE]
            try:
                self._make_room(len(piece) * WORST + LINE, RESERVE)
            except NoRoom as full:
                full.done = start
                raise
            self._output(stream, piece)

    def _output(self, stream: tuple[int, bool], data: bytes) -> None:
        time = self._now()
        if len(data) >= SAMPLE and is_binary(data):
            if stream in self._held:
                self._show_held(stream)
            self._append(self._switch(time, stream) + binary(time, data))
            return
        line = b"" if stream == self._stream else self._switch(time, stream)
        if stream not in self._held:
            try:
                line += asciicast.event_line(time, asciicast.OUTPUT, data.decode())
            except UnicodeDecodeError:
                pass
            else:
                self._append(line)
                return
        data = self._held.pop(stream, (b"", 0.0))[0] + data
        text, used = codecs.utf_8_decode(data, "replace", False)
        line += shown(time, text, data[:used])
        if used < len(data):
            line += asciicast.bytes_line(time, asciicast.HELD, data[used:])
            self._held[stream] = (data[used:], self._clock.monotonic())
        self._append(line)

    def _show_held(self, stream: tuple[int, bool]) -> None:
        data, _ = self._held.pop(stream)
        time = self._now()
        self._append(self._switch(time, stream) + shown(time, data.decode(errors="replace"), data))

    def _switch(self, time: float, stream: tuple[int, bool]) -> bytes:
        if stream == self._stream:
            return b""
        self._stream = stream
        return asciicast.stream_line(time, Stream(*stream))

    def _now(self) -> float:
        now = self._clock.monotonic() - self._start
        self._last = max(self._last, now)
        return self._last

    def _append(self, line: bytes) -> int:
        if self._error or self._closed:
            self._told = True
            raise self._error or RecordingFailed(self.path, OSError(errno.EBADF, "it is closed"))
        if self._size >= self._segment_full or self._last >= self._segment_over:
            line = self._end_segment() + line
        try:
            self._write(line)
        except OSError as error:
            self._told = True
            raise self.fail(error) from error
        return self._size

    def _write(self, line: bytes) -> None:
        written = os.write(self._fd, line)
        if written != len(line):
            raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes could be written")
        self._size += written
        self._digest.update(line)
        if not self._dirty:
            self._dirty_since, self._dirty = self._last, True

    def _end_segment(self) -> bytes:
        """The line that says what was written so far; a segment begins with it."""
        self._segments += 1
        self._segment_full, self._segment_over = self._size + SEGMENT, self._last + SEGMENT_SECONDS
        return asciicast.segment_line(self._last, self._segments, self._size, self._digest.hexdigest())

    def _make_room(self, most: int, spare: int) -> None:
        """Room on the disk for `most` more bytes and `spare` beyond them, or NoRoom before anything was changed."""
        if self._size + most + RESERVE <= self._allocated or self._error or self._closed:
            return
        try:
            self._hold_room(most)
        except OSError as error:
            if self._size + most + spare <= self._allocated:
                return
            if error.errno in MAY_COME_BACK:
                raise NoRoom(self.path, error) from error
            self._told = True
            raise self.fail(error) from error

    def _hold_room(self, need: int) -> None:
        if not self._may_grow():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        goal = self._size + need + RESERVE + STEP
        self._allocated = goal if files.hold_room(self._fd, self._size, goal - self._size) else sys.maxsize

    def _end(self) -> None:
        """The last lines: as they should be, or after a failure as far as the reserve allows."""
        if self._error is None:
            try:
                for stream in list(self._held):
                    self._show_held(stream)
                self._write(asciicast.event_line(self._now(), asciicast.END, asciicast.CLOSED))
                os.ftruncate(self._fd, self._size)  # gives the reserve back
                return
            except RecordingFailed:
                pass  # `error` has it
            except OSError as error:
                self.fail(error)
        try:
            os.ftruncate(self._fd, self._size)  # a torn line was never relayed
            reason = asciicast.event_line(self._now(), asciicast.MARKER, f"recording stopped: {self._error}")
            self._write(reason + asciicast.event_line(self._now(), asciicast.END, asciicast.CUT))
        except OSError:  # `error` says why already
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)

    def _sync(self) -> bool:
        with self._sync_lock:
            if self._fd < 0:
                return False
            self._syncing_since, self._dirty = self._dirty_since, False
            try:
                files.sync_data(self._fd)
            except OSError as error:
                self.fail(error)
                return False
            finally:
                self._syncing_since = None
            return True

    def _progress(self) -> Progress:
        return Progress(self._size, self._digest.hexdigest(), round(self._last, 6), self._segments)
