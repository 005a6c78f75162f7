"""Receivers of the audit trail's rows as they happen: a file of JSON lines, syslog, a webhook.

An address is `file:///path`, `syslog+tcp://host:601`, `syslog+tls://host:6514` or `http(s)://...`. After `#`, joined by `&`:
`ca=FILE` whom to believe over TLS instead of the system's authorities, `cert=FILE` what to show, `from=now` to leave out what
happened before the address was first used.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import http.client
import os
import socket
import ssl
import struct
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from breakglass import clock
from breakglass.config import SIEM_SCHEMES

PATIENCE = 5.0
MOST_NAME = 180
PIECE = 16 * 1024
SETTLE = 2.0
# RFC 5424: facility 13 (log audit); severity 4 (warning) for what was refused or is wrong, else 5 (notice).
FACILITY, WARNING, NOTICE = 13, 4, 5
WRONG = ("refused", "alarm", "damaged", "failed", "crashed", "cloned", "away", "broken")
_OPTIONS = frozenset({"ca", "cert", "from"})


class NotReceived(Exception):
    """The receiver didn't take the rows, or it isn't known whether it did; the message says why."""


@dataclass(frozen=True)
class Row:
    """One row of the trail. `line` is its body as it was hashed, with its hash as one more member at the end."""

    seq: int
    at: datetime
    tag: str
    line: bytes


class Receiver(Protocol):
    """Takes rows in order. After NotReceived everything after the last `received()` is to be sent again."""

    def send(self, rows: Sequence[Row]) -> None:
        """Raises NotReceived."""
        ...

    def received(self) -> int:
        """The last row that is known to be there; 0 while none is. Raises NotReceived."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Address:
    """Where a receiver is. `name` shows no password."""

    url: SplitResult
    options: dict[str, str]

    @property
    def name(self) -> str:
        """The same for the same address; others that only differ in what isn't shown have other names."""
        host = self.url.netloc.rpartition("@")[2]
        shown = self.url._replace(netloc=host, fragment="", query="").geturl()
        whole = self.url._replace(fragment="").geturl()
        if shown == whole and len(shown) <= MOST_NAME:
            return shown
        return f"{shown[:MOST_NAME]} ({hashlib.sha256(whole.encode()).hexdigest()[:8]})"

    @property
    def from_now(self) -> bool:
        return self.options.get("from") == "now"

    def receiver(self) -> Receiver:
        if self.url.scheme == "file":
            return _File(Path(unquote(self.url.path)))
        if self.url.scheme in {"http", "https"}:
            return _Webhook(self)
        return _Syslog(self)

    def tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.options.get("ca"))
        if "cert" in self.options:
            context.load_cert_chain(self.options["cert"])
        return context


def address_of(text: str) -> Address:
    """Raises ValueError with what an address must be."""
    url = urlsplit(text.strip())
    if url.scheme not in SIEM_SCHEMES:
        raise ValueError(f"must begin with one of {', '.join(SIEM_SCHEMES)}")
    if not (url.path.strip("/") if url.scheme == "file" else url.hostname):
        raise ValueError(f"{url.scheme}: the address names no place")
    try:
        assert url.port is None or url.port > 0
    except (ValueError, AssertionError):
        raise ValueError(f"{url.scheme}: its port is no number from 1 to 65535") from None
    options = {name: values[-1] for name, values in parse_qs(url.fragment).items()}
    if options.keys() - _OPTIONS or options.get("from", "now") != "now":
        raise ValueError("after # only ca=FILE, cert=FILE and from=now may stand")
    return Address(url, options)


def addresses_of(text: str) -> list[Address]:
    """Comma separated addresses. Raises ValueError."""
    return [address_of(part) for part in text.split(",") if part.strip()]


class _File:
    """JSON lines, on the disk when `send` returns. Opened anew each time, so that logrotate may take it away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._received = 0

    def send(self, rows: Sequence[Row]) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(self._path, flags, 0o640)
            try:
                raw = b"".join(row.line + b"\n" for row in rows)
                if _is_torn(handle):
                    raw = b"\n" + raw  # what a crash tore off is sent again, whole
                if os.write(handle, raw) != len(raw):
                    raise OSError(f"{self._path} took only a part: is its disk full?")
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise NotReceived(str(error)) from error
        self._received = rows[-1].seq

    def received(self) -> int:
        return self._received

    def close(self) -> None:
        pass


def _is_torn(handle: int) -> bool:
    end = os.fstat(handle).st_size
    return end > 0 and os.pread(handle, 1, end - 1) != b"\n"


class _Syslog:
    """RFC 5424 messages over TCP (RFC 6587, octet counting) or TLS (RFC 5425).

    Syslog acknowledges nothing. What counts as received is what the other machine's TCP has acknowledged on a connection
    that was still whole `SETTLE` seconds later: a receiver that dies with rows unread resets it, and they are sent again.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._out: socket.socket | None = None
        self._under_way: list[tuple[int, float]] = []
        self._received = 0

    def send(self, rows: Sequence[Row]) -> None:
        try:
            out = self._still_there() or self._connect()
            _send_all(out, b"".join(_framed(row) for row in rows))
        except (OSError, ValueError) as error:
            raise self._lost(error) from error
        self._under_way.append((rows[-1].seq, 0.0))

    def received(self) -> int:
        try:
            out = self._still_there()
            now = clock.monotonic()
            if out is not None and not _unacknowledged(out):
                self._under_way = [(seq, since or now) for seq, since in self._under_way]
        except OSError as error:
            raise self._lost(error) from error
        while self._under_way and 0 < self._under_way[0][1] <= now - SETTLE:
            self._received = self._under_way.pop(0)[0]
        return self._received

    def close(self) -> None:
        self._under_way.clear()
        if self._out is not None:
            self._out.close()
            self._out = None

    def _lost(self, error: Exception) -> NotReceived:
        self.close()
        return NotReceived(str(error) or type(error).__name__)

    def _connect(self) -> socket.socket:
        url = self._address.url
        host, secure = url.hostname or "", url.scheme == "syslog+tls"
        out = socket.create_connection((host, url.port or (6514 if secure else 601)), PATIENCE)
        self._out = out
        out.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            out.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000)
        if secure:
            self._out = out = self._address.tls().wrap_socket(out, server_hostname=host)
        return out

    def _still_there(self) -> socket.socket | None:
        """The connection, if there is one. OSError where the other side has gone while rows were under way to it."""
        if self._out is None:
            return None
        self._out.settimeout(0)
        try:
            gone = self._out.recv(4096) == b""
        except (BlockingIOError, ssl.SSLWantReadError):
            gone = False
        except OSError:
            if self._under_way:
                raise
            gone = True
        if gone and self._under_way:
            raise ConnectionResetError("it closed the connection")
        if gone:
            self.close()  # nothing is lost; the next row asks for a new one
        else:
            self._out.settimeout(PATIENCE)
        return self._out


def _send_all(out: socket.socket, data: bytes) -> None:
    """As `sendall`, but a receiver that is only slow has time: `PATIENCE` is for each piece, not for all of them."""
    left = memoryview(data)
    while left:
        left = left[out.send(left[:PIECE]) :]


def _unacknowledged(out: socket.socket) -> int:
    if not hasattr(termios, "TIOCOUTQ"):
        return 0
    (left,) = struct.unpack("i", fcntl.ioctl(out.fileno(), termios.TIOCOUTQ, b"\0" * 4))
    return int(left)


def _framed(row: Row) -> bytes:
    severity = WARNING if row.tag.rpartition(":")[2] in WRONG else NOTICE
    stamp = row.at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    host = socket.gethostname()[:255] or "-"
    head = f"<{FACILITY * 8 + severity}>1 {stamp} {host} breakglass - {row.tag[:32]} - "
    message = head.encode() + row.line
    return b"%d %s" % (len(message), message)


class _Webhook:
    """POSTs JSON lines (application/x-ndjson); an answer of 2xx says that they are received. No redirects."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._received = 0

    def send(self, rows: Sequence[Row]) -> None:
        url = self._address.url
        headers = {"Content-Type": "application/x-ndjson", "User-Agent": "breakglass-audit"}
        if url.username is not None:
            secret = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(secret).decode()
        where = url._replace(scheme="", netloc="", fragment="").geturl() or "/"
        try:
            connection = self._connection()
            try:
                connection.request("POST", where, b"".join(row.line + b"\n" for row in rows), headers)
                answer = connection.getresponse()
                answer.read(1 << 16)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise NotReceived(str(error) or type(error).__name__) from error
        if not 200 <= answer.status < 300:
            raise NotReceived(f"it answered {answer.status} {answer.reason}"[:200])
        self._received = rows[-1].seq

    def received(self) -> int:
        return self._received

    def close(self) -> None:
        pass

    def _connection(self) -> http.client.HTTPConnection:
        url = self._address.url
        if url.scheme == "https":
            context = self._address.tls()
            return http.client.HTTPSConnection(
                url.hostname or "", url.port, timeout=PATIENCE, context=context
            )
        return http.client.HTTPConnection(url.hostname or "", url.port, timeout=PATIENCE)
