"""A service that takes notices: keeps what it is sent, answers what it is told to, or nothing at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """`status`: its answer. `hangs`: it takes the message and says nothing."""

    port: int = 0
    status: int = 204
    hangs: bool = False
    got: list[dict[str, Any]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.port}/notices"


@contextmanager
def receiver(port: int = 0) -> Iterator[Receiver]:
    """One that listens on the loopback until the block ends."""
    known = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if known.hangs:
                known.stopped.wait(60)
                return
            if known.status < 300:
                known.got.append(json.loads(body))
            self.send_response(known.status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    known.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield known
    finally:
        known.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
