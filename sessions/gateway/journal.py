"""The journal of a gateway process: on the disk of its machine before the database has it.

One file a process life, below the data directory, named after the gateway's id and the life. The process holds it
(flock) while it lives: whoever finds it free knows that its process is dead, and writes down what it left (replay.py).
An entry is a line: CRC-32, a space, JSON. It is one `write`, before anything else is done with the entry. How far the
database has it stands in the database (`JournalPosition`).

A disk without room: entries wait in memory, and go into the file as soon as they can.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from uuid import uuid4

from django.conf import settings

from sessions.recording import files

FOLDER = "journal"
SUFFIX = ".journal"
LARGEST = 1 << 20
CHUNK = 1 << 18
A_FEW = 100

log = logging.getLogger("breakglass.gateway")


@dataclass(frozen=True)
class Line:
    """One entry as it stands in the file. `seq` 0: it can't be read."""

    raw: bytes
    seq: int = 0
    kind: str = ""
    data: dict[str, Any] = field(default_factory=dict)


def folder() -> Path:
    """Where the journals of this machine's gateways are. As private as the recordings: commands and paths stand there."""
    place: Path = settings.BREAKGLASS.data_dir / FOLDER
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.chmod(0o700)
    return place


def new_path(gateway_id: str) -> Path:
    """Of a life that begins."""
    name = f"{quote(gateway_id, safe=':')}+{uuid4().hex}{SUFFIX}"
    return Path(settings.BREAKGLASS.data_dir) / FOLDER / name


def gateway_of(path: Path) -> str:
    """The id of the gateway process whose journal that is."""
    return unquote(path.name.rpartition("+")[0])


def parse(raw: bytes) -> Line:
    """A line of a journal, its end included."""
    told, _, body = raw.rstrip(b"\n").partition(b" ")
    try:
        if int(told, 16) == zlib.crc32(body):
            plain = json.loads(body)
            return Line(raw, int(plain["seq"]), str(plain["kind"]), dict(plain["data"]))
    except (ValueError, KeyError, TypeError):
        pass
    return Line(raw)


def spell(seq: int, kind: str, data: str) -> bytes:
    """A line, of data that are JSON already."""
    body = f'{{"seq":{seq},"kind":{json.dumps(kind)},"data":{data}}}'.encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(body), body)


def read_lines(descriptor: int, offset: int, end: int, most: int) -> list[Line]:
    """At most so many whole lines between the two places of a file. None where there is no line's end."""
    size = CHUNK
    while True:
        chunk = os.pread(descriptor, min(size, end - offset), offset)
        if b"\n" in chunk or size >= end - offset:
            break
        size *= 4
    return [parse(raw + b"\n") for raw in chunk.split(b"\n", most)[:-1][:most]]


class Journal:
    """Of this process. `append` may be called by any thread; all else is the clerk's.

    `on_full` is called, once an outage, when the disk takes no more.
    """

    def __init__(self, gateway_id: Callable[[], str], on_full: Callable[[], None]) -> None:
        self._path: Path | None = None
        self._gateway_id = gateway_id
        self._on_full = on_full
        self._lock = threading.Lock()
        self._some = threading.Condition(self._lock)
        self._descriptor = self._reader = -1
        self._seq = 0
        self._size = self._read = self._synced = 0
        self._waiting: deque[bytes] = deque()
        self._is_closed = False

    @property
    def path(self) -> Path:
        """Where it is, or would be; the database knows it by the name without its ending."""
        if self._path is None:
            self._path = new_path(self._gateway_id())
        return self._path

    def open(self) -> None:
        """Begin the file. Where that can't be done entries wait in memory, which is said, until it can."""
        with self._lock:
            self._open()

    def append(self, kind: str, data: str) -> None:
        """Have the entry on record; `data` is a JSON object. It is handed to the clerk from there. Never waits for a disk
        to write it out, nor for a database; OSError never."""
        full: OSError | None = None
        with self._lock:
            self._seq += 1
            line = spell(self._seq, kind, data)
            if self._is_closed:
                self._leave(line)
                return
            if not self._waiting:
                full = self._put(line)
            if self._waiting or full is not None:
                self._waiting.append(line)
            self._some.notify()
        if full is not None:
            log.error("the journal can't be written, its entries wait in memory: %s", full)
            self._on_full()

    def next(self, most: int) -> list[Line]:
        """The first entries that aren't written down yet."""
        self._catch_up()
        with self._lock:
            end = self._size
            if self._read == end:
                return [parse(raw) for raw, _ in zip(self._waiting, range(most), strict=False)]
        return read_lines(self._reader, self._read, end, most)

    def written(self, lines: Iterable[Line]) -> None:
        """The database has these, which are the first ones."""
        with self._lock:
            for line in lines:
                if self._read < self._size:
                    self._read += len(line.raw)
                else:
                    self._waiting.popleft()
            if self._is_done() and self._size >= LARGEST:
                os.ftruncate(self._descriptor, 0)
                self._size = self._read = self._synced = 0

    def sync(self) -> None:
        """Bring what is in the file to the disk: a database that is away for long is no reason to lose it with the
        machine's power."""
        with self._lock:
            size = self._size
        if self._synced < size:
            self._synced = size
            try:
                files.sync_data(self._descriptor)
            except OSError as error:  # the database may be there all the same
                log.error("the journal could not be synced: %s", error)

    def wait(self, seconds: float | None = None) -> None:
        """Until there is something to write down, or `wake`."""
        with self._lock:
            if self._is_done():
                self._some.wait(seconds)

    def wake(self) -> None:
        with self._lock:
            self._some.notify_all()

    def close(self) -> bool:
        """The process is about to end. True when everything was written, and the file is gone; else it is left to the
        next start. What comes later gets a file of its own."""
        with self._lock:
            done, self._is_closed = self._is_done(), True
            for line in self._waiting:
                self._put(line)
            if done and self._descriptor >= 0:
                self.path.unlink(missing_ok=True)
                files.sync_directory(self.path.parent)
            for descriptor in (self._descriptor, self._reader):
                if descriptor >= 0:
                    os.close(descriptor)
            self._descriptor = self._reader = -1
        return done

    # With the lock held. ---------------------------------------------------------------------------------

    def _is_done(self) -> bool:
        return self._read == self._size and not self._waiting

    def _open(self) -> OSError | None:
        if self._descriptor >= 0:
            return None
        try:
            folder()
            descriptor = files.create_for_append(self.path, b"")
            try:
                self._reader = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError:
                self.path.unlink()
                os.close(descriptor)
                raise
        except OSError as error:
            return error
        self._descriptor = descriptor
        return None

    def _put(self, line: bytes) -> OSError | None:
        """One write. Why it is not in the file, or None."""
        error = self._open()
        if error is not None:
            return error
        try:
            count = os.write(self._descriptor, line)
            if count == len(line):
                self._size += count
                return None
            os.ftruncate(self._descriptor, self._size)
        except OSError as failed:
            return failed
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _leave(self, line: bytes) -> None:
        """After the end: for the next start."""
        try:
            os.close(files.create_for_append(new_path(self._gateway_id()), line))
        except OSError as error:
            log.error("an entry came after the end of the journal, and can't be kept: %s", error)

    def _catch_up(self) -> None:
        """What waits in memory goes into the file, a few at a time: others wait for the lock."""
        while True:
            with self._lock:
                for _ in range(min(A_FEW, len(self._waiting))):
                    if self._put(self._waiting[0]) is not None:
                        return
                    self._waiting.popleft()
                if not self._waiting:
                    return
