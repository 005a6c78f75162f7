"""What a live session has on record, before anybody sees it: output, remarks, resizes. Law 4 is here and in the recorder."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sessions.recording.recorder import NoRoom, RecordingFailed
from sessions.states import EndReason

if TYPE_CHECKING:
    from sessions.gateway.room import Room
    from sessions.recording.recorder import Progress, Recorder


LOOK_EVERY = 0.1


class SessionOver(EOFError):
    """The session has ended: nothing is relayed any more. To a leg's reader it is as good as the end of the stream."""


class Recorded:
    """The part of `LiveSession` that its recorder does. Each method returns when it is in the file.

    On a full disk the relay's threads wait in here, with the session frozen (room.py). SessionOver once it is over,
    and where it can't be recorded, which ends it.
    """

    room: Room
    ended: threading.Event
    no_room_since: float | None = None
    is_held_back = False
    """Nothing is recorded or relayed for now: what was recorded doesn't reach the disk (slow_disk.py)."""
    _recorder: Recorder

    def go_on(self, *, typed: bool) -> None:
        raise NotImplementedError

    def freeze(self, cause: str, why: str, rest: str = "") -> None:
        raise NotImplementedError

    def unfreeze(self, cause: str) -> None:
        raise NotImplementedError

    def end(self, reason: EndReason) -> bool:
        raise NotImplementedError

    @property
    def waits_for_disk(self) -> bool:
        """Whether the disk is slow, or something of this session waits for room on a full one."""
        return self.is_held_back or self.no_room_since is not None

    def wait_for_disk(self) -> None:
        """While nothing is relayed for now, what the asset sends waits in here, recorded or not. SessionOver when the
        session ended meanwhile."""
        if not self.waits_for_disk:
            return
        while self.waits_for_disk and not self.ended.wait(LOOK_EVERY):
            pass
        self.go_on(typed=False)

    def record(self, number: int, data: bytes, *, stderr: bool = False) -> None:
        """Have it in the file, or end the session and raise: what isn't recorded isn't relayed."""
        self.wait_for_disk()
        try:
            self._recorder.output(number, data, stderr=stderr)
        except RecordingFailed as failed:
            self._in_time(failed, partial(self._recorder.output, number, stderr=stderr), data)

    def mark(self, label: str) -> None:
        try:
            self._recorder.marker(label)
        except RecordingFailed as failed:
            self._in_time(failed, lambda _: self._recorder.marker(label))

    def resize(self, cols: int, rows: int, number: int) -> None:
        try:
            self._recorder.resize(cols, rows, channel=number)
        except RecordingFailed as failed:
            self._in_time(failed, lambda _: self._recorder.resize(cols, rows, channel=number))

    def say(self, number: int, data: bytes, *, stderr: bool = False) -> bool:
        """As `record`, for a line of the gateway's own. False on a full disk, where it can't be: then it isn't shown."""
        try:
            self._recorder.remark(number, data, stderr=stderr)
        except NoRoom:
            return False
        except RecordingFailed as failed:
            self._cannot_record(failed)
        return True

    def note(self, label: str) -> None:
        """As `mark`, at a channel's end and while the books are closed: what can't be written then stays unwritten."""
        with contextlib.suppress(RecordingFailed):
            self._recorder.marker(label)

    def give_up_recording(self, cause: OSError) -> None:
        """There was no room for too long: the recording is ended, saying so, and the session with it."""
        self._recorder.fail(cause)
        self.end(EndReason.CANNOT_RECORD)

    @property
    def recorded(self) -> Progress:
        """How much of the recording is on the disk; after the end all of it."""
        return self._recorder.durable

    @property
    def recording_behind(self) -> float:
        """For how many seconds something recorded hasn't reached the disk."""
        return self._recorder.behind

    @property
    def recording_error(self) -> RecordingFailed | None:
        return self._recorder.error

    def _in_time(self, failed: RecordingFailed, put: Callable[[bytes], object], data: bytes = b"") -> None:
        """Where the disk was only full: wait and record the rest of `data`, as often as it takes."""
        while isinstance(failed, NoRoom):
            self.room.wait(self, failed)
            data = data[failed.done :]
            try:
                put(data)
            except RecordingFailed as again:
                failed = again
            else:
                self.room.found(self)
                return
        self._cannot_record(failed)

    def _cannot_record(self, failed: RecordingFailed) -> None:
        self.end(EndReason.CANNOT_RECORD)
        raise SessionOver(str(failed)) from failed
