"""Places outside that keep the notary's checkpoints: whoever rewrites the trail would have to rewrite them too.

An address is `file:///path`, `syslog://host:514` (UDP), `syslog+tcp://host:601`, `http(s)://...` or `mailto:who@where`;
`#every=SECONDS` at its end thins them out.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import smtplib
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from django.core.mail import EmailMessage

from breakglass.config import ANCHOR_SCHEMES
from breakglass.domain.checkpoint import notes_in

PATIENCE = 5.0
MOST_READ = 256 * 1024 * 1024
# Patience is for each word of an answer; one that trickles is cut off after so long, whatever it says.
LONGEST = {"POST": 15.0, "GET": 120.0}
MAIL_EVERY = 3600.0
LONGEST_NAME = 200
# RFC 5424: facility 13 (log audit), severity 5 (notice).
PRIORITY = 13 * 8 + 5


class AnchorFailed(Exception):
    """The anchor didn't take it, or can't be read; the message says why."""


@dataclass(frozen=True)
class Anchor:
    """One address. `name` shows no password; `nth` tells those apart that would be shown alike."""

    url: SplitResult
    every: float
    nth: int = 1

    @property
    def name(self) -> str:
        host = self.url.netloc.rpartition("@")[2]
        shown = self.url._replace(netloc=host, fragment="", query="").geturl()[: LONGEST_NAME - 10]
        return shown if self.nth == 1 else f"{shown} ({self.nth})"

    @property
    def can_be_read(self) -> bool:
        return self.url.scheme in {"file", "http", "https"}

    def send(self, note: str, now: datetime) -> None:
        """One checkpoint out of the house, within seconds. Raises AnchorFailed."""
        try:
            _SENDERS[self.url.scheme](self.url, note, now)
        except (OSError, http.client.HTTPException, smtplib.SMTPException) as error:
            raise AnchorFailed(str(error) or type(error).__name__) from error

    def read(self) -> list[str]:
        """Every note that it has. Raises AnchorFailed where it can't be asked or doesn't answer."""
        try:
            if self.url.scheme == "file":
                return notes_in(Path(unquote(self.url.path)).read_text())
            if self.url.scheme in {"http", "https"}:
                return notes_in(_asked(self.url, "GET", b"").decode())
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            raise AnchorFailed(str(error) or type(error).__name__) from error
        raise AnchorFailed("it only takes: look there yourself and give what you find by --checkpoint FILE")


def anchor_of(address: str) -> Anchor:
    """Raises ValueError with what an address must be."""
    url = urlsplit(address.strip())
    if url.scheme not in ANCHOR_SCHEMES:
        raise ValueError(
            f"an anchor's address begins with one of {', '.join(ANCHOR_SCHEMES)}: {url.scheme}:..."
        )
    if not (url.path if url.scheme in {"file", "mailto"} else url.hostname):
        raise ValueError(f"{url.scheme}: the address names no place")
    try:
        wanted = parse_qs(url.fragment).get("every", [""])[-1]
        every = float(wanted) if wanted else MAIL_EVERY if url.scheme == "mailto" else 0.0
        assert url.port is None or url.port > 0
    except (ValueError, AssertionError):
        raise ValueError(f"{url.scheme}: its port or #every= is no number") from None
    return Anchor(url, every)


def anchors_of(addresses: str) -> list[Anchor]:
    """Comma separated addresses, each with a name of its own. Raises ValueError."""
    found: list[Anchor] = []
    seen: Counter[str] = Counter()
    for address in filter(str.strip, addresses.split(",")):
        one = anchor_of(address)
        seen[one.name] += 1
        found.append(replace(one, nth=seen[one.name]))
    return found


def _to_file(url: SplitResult, note: str, _now: datetime) -> None:
    path = unquote(url.path)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    try:
        raw = (note + "\n").encode()
        end = os.fstat(handle).st_size
        if end and os.pread(handle, 2, max(end - 2, 0)) != b"\n\n":
            raw = b"\n\n\n" + raw  # a crash or a full disk tore the last one: it must not spoil this one
        if os.write(handle, raw) != len(raw):
            raise OSError(f"{path} took only a part: is its disk full?")
        os.fsync(handle)
    finally:
        os.close(handle)


def _to_syslog(url: SplitResult, note: str, now: datetime) -> None:
    """RFC 5424; over TCP framed by octet counting (RFC 6587)."""
    stamp = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
    words = json.dumps({"checkpoint": note})
    message = f"<{PRIORITY}>1 {stamp} {socket.gethostname()[:255]} breakglass - checkpoint - {words}".encode()
    host = url.hostname or ""
    if url.scheme == "syslog":
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, url.port or 514, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind, protocol) as out:
            out.sendto(message, address)
        return
    with socket.create_connection((host, url.port or 601), timeout=PATIENCE) as out:
        out.sendall(b"%d %s" % (len(message), message))
        out.shutdown(socket.SHUT_WR)


def _to_http(url: SplitResult, note: str, _now: datetime) -> None:
    _asked(url, "POST", note.encode())


def _to_mail(url: SplitResult, note: str, _now: datetime) -> None:
    subject = f"[Breakglass] audit checkpoint of {note.splitlines()[1]} rows"
    EmailMessage(subject, note, to=[unquote(url.path)]).send()


def _asked(url: SplitResult, method: str, body: bytes) -> bytes:
    """One request, no redirects: what an address was written down for is what it is used for."""
    make = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = make(url.hostname or "", url.port, timeout=PATIENCE)
    headers = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "breakglass-notary"}
    if url.username is not None:
        secret = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(secret).decode()
    try:
        connection.connect()
        with _cut_off(connection.sock, LONGEST[method]):
            connection.request(
                method, url._replace(scheme="", netloc="", fragment="").geturl() or "/", body or None, headers
            )
            answer = connection.getresponse()
            raw = answer.read(MOST_READ)
        if not 200 <= answer.status < 300:
            raise AnchorFailed(f"it answered {answer.status} {answer.reason}"[:200])
        return raw
    finally:
        connection.close()


@contextmanager
def _cut_off(sock: socket.socket, seconds: float) -> Iterator[None]:
    """Raises AnchorFailed when what is done inside takes longer: whoever waits for the next byte is woken with none."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # the line itself, below TLS

    timer = threading.Timer(seconds, cut)
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException):
        if not late.is_set():
            raise
    finally:
        timer.cancel()
        timer.join()
    if late.is_set():
        raise AnchorFailed(f"it took longer than {seconds:.0f} s")


_SENDERS = {
    "file": _to_file,
    "syslog": _to_syslog,
    "syslog+tcp": _to_syslog,
    "http": _to_http,
    "https": _to_http,
    "mailto": _to_mail,
}
