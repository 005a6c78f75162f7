"""What the two directions of an sftp channel know together: requests under way, open handles, the gateway's own packets.

The person's reader thread judges requests, the asset's judges answers; single steps on the dictionaries are atomic.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from breakglass.domain.refusals import Refusal
from sessions.gateway.files.lane import Outbox
from sessions.gateway.files.ledger import Ledger
from sessions.gateway.files.open_files import OpenFile, OpenFolder
from sessions.gateway.files.sftp_paths import Answer
from sessions.gateway.files.sftp_wire import Malformed, Status, Type, number, packet, status, text
from sessions.gateway.relay import STDERR, SplicedChannel

MOST_UNANSWERED = 100_000
"""Requests under way, at most: some clients ask for all of a file at once."""
MOST_OPEN = 1024
"""Files and folders that are open or being opened, at most; most servers can't hold more themselves."""
MOST_REFUSED = 1000
MOST_LINES = 20


class For(IntEnum):
    """What an answer that is awaited is for."""

    OPEN = 0
    FOLDER = 1
    READ = 2
    WRITE = 3
    CLOSE = 4
    OPERATION = 5
    LOOKUP = 6
    JUDGEMENT = 7
    OURSELVES = 8


Pending = tuple[For, Any, int, int]
"""What for; the file, folder, operation or callback; and for contents their offset and length."""

Insert = Callable[[bytes], None]


class SftpState:
    """One channel's."""

    def __init__(self, channel: SplicedChannel) -> None:
        self.channel = channel
        self.ledger = Ledger(channel)
        self.outbox = Outbox()
        self.pending: dict[int, Pending] = {}
        self.handles: dict[bytes, OpenFile | OpenFolder] = {}
        self._opening: set[int] = set()
        self.home = b""
        self.greeted = False
        self.insert_up: Insert
        self.insert_down: Insert
        self._refusals = 0
        self._turns = threading.Lock()
        self._latest: int | None = None
        self._after: dict[int, list[bytes]] = {}
        self._own = random.getrandbits(32)

    def expect(self, request: int, what: For, subject: Any = None, offset: int = 0, length: int = 0) -> None:
        """From now on an answer to `request` is awaited. Raises Malformed."""
        if request in self.pending:
            raise Malformed("a request number that is in use")
        if len(self.pending) >= MOST_UNANSWERED:
            raise Malformed("too many requests at once")
        self.pending[request] = (what, subject, offset, length)
        if what is not For.JUDGEMENT:
            self._latest = request

    def may_open(self, request: int) -> bool:
        """Whether `request` may open one more: it counts from now on, until `opened` or its handle is closed."""
        if len(self._opening) + len(self.handles) >= MOST_OPEN:
            return False
        self._opening.add(request)
        return True

    def opened(self, request: int) -> None:
        """It is settled what became of `request`: it has a handle, or will never have one."""
        self._opening.discard(request)

    def ask(self, path: bytes, answer: Answer) -> None:
        """Ask the asset, with a request of our own, where `path` leads."""
        while self._own in self.pending:
            self._own = (self._own + 1) & 0xFFFFFFFF
        request, self._own = self._own, (self._own + 1) & 0xFFFFFFFF
        self.pending[request] = (For.OURSELVES, answer, 0, 0)
        self.to_asset(packet(Type.REALPATH, number(request), text(path)))

    def to_asset(self, data: bytes) -> None:
        self.outbox.put(lambda: self.insert_up(data))

    def to_person(self, data: bytes) -> None:
        self.outbox.put(lambda: self.insert_down(data))

    def answered(self, request: int) -> Pending | None:
        """What the asset's answer to `request` is for; our own answers that waited for it follow."""
        with self._turns:
            pending = self.pending.pop(request, None)
            waiting = self._after.pop(request, ())
        for data in waiting:
            self.to_person(data)
        return pending

    def in_turn(self, data: bytes) -> None:
        """Answer the person in the asset's place, after all that was asked before: some clients lose track otherwise."""
        with self._turns:
            if self._latest is not None and self._latest in self.pending:
                self._after.setdefault(self._latest, []).append(data)
                return
        self.to_person(data)

    def no(self, request: int, why: Refusal, code: Status = Status.PERMISSION_DENIED) -> bytes:
        """The status that tells the person why not; also a line on stderr, for clients that show but a code's words.

        Raises Malformed where nothing but refusals comes.
        """
        self._refusals += 1
        if self._refusals > MOST_REFUSED:
            raise Malformed("too many refused requests")
        line = f"Breakglass: {why}"
        if self._refusals <= MOST_LINES:
            self.outbox.put(lambda: self.channel.person.write(f"{line}\r\n".encode(), STDERR))
        return status(request, code, line)
