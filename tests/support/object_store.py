"""A real S3 server as a process of its own (moto's), and a proxy in front of it that makes it lie."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError

from django.core.files.storage import storages

from breakglass.object_store import parse
from sessions.services import remote

BUCKET = "recordings"
SECRET = "only-for-tests/secret+key"


# On a port that the kernel chooses, so that no two servers meet; ends when nobody holds its input any more.
SERVE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


class ObjectStoreServer:
    """One server. `close` ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def empty(self) -> None:
        """Forget all objects, and have an empty bucket."""
        _ask("POST", self.port, "/moto-api/reset")
        _ask("PUT", self.port, f"/{BUCKET}")

    def url(self, port: int | None = None, more: str = "") -> str:
        """The setting for this server, or for whatever stands before it on `port`."""
        secret = SECRET.replace("/", "%2F").replace("+", "%2B")
        return f"s3://test:{secret}@127.0.0.1:{port or self.port}/{BUCKET}/house?tls=0{more}"


def use(settings: Any, url: str, folder: Path | None = None, **more: Any) -> None:
    """From here on the settings name this object store ("": none)."""
    remote.forget()
    changes = {"storage_url": url, **more} | ({"data_dir": folder} if folder else {})
    settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update=changes)
    others = {name: entry for name, entry in settings.STORAGES.items() if name != "recordings"}
    settings.STORAGES = others | ({"recordings": parse(url).as_django()} if url else {})


def objects(settings: Any) -> dict[str, bytes]:
    """All that the store holds, by name below its prefix."""
    storage: Any = storages.create_storage(settings.STORAGES["recordings"])
    found = storage.bucket.objects.filter(Prefix="house/")
    return {entry.key.removeprefix("house/"): entry.get()["Body"].read() for entry in found}


def alter(name: str, content: bytes) -> None:
    """Somebody with the store's password puts other bytes there."""
    remote.Remote().put_small(name, content)


class LyingStore:
    """Passes requests on to a server, but for what `answer` says of them: (status, body) to answer so, None to pass on.

    With `truncate` it cuts so many bytes off each answer to a GET, as if that were all; with `cut` it breaks the
    connection off there.
    """

    def __init__(self, port: int) -> None:
        self.to_port, self.truncate, self.cut = port, 0, False
        self.answer: Any = lambda method, path: None
        self.seen: list[tuple[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"store": self}))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: LyingStore

    def _pass_on(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.headers.get("Expect"):
            del self.headers["Expect"]
        self.store.seen.append((self.command, self.path))
        said = self.store.answer(self.command, self.path)
        status, headers, content = (said[0], {}, said[1]) if said else self._ask(body)
        if self.command == "GET" and status in (200, 206) and self.store.truncate:
            whole, content = content, content[: -self.store.truncate]
            length_said = len(whole) if self.store.cut else len(content)
        else:
            length_said = len(content)
        self.send_response(status)
        for name in ("ETag", "Content-Type", "Last-Modified", "Content-Range"):
            if name in headers:
                self.send_header(name, headers[name])
        self.send_header(
            "Content-Length",
            headers.get("Content-Length", "0") if self.command == "HEAD" else str(length_said),
        )
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        if self.store.cut and self.store.truncate:
            self.close_connection = True

    def _ask(self, body: bytes) -> tuple[int, Any, bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("connection",)}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.store.to_port}{self.path}", body or None, headers, method=self.command
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except HTTPError as error:
            return error.code, error.headers, error.read()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on

    def log_message(self, *_: object) -> None:
        pass


def _ask(method: str, port: int, path: str) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    with urllib.request.urlopen(request, timeout=10):
        pass
