"""A channel's file operations: begun in the recording before they are relayed, ended there and in the books."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from breakglass import clock
from breakglass.domain.policy import FileRules
from breakglass.domain.refusals import Refusal, RefusalCode, refusal
from sessions.gateway.files.moved import Direction
from sessions.gateway.files.paths import visible
from sessions.recording.kept import KeptWriter
from sessions.recording.keyring import KeyUnavailable
from sessions.services import FileFacts
from sessions.services.recordings import recording_key, store
from sessions.states import EndReason

if TYPE_CHECKING:
    from sessions.gateway.relay import SplicedChannel

DONE = "done"
WORDS = {"read": "get", "write": "put"}


@dataclass
class Operation:
    """One operation under way. `number` counts up in its channel."""

    number: int
    verb: str
    path: str
    target: str = ""
    direction: Direction = Direction.NONE
    bytes: int = 0
    sha256: str = ""
    problem: str = ""
    kept: str = ""
    started_at: datetime = field(default_factory=clock.now)

    @property
    def label(self) -> str:
        """As it stands in the recording."""
        between = " to " if self.direction is Direction.NONE else " named "
        other = between + visible(self.target) if self.target else ""
        return f"{WORDS.get(self.verb, self.verb)} {visible(self.path)}{other}"


class Ledger:
    """All of one channel's. Called from both reader threads, and at the end from a third."""

    def __init__(self, channel: SplicedChannel) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[Operation, Callable[[], None]]] = {}

    @property
    def rules(self) -> FileRules:
        """As the grant says now: a renewed decision may have changed them."""
        return self._channel.session.authorization.obligations.files

    def begin(
        self,
        verb: str,
        path: str,
        target: str = "",
        direction: Direction = Direction.NONE,
        settle: Callable[[], None] = lambda: None,
    ) -> Operation:
        """It is in the recording when this returns. `settle` fills in, at the end, what is known only then.

        Raises SessionOver where it can't be recorded: then it isn't relayed.
        """
        operation = Operation(next(self._numbers), verb, path, target, direction)
        begins = "" if direction is Direction.NONE else "begins "
        self._channel.session.mark(f"file: {begins}{operation.label}{self._tag(operation)}")
        self._open[operation.number] = (operation, settle)
        return operation

    def finish(self, operation: Operation, outcome: str) -> None:
        """It is over; what was noted as its problem before counts more than `outcome`. The first call counts."""
        if self._open.pop(operation.number, None) is None:
            return
        outcome = operation.problem or outcome
        if not operation.bytes and not outcome.startswith(DONE):
            operation.sha256 = ""
        said = operation.label
        if operation.direction is not Direction.NONE:
            said += f" {operation.bytes} bytes" + (f" sha256 {operation.sha256}" if operation.sha256 else "")
        if operation.direction is not Direction.NONE or outcome != DONE:
            self._channel.session.note(f"file: {said}, {outcome}{self._tag(operation)}")
        self._channel.session.file_done(
            FileFacts(
                channel=self._channel.number,
                number=operation.number,
                verb=operation.verb,
                path=operation.path,
                target=operation.target,
                direction=operation.direction,
                bytes=operation.bytes,
                sha256=operation.sha256,
                outcome=outcome,
                kept=operation.kept,
                started_at=operation.started_at,
                ended_at=clock.now(),
            )
        )

    def wind_up(self) -> None:
        """The channel is over: what is under way was cut off."""
        reason = self._channel.session.reason
        why = f"the session ended ({reason})" if reason else "the channel was closed"
        for number in list(self._open):
            held = self._open.get(number)
            if held is not None:
                operation, settle = held
                settle()
                self.finish(operation, f"cut off: {why}")

    def refused(self, verb: str, path: str, why: Refusal, target: str = "") -> None:
        """An operation that isn't relayed: its row and its audit row."""
        operation = self.begin(verb, path, target)
        self.say(operation, why)
        self.finish(operation, str(why.code))

    def say(self, operation: Operation, why: Refusal) -> None:
        """The audit row of a refusal in the middle of an operation, and its code as the operation's outcome."""
        operation.problem = str(why.code)
        data = {"channel": self._channel.number, "verb": operation.verb, "path": operation.path[:1000]}
        self._channel.session.refused(why, data)

    def _tag(self, operation: Operation) -> str:
        return f" ({self._channel.number}.{operation.number})"


class Transfer:
    """The contents of one file in one direction: counted, hashed while they come in order, kept where that is asked."""

    def __init__(
        self,
        ledger: Ledger,
        channel: SplicedChannel,
        path: str,
        verb: str,
        direction: Direction,
        target: str = "",
    ) -> None:
        self._ledger = ledger
        self._channel = channel
        self.direction = direction
        self.operation = ledger.begin(verb, path, target, direction, self.settle)
        self._hash = hashlib.sha256()
        self._start: int | None = None
        self._next = 0
        self._in_order = True
        self._kept: KeptWriter | None = None
        self.over = False

    def begin(self, offset: int | None, count: int) -> Refusal | None:
        """The next `count` bytes at `offset` (None: wherever the file ends) are coming. Why they may not, or None."""
        limit = self._ledger.rules.max_bytes
        if not self._channel.session.moved.take(self.direction, count, limit):
            why = refusal(RefusalCode.FILE_LIMIT, limit=limit, path=visible(self.operation.path))
            if not self.operation.problem:
                self._ledger.say(self.operation, why)
            return why
        if offset is not None:
            if self._start is None:
                self._start = self._next = offset
            self._in_order = self._in_order and offset == self._next
            self._next = offset + count
        return None

    def add(self, piece: memoryview) -> None:
        """The bytes that `begin` announced, as they come. Raises SessionOver where a copy can't be kept."""
        self.operation.bytes += len(piece)
        if self._in_order:
            self._hash.update(piece)
        if not self.operation.kept and self._ledger.rules.keep_contents:
            self._keep()
        kept = self._kept  # the end of the session, in another thread, may take it away
        if kept is not None:
            try:
                kept.write(piece)
            except OSError:
                self._cannot_keep()

    def settle(self) -> None:
        """Fill in the digest. Where nothing moved there is that of nothing."""
        operation = self.operation
        operation.sha256 = self._hash.hexdigest() if self._in_order else ""
        kept, self._kept = self._kept, None
        if kept is not None:
            try:
                kept.close()
            except OSError:
                operation.problem = operation.problem or "the kept copy could not be ended"

    def finish(self, outcome: str) -> None:
        self.over = True
        self.settle()
        if outcome == DONE and self._start:
            outcome = f"done, from byte {self._start}"
        self._ledger.finish(self.operation, outcome)

    def _keep(self) -> None:
        session = self._channel.session
        number = self.operation.number
        path = store().kept_path(session.facts.session_id, self._channel.number, number)
        try:
            self._kept = KeptWriter(path, recording_key())
        except (OSError, KeyUnavailable):
            self._cannot_keep()
        self.operation.kept = f"{path.parent.name}/{path.name}"

    def _cannot_keep(self) -> None:
        """What can't be kept isn't moved: law 4 holds for copies too. Ends the session and raises."""
        self._channel.session.end(EndReason.CANNOT_RECORD)
        self._channel.session.go_on(typed=False)
