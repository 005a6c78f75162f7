"""The recorder: what it has returned from is in the file, and what it can't write it refuses.

Law 4 rests on this file: the relay calls `output()` before it passes the bytes on. One call is one `os.write` to a
file opened for appending, so a SIGKILL of the process loses nothing that was relayed; a thread shared by all recorders
calls fdatasync each second, so a power cut loses at most about a second.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from sessions.recording import asciicast, files
from sessions.recording.asciicast import Stream

SYNC_SECONDS: Final = 1.0
MOST_AT_ONCE: Final = 64 * 1024
"""A longer output is written as several events, so that a reader needs little memory."""
RESERVE: Final = 256 * 1024
"""Room held beyond the end of each open file, touched only to end it in order when the disk is full."""
STEP: Final = 1024 * 1024
"""Room is asked for in steps of this size."""
SAMPLE: Final = 512
CONTROLS: Final = bytes({*range(7), *range(14, 27), *range(28, 32), 127})
"""Control characters that aren't for terminals; of random bytes one in ten is one."""
NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RecordingFailed(Exception):
    """The recording can't go on; what was being written must not be relayed."""

    def __init__(self, path: Path, cause: OSError) -> None:
        super().__init__(f"recording {path.name}: {cause.strerror or cause}")
        self.path, self.cause = path, cause
        self.no_space = cause.errno in NO_SPACE


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


class Recorder:
    """One session's recording. Safe to call from many threads; the order of the file is the order of the calls."""

    def __init__(self, path: Path, header: Mapping[str, Any], *, clock: Clock) -> None:
        """Create the file (it must not exist), header and directory entry on disk, or raise RecordingFailed."""
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._error: RecordingFailed | None = None
        self._told = self._closed = self._dirty = False
        self._size = self._allocated = 0
        self._digest = hashlib.sha256()
        self._stream: tuple[int, bool] | None = None
        self._held: dict[tuple[int, bool], tuple[bytes, float]] = {}
        self._start = clock.monotonic()
        self._last = 0.0
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
        _syncer.add(self)

    @property
    def error(self) -> RecordingFailed | None:
        """Why the recording stopped, if it did; a watchdog may ask without a lock."""
        return self._error

    def output(self, channel: int, data: bytes, *, stderr: bool = False) -> int:
        """Record what is about to be shown. Returns the file's size after it: every byte given is within."""
        stream = (channel, stderr)  # equal to a Stream, and a quarter of a microsecond cheaper
        with self._lock:
            if len(data) <= MOST_AT_ONCE:
                self._output(stream, data)
            else:
                for start in range(0, len(data), MOST_AT_ONCE):
                    self._output(stream, data[start : start + MOST_AT_ONCE])
            return self._size

    def marker(self, label: str) -> int:
        """Record a remark that players list."""
        with self._lock:
            return self._append(asciicast.event_line(self._now(), asciicast.MARKER, label))

    def resize(self, cols: int, rows: int, *, channel: int | None = None) -> int:
        """Record the terminal's new size, of one channel if named."""
        with self._lock:
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
                _syncer.remove(self)
                self._sync()
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
        if self._dirty:
            self._sync()

    def fail(self, cause: OSError) -> RecordingFailed:
        """Stop this recording for good: every later call to record raises."""
        if self._error is None:
            self._error = RecordingFailed(self.path, cause)
        return self._error

    def _look_after_file(self) -> None:
        if self._error or self._closed or files.still_ours(self._fd, self.path, self._size):
            return
        self.fail(OSError(errno.ESTALE, "the file was removed, replaced or changed by somebody else"))

    def _output(self, stream: tuple[int, bool], data: bytes) -> None:
        time = self._now()
        if len(data) >= SAMPLE and _is_binary(data):
            if stream in self._held:
                self._show_held(stream)
            self._append(self._switch(time, stream) + _binary(time, data))
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
        line += _shown(time, text, data[:used])
        if used < len(data):
            line += asciicast.bytes_line(time, asciicast.HELD, data[used:])
            self._held[stream] = (data[used:], self._clock.monotonic())
        self._append(line)

    def _show_held(self, stream: tuple[int, bool]) -> None:
        data, _ = self._held.pop(stream)
        time = self._now()
        self._append(self._switch(time, stream) + _shown(time, data.decode(errors="replace"), data))

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
        try:
            if self._size + len(line) + RESERVE > self._allocated:
                self._hold_room(len(line))
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
        self._dirty = True

    def _hold_room(self, need: int) -> None:
        """Room on the disk for this event and for an orderly end: without it, fail before anything is written."""
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

    def _sync(self) -> None:
        with self._sync_lock:
            if self._fd < 0:
                return
            self._dirty = False
            try:
                files.sync_data(self._fd)
            except OSError as error:
                self.fail(error)

    def _progress(self) -> Progress:
        return Progress(self._size, self._digest.hexdigest(), round(self._last, 6))


def _is_binary(data: bytes) -> bool:
    """Whether a long piece begins as no text in any encoding does: by its share of control characters."""
    return len(data[:SAMPLE].translate(None, CONTROLS)) < SAMPLE - SAMPLE // 32


def _binary(time: float, data: bytes) -> bytes:
    """Exact bytes, and for the reader their ASCII with a dot for all else: a third of the size of escapes."""
    return asciicast.bytes_line(time, asciicast.BYTES, data) + asciicast.dotted_line(time, data)


def _shown(time: float, text: str, data: bytes) -> bytes:
    """The "o" line for a text, preceded by the exact bytes where the text alone can't give them back."""
    if not text:
        return b""
    line = asciicast.event_line(time, asciicast.OUTPUT, text)
    return line if text.encode() == data else asciicast.bytes_line(time, asciicast.BYTES, data) + line


class _Syncer:
    """One thread for all recorders of the process; it sleeps while there is none."""

    def __init__(self) -> None:
        self._recorders: set[Recorder] = set()
        self._some = threading.Condition()
        self._pause = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, recorder: Recorder) -> None:
        with self._some:
            self._recorders.add(recorder)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="recording-sync", daemon=True)
                self._thread.start()
            self._some.notify()

    def remove(self, recorder: Recorder) -> None:
        with self._some:
            self._recorders.discard(recorder)

    def _run(self) -> None:
        while True:
            with self._some:
                self._some.wait_for(lambda: self._recorders)
                recorders = list(self._recorders)
            for recorder in recorders:
                try:
                    recorder.tick()
                except Exception as error:  # noqa: BLE001 - fails closed: what isn't synced must not go on
                    recorder.fail(OSError(errno.EIO, f"the recording could not be synced: {error!r}"))
            self._pause.wait(SYNC_SECONDS)


_syncer = _Syncer()
