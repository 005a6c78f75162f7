"""What all processes of a gateway count together: wrong answers.

The counting itself is in throttle.py and knows nothing of processes. The parent holds the one copy; a child's `Line` asks
it, which takes some 50 us and only while somebody isn't authenticated yet. Places and turns of strangers are divided
among the processes instead (`Limits.share`): the kernel spreads connections evenly enough for that.
"""

from __future__ import annotations

import json
import threading
from multiprocessing.connection import Connection
from typing import Any, cast

from sessions.gateway.throttle import Throttle

READY = b"ready"


class Counters:
    """In the parent: the one throttle."""

    def __init__(self) -> None:
        self._throttle = Throttle()

    def answer(self, asked: bytes) -> bytes | None:
        """What to send back, or None where the child only said that it is ready."""
        if asked == READY:
            return None
        method, arguments = json.loads(asked)
        return json.dumps(getattr(self._throttle, method)(*arguments)).encode()


class Line:
    """In a child: asks the parent, one question at a time. Raises OSError when there is no parent any more."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self.throttle = cast(Throttle, _Asked(self))

    def ready(self) -> None:
        with self._lock:
            self._connection.send_bytes(READY)

    def ask(self, method: str, *arguments: Any) -> Any:
        question = json.dumps((method, arguments)).encode()
        with self._lock:
            try:
                self._connection.send_bytes(question)
                return json.loads(self._connection.recv_bytes())
            except EOFError as error:
                raise ConnectionError("the gateway's parent is gone") from error


class _Asked:
    """The throttle elsewhere: each method is a question to it."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def __getattr__(self, method: str) -> Any:
        return lambda *arguments: self._line.ask(method, *arguments)
