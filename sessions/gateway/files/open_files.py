"""What the person has open on the asset: files, whose contents are followed, and folders."""

from __future__ import annotations

from dataclasses import dataclass

from sessions.gateway.files.ledger import DONE, Ledger, Operation, Transfer
from sessions.gateway.files.moved import Direction
from sessions.gateway.relay import SplicedChannel

READ, WRITE, APPEND, CREATE, TRUNCATE, EXCLUSIVE = 1, 2, 4, 8, 0x10, 0x20
CHANGING = WRITE | APPEND | CREATE | TRUNCATE | EXCLUSIVE
"""An OPEN with any of these may make or empty a file, whether it is written to or not."""


class OpenFile:
    """A file that was asked to be opened. A row for each direction that it was opened for, or moved in."""

    def __init__(self, ledger: Ledger, channel: SplicedChannel, path: str, flags: int) -> None:
        """Begin its operation: the recording says so before the asset is asked."""
        self._ledger, self._channel = ledger, channel
        self.path = path
        self.appends = bool(flags & APPEND)
        self._up: Transfer | None = None
        self._down: Transfer | None = None
        if flags & CHANGING:
            self._up = self._transfer(Direction.UP)
        else:
            self._down = self._transfer(Direction.DOWN)

    def up(self) -> Transfer:
        if self._up is None:
            self._up = self._transfer(Direction.UP)
        return self._up

    def down(self) -> Transfer:
        if self._down is None:
            self._down = self._transfer(Direction.DOWN)
        return self._down

    def finish(self, problem: str = "") -> None:
        for transfer in (self._up, self._down):
            if transfer is not None:
                transfer.finish(problem or DONE)

    def _transfer(self, direction: Direction) -> Transfer:
        verb = "read" if direction is Direction.DOWN else "append" if self.appends else "write"
        return Transfer(self._ledger, self._channel, self.path, verb, direction)


@dataclass
class OpenFolder:
    """A folder that is being listed."""

    ledger: Ledger
    operation: Operation
    path: str

    def finish(self, problem: str = "") -> None:
        self.ledger.finish(self.operation, problem or DONE)
