"""Files in a browser terminal: lists, uploads and downloads, one after another, by sftp through the gateway.

The gateway records and bounds them as anybody's. Here they are carried in pieces: no more is held than what is under
way, whichever side is slow. One thread for one terminal, from its first file to its end.
"""

from __future__ import annotations

import queue
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import paramiko
from paramiko.sftp import CMD_WRITE, int64

from breakglass.domain.text import visible
from sessions.web.terminal_client import GatewayLine, NotLetIn, open_sftp
from sessions.web.terminal_credit import Credit

PIECE = 32 * 1024
BATCH = 16
MOST_ENTRIES = 2000
MOST_WAITING = 8
ONE_PART = 64 * 1024
"""What a part of a list counts as, whatever its length: the page says that it took so much."""
MOST_UNDER_WAY = 512 * 1024
LONGEST_PATH = 4096
KINDS = {stat.S_IFDIR: "folder", stat.S_IFREG: "file", stat.S_IFLNK: "link"}

Tell = Callable[[dict[str, Any]], None]
Give = Callable[[bytes], None]


class Stopped(Exception):
    """The person stopped it, or the terminal is over."""


@dataclass(frozen=True)
class Wish:
    """What the page asked for: `list`, `get` or `put`, and for which of its own numbers the answer is."""

    verb: str
    number: int
    path: str
    size: int = 0
    replace: bool = False


class Files:
    """`ask` and `data` are called by the event loop and never wait; `tell` and `give` are called by the thread."""

    def __init__(self, line: GatewayLine, tell: Tell, give: Give) -> None:
        self._line = line
        self._tell = tell
        self._give = give
        self._wishes: queue.Queue[Wish | None] = queue.Queue(MOST_WAITING)
        self._data: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._asked: set[int] = set()
        self._stopped: set[int] = set()
        self._sftp: paramiko.SFTPClient | None = None
        self._is_over = threading.Event()
        self._under_way = 0
        self._count = threading.Lock()
        self.credit = Credit(MOST_UNDER_WAY)
        self._thread = threading.Thread(target=self._run, name="terminal-files", daemon=True)
        self._thread.start()

    def ask(self, wish: Wish) -> bool:
        """False where too many wait already."""
        self._asked.add(wish.number)
        try:
            self._wishes.put_nowait(wish)
        except queue.Full:
            self._asked.discard(wish.number)
            return False
        return True

    def data(self, piece: bytes) -> bool:
        """A piece of the upload that runs; an empty one is none. False where more came than was allowed for."""
        if not piece:
            return True
        with self._count:
            self._under_way += len(piece)
            fits = self._under_way <= MOST_UNDER_WAY + PIECE
        if fits:
            self._data.put(piece)
        return fits

    def stop(self, number: int) -> None:
        """What waits or runs. Of what wasn't asked for, is over, or was stopped already nothing is kept."""
        if number not in self._asked or number in self._stopped:
            return
        self._stopped.add(number)
        self._data.put(None)
        self.credit.give(1)

    def end(self) -> None:
        """Never waits. What runs is given up."""
        self._is_over.set()
        self.credit.end()
        self._data.put(None)
        while True:  # room for the word that it is over
            try:
                self._wishes.put_nowait(None)
                return
            except queue.Full:
                self._drop_one()

    def _drop_one(self) -> None:
        try:
            self._wishes.get_nowait()
        except queue.Empty:
            return

    # In the thread. --------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_over.is_set():
            wish = self._wishes.get()
            if wish is None:
                return
            self._fulfil(wish)

    def _fulfil(self, wish: Wish) -> None:
        try:
            if wish.number in self._stopped:
                raise Stopped
            if self._sftp is None:
                self._sftp = open_sftp(self._line)
            if wish.verb == "list":
                self._list(self._sftp, wish)
            elif wish.verb == "get":
                self._get(self._sftp, wish)
            else:
                self._put(self._sftp, wish)
        except NotLetIn as no:
            self._no(wish, str(no))
        except Stopped:
            self._no(
                wish,
                "Stopped." if wish.verb != "put" else "Stopped. What had arrived may be there, unfinished.",
            )
        except (OSError, EOFError, paramiko.SSHException) as error:
            self._no(wish, _words(error, self._line))
        except UnicodeDecodeError:
            self._no(wish, "A name there isn't UTF-8, so it can't be shown. Use sftp on your own machine.")
        except ValueError:  # such as a lone surrogate, which no UTF-8 has
            self._no(wish, "That name can't be sent. Use sftp on your own machine.")
        finally:
            self._asked.discard(wish.number)
            self._stopped.discard(wish.number)

    def _no(self, wish: Wish, says: str) -> None:
        self._tell({"t": "no", "id": wish.number, "says": visible(says)})

    def _list(self, sftp: paramiko.SFTPClient, wish: Wish) -> None:
        where = sftp.normalize(wish.path or ".")
        found: list[dict[str, Any]] = []
        cut = False
        for entry in sftp.listdir_iter(where, read_aheads=1):
            if len(found) >= MOST_ENTRIES:
                cut = True
                break
            mode = stat.S_IFMT(entry.st_mode or 0)
            found.append(
                {"name": entry.filename, "kind": KINDS.get(mode, "other"), "size": entry.st_size or 0,
                 "at": (entry.st_mtime or 0) * 1000}
            )  # fmt: skip
        found.sort(key=lambda one: (one["kind"] != "folder", one["name"].lower()))
        self._tell_in_parts(wish, where, found, cut)

    def _tell_in_parts(self, wish: Wish, where: str, found: list[dict[str, Any]], cut: bool) -> None:
        for start in range(0, max(1, len(found)), 200):
            last = start + 200 >= len(found)
            part = {"t": "list", "id": wish.number, "path": where, "entries": found[start : start + 200]}
            if not self.credit.take(ONE_PART):
                raise Stopped
            self._tell(part | {"last": last, "cut": cut})

    def _get(self, sftp: paramiko.SFTPClient, wish: Wish) -> None:
        with sftp.open(wish.path, "rb") as remote:
            size = remote.stat().st_size or 0
            self._tell({"t": "get", "id": wish.number, "size": size})
            sent = 0
            for piece in _pieces(remote, size):
                if not self.credit.take(len(piece)) or wish.number in self._stopped:
                    raise Stopped
                self._give(piece)
                sent += len(piece)
        self._tell({"t": "got", "id": wish.number, "bytes": sent})

    def _put(self, sftp: paramiko.SFTPClient, wish: Wish) -> None:
        if not wish.replace and _exists(sftp, wish.path):
            self._tell({"t": "exists", "id": wish.number})
            return
        self._forget_old_data()
        with sftp.open(wish.path, "wb") as remote:
            writes = Writes(sftp, remote)
            self._tell({"t": "put", "id": wish.number})
            received = 0
            while received < wish.size:
                piece = self._next(wish)
                writes.write(piece)
                received += len(piece)
                with self._count:
                    self._under_way -= len(piece)
                self._tell({"t": "sent", "id": wish.number, "n": len(piece)})
            writes.finish()
        self._tell({"t": "put-done", "id": wish.number, "bytes": received})

    def _next(self, wish: Wish) -> bytes:
        piece: bytes | None = None
        while True:  # asked before waiting too: the word of a stop may be gone with old data
            if self._is_over.is_set() or wish.number in self._stopped:
                raise Stopped
            if piece:
                return piece
            piece = self._data.get()

    def _forget_old_data(self) -> None:
        """Of an upload that was stopped, or failed, while pieces of it were under way."""
        while not self._data.empty():
            self._data.get()
        with self._count:
            self._under_way = 0


class Writes:
    """Writes to one file, some under way at once, each answer looked at: paramiko's own pipelining drops the answers
    that come late, and a refusal of the gateway with them. Its names for that are private: paramiko is pinned."""

    def __init__(self, sftp: paramiko.SFTPClient, remote: paramiko.SFTPFile) -> None:
        self._sftp: Any = sftp
        self._handle = remote.handle
        self._at = 0
        self._waiting = 0
        self._error: OSError | EOFError | None = None

    def write(self, data: bytes) -> None:
        """Raises what an earlier one met."""
        for start in range(0, len(data), PIECE):
            self._wait(BATCH - 1)
            piece = data[start : start + PIECE]
            self._waiting += 1
            self._sftp._async_request(self, CMD_WRITE, self._handle, int64(self._at), piece)
            self._at += len(piece)

    def finish(self) -> None:
        """Once all are answered. Raises what one of them met."""
        self._wait(0)

    def _wait(self, most: int) -> None:
        while self._waiting > most and self._error is None:
            self._sftp._read_response()
        if self._error is not None:
            raise self._error

    def _async_response(self, kind: int, message: paramiko.Message, number: int) -> None:
        """paramiko calls this with the answer to one of ours."""
        self._waiting -= 1
        try:
            self._sftp._convert_status(message)
        except (OSError, EOFError) as error:
            self._error = self._error or error


def _pieces(remote: paramiko.SFTPFile, size: int) -> Iterator[bytes]:
    """The file in pieces, some asked for ahead. One that says it is empty is read to its end: /proc has such files."""
    _ask_before_reading(remote)
    at = 0
    while at < size:
        batch = [
            (place, min(PIECE, size - place)) for place in range(at, min(size, at + BATCH * PIECE), PIECE)
        ]
        for piece in remote.readv(batch):
            if not piece:
                return
            at += len(piece)
            yield piece
    if size == 0:
        while piece := remote.read(PIECE):
            yield piece


def _ask_before_reading(remote: Any) -> None:
    """All of a batch is asked for before its first answer is read.

    paramiko asks in a thread of its own, which the answers may overtake: then it reads some places twice, and what the
    gateway counts is no file any more.
    """

    def ask(chunks: Any, most: int | None = None) -> None:
        remote._prefetching, remote._prefetch_done = True, False
        remote._prefetch_thread(chunks, most)

    remote._start_prefetch = ask


def _exists(sftp: paramiko.SFTPClient, path: str) -> bool:
    try:
        sftp.stat(path)
    except FileNotFoundError:
        return False
    return True


def _words(error: BaseException, line: GatewayLine) -> str:
    """What the gateway or the asset said, without Python's own words around it."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return line.farewell or said or "The gateway ended the transfer."
