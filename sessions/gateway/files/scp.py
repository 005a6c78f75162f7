"""The old scp protocol, followed as it passes: each file by name, size and SHA-256. Also rsync, of which only the whole is told.

Both are commands with a stream each way. scp: the source sends `C0644 SIZE NAME`, `D`, `E` and `T` lines, each file's
bytes and a status after them; the sink answers with zero bytes. There is no standard; OpenSSH's is followed.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from breakglass.domain.refusals import Refusal, RefusalCode, refusal
from sessions.gateway.files.commands import FileCommand
from sessions.gateway.files.ledger import DONE, Ledger, Operation, Transfer
from sessions.gateway.files.moved import Direction
from sessions.gateway.files.paths import MOST_PATH, shown, visible
from sessions.gateway.relay import Side, SplicedChannel, printable

MOST_LINE = 8 * 1024
MOST_SIZE = 1 << 62
ENTRY = re.compile(rb"([CD])([0-7]{3,5}) (\d{1,19}) ([^/\0]+)", re.DOTALL)
TIMES = re.compile(rb"T\d{1,20} \d{1,9} \d{1,20} \d{1,9}")


class CannotFollow(ValueError):
    """The stream isn't what the command said."""


class Stopped(Exception):
    """The transfer may not go on."""

    def __init__(self, why: Refusal) -> None:
        super().__init__(str(why))
        self.why = why


class ScpSource:
    """What the source of an scp sends. `feed` is called with each piece before it is passed on."""

    def __init__(self, begin: Callable[[bytes, int], Transfer], folder: list[bytes]) -> None:
        """`begin` is called with a file's name below the command's path and its size."""
        self._begin = begin
        self._folders = folder
        self._line = bytearray()
        self._left = 0
        self._transfer: Transfer | None = None
        self._status_due = False

    def feed(self, data: memoryview) -> None:
        """Raises CannotFollow or Stopped."""
        at, end = 0, len(data)
        while at < end:
            if self._left:
                stop = min(end, at + self._left)
                assert self._transfer is not None
                self._transfer.add(data[at:stop])
                self._left -= stop - at
                self._status_due = not self._left
                at = stop
            elif self._status_due and not self._line and data[at] == 0:
                self._file_over(DONE)
                at += 1
            else:
                at = self._on_line(data, at, end)

    def _on_line(self, data: memoryview, at: int, end: int) -> int:
        rest = bytes(data[at : min(end, at + MOST_LINE)])
        line, newline, _ = rest.partition(b"\n")
        self._line += line
        if len(self._line) > MOST_LINE:
            raise CannotFollow("a line that is too long")
        if newline:
            whole, self._line = bytes(self._line), bytearray()
            self._on_whole_line(whole)
        return at + len(line) + len(newline)

    def _on_whole_line(self, line: bytes) -> None:
        if line[:1] in (b"\1", b"\2"):  # the source's own trouble, in words
            if self._status_due:
                self._file_over(f"the source says: {printable(line[1:].decode('utf-8', 'replace'))[:80]}")
            return
        if self._status_due:
            raise CannotFollow("a file without its status")
        entry = ENTRY.fullmatch(line)
        if entry is None:
            if line == b"E":
                if self._folders:
                    self._folders.pop()
            elif not TIMES.fullmatch(line):
                raise CannotFollow("a line that isn't scp's")
            return
        self._on_entry(*entry.group(1, 3, 4))

    def _on_entry(self, kind: bytes, size: bytes, name: bytes) -> None:
        if name in (b".", b"..") or int(size) > MOST_SIZE:
            raise CannotFollow("a name or a size that can't be")
        path = b"/".join([*self._folders, name])
        if len(path) > MOST_PATH:
            raise CannotFollow("a path that is too long")
        if kind == b"D":
            self._folders.append(name)
            return
        self._transfer = self._begin(path, int(size))
        self._left = int(size)
        self._status_due = not self._left

    def _file_over(self, outcome: str) -> None:
        self._status_due = False
        if self._transfer is not None:
            self._transfer.finish(outcome)
            self._transfer = None


class Scp:
    """One scp command's decoder (relay.Decoder)."""

    def __init__(
        self, channel: SplicedChannel, command: FileCommand, stop: Callable[[Refusal], None]
    ) -> None:
        self._channel, self._command, self._stop = channel, command, stop
        self._ledger = Ledger(channel)
        self._source = ScpSource(self._begin, [])
        self._over = False

    def from_person(self, plain: bytearray, count: int, size: int) -> None:
        self._channel.traffic_in.add(memoryview(plain)[10 : 10 + count])
        if self._follow(self._command.to_asset, memoryview(plain)[10 : 10 + count]):
            self._channel.asset.relay(plain, count, size, None)

    def from_asset(self, plain: bytearray, count: int, size: int) -> None:
        piece = memoryview(plain)[10 : 10 + count]
        if self._follow(not self._command.to_asset, piece):
            self._channel.record(bytes(piece), stderr=False)
            self._channel.person.relay(plain, count, size, None)

    def wind_up(self) -> None:
        self._ledger.wind_up()

    def _follow(self, is_source: bool, piece: memoryview) -> bool:
        """Whether it may be passed on. What the sink says is short, and shown in the recording where it is the asset."""
        if self._over:
            return False
        if is_source:
            try:
                self._source.feed(piece)
            except CannotFollow as problem:
                self._end(refusal(RefusalCode.FILE_PROTOCOL, protocol="scp", problem=problem))
            except Stopped as stopped:
                self._end(stopped.why)
        return not self._over

    def _end(self, why: Refusal) -> None:
        self._over = True
        self._stop(why)

    def _begin(self, name: bytes, size: int) -> Transfer:
        direction = Direction.UP if self._command.to_asset else Direction.DOWN
        verb = "write" if self._command.to_asset else "read"
        path, named = self._where(name)
        transfer = Transfer(self._ledger, self._channel, path, verb, direction, named)
        why = transfer.begin(0, size)
        if why is not None:
            transfer.finish(str(why.code))
            raise Stopped(why)
        return transfer

    def _where(self, name: bytes) -> tuple[str, str]:
        """The file's path; or the command's and the name as it was sent, where only the asset knows how they join."""
        command, said = self._command, shown(name)
        place = ", ".join(command.paths)
        if not place.startswith("/"):
            place = "~/" + place.removeprefix("./").removeprefix(".")
        if command.to_asset and (command.folder or place.endswith("/")):
            return f"{place.rstrip('/')}/{said}", ""
        folder, _, last = place.rstrip("/").rpartition("/")
        if last == (said.partition("/")[0] if not command.to_asset else said):
            return f"{folder}/{said}", ""
        # What a pattern found, or whether the place is a folder that is there or the file's new name.
        return place, said


class Rsync:
    """One rsync command's decoder (relay.Decoder): its stream has a protocol of many versions; only the whole is told."""

    def __init__(
        self, channel: SplicedChannel, command: FileCommand, stop: Callable[[Refusal], None]
    ) -> None:
        self._channel, self._stop = channel, stop
        self._direction = Direction.UP if command.to_asset else Direction.DOWN
        self._ledger = Ledger(channel)
        paths = ", ".join(command.paths) or "(named inside the stream)"
        self._operation: Operation = self._ledger.begin("rsync", paths, direction=self._direction)
        self._over = False

    def from_person(self, plain: bytearray, count: int, size: int) -> None:
        self._channel.traffic_in.add(memoryview(plain)[10 : 10 + count])
        if self._count(Direction.UP, count, self._channel.asset):
            self._channel.asset.relay(plain, count, size, None)

    def from_asset(self, plain: bytearray, count: int, size: int) -> None:
        if self._count(Direction.DOWN, count, self._channel.person):
            self._channel.record(bytes(memoryview(plain)[10 : 10 + count]), stderr=False)
            self._channel.person.relay(plain, count, size, None)

    def wind_up(self) -> None:
        channel, operation = self._channel, self._operation
        up, down = channel.traffic_in, channel.traffic_out
        counted = up if self._direction is Direction.UP else down
        operation.bytes, operation.sha256 = counted.count, counted.sha256
        if channel.exit_status == 0:
            words = f"{DONE}: {up.count} bytes up, {down.count} down; the files inside aren't told apart"
        elif channel.exit_status is not None:
            words = f"ended with status {channel.exit_status}: {up.count} bytes up, {down.count} down"
        else:
            self._ledger.wind_up()
            return
        self._ledger.finish(operation, words)

    def _count(self, direction: Direction, count: int, to: Side) -> bool:
        """Whether the bytes may be passed on."""
        if self._over:
            return False
        limit = self._ledger.rules.max_bytes
        if self._channel.session.moved.take(direction, count, limit):
            return True
        self._over = True
        why = refusal(RefusalCode.FILE_LIMIT, limit=limit, path=visible(self._operation.path))
        self._operation.problem = str(why.code)
        self._stop(why)
        return False
