"""Checkpoints leave the house by each kind of anchor, come back from those that can be read, and an absence is noticed."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep

import pytest
from django.core import mail

from breakglass.config import ConfigError, load
from breakglass.domain.audit import AuditTag
from breakglass.models import AuditAnchor, AuditEvent, Notice
from breakglass.services import anchoring, anchors
from breakglass.services.anchoring import Anchoring
from breakglass.services.anchors import Anchor, AnchorFailed, anchor_of, anchors_of
from breakglass.services.notary import Signed
from tests.support import installation
from tests.support.cast import Cast
from tests.support.clock import NOON

NOTE = "a/audit\n7\nAAAA\n\n\N{EM DASH} a/audit BBBB\n"
PATIENCE = 20.0


def test_a_file_gets_each_checkpoint_after_the_last_and_gives_them_back(tmp_path: Path) -> None:
    path = tmp_path / "with space"
    anchor = anchor_of(f"file://{str(path).replace(' ', '%20')}")
    for _ in range(2):
        anchor.send(NOTE, NOON)
    assert anchor.read() == [NOTE, NOTE]
    assert path.stat().st_mode & 0o027 == 0


def test_a_file_is_never_followed_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AnchorFailed):
        anchor_of(f"file://{tmp_path}/link").send(NOTE, NOON)
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_missing_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(AnchorFailed, match="No such file"):
        anchor_of(f"file://{tmp_path}/none").read()


@contextmanager
def web(status: int = 201) -> Iterator[tuple[str, list[tuple[str, bytes, str | None]]]]:
    """A place that keeps what is posted and shows it all."""
    got: list[tuple[str, bytes, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, body, self.headers.get("Authorization")))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            body = b"\n".join(body for _, body, _ in got)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)


def test_an_http_endpoint_gets_them_posted_and_shows_them() -> None:
    with web() as (host, got):
        anchor = anchor_of(f"http://us:p%40ss@{host}/drop?box=7#every=5")
        anchor.send(NOTE, NOON)
        anchor.send(NOTE, NOON)
        assert got[0] == ("/drop?box=7", NOTE.encode(), "Basic dXM6cEBzcw==")
        assert anchor.read() == [NOTE, NOTE]
        assert anchor.name == f"http://{host}/drop"
        assert anchor.every == 5


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_endpoint_that_says_no_has_not_got_it(status: int) -> None:
    with web(status) as (host, _), pytest.raises(AnchorFailed, match=str(status)):
        anchor_of(f"http://{host}/").send(NOTE, NOON)


def test_syslog_over_udp_is_one_line_of_rfc_5424() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(PATIENCE)
        anchor_of(f"syslog://127.0.0.1:{server.getsockname()[1]}").send(NOTE, NOON)
        said = server.recv(65536).decode()
    _check_syslog(said)


def test_syslog_over_tcp_is_framed_by_its_length() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        anchor_of(f"syslog+tcp://127.0.0.1:{server.getsockname()[1]}").send(NOTE, NOON)
        line, _ = server.accept()
        with line, line.makefile("rb") as stream:
            raw = stream.read()
    length, _, said = raw.partition(b" ")
    assert int(length) == len(said)
    _check_syslog(said.decode())


def _check_syslog(said: str) -> None:
    found = re.fullmatch(r"<109>1 2026-\S+T12:00:00\.000000Z \S+ breakglass - checkpoint - (.+)", said)
    assert found, said
    assert json.loads(found[1]) == {"checkpoint": NOTE}


def test_mail_goes_out_with_the_whole_note() -> None:
    anchor = anchor_of("mailto:notary@elsewhere.example")
    anchor.send(NOTE, NOON)
    assert (mail.outbox[0].to, mail.outbox[0].body) == (["notary@elsewhere.example"], NOTE)
    assert "7 rows" in mail.outbox[0].subject
    assert anchor.every == 3600
    with pytest.raises(AnchorFailed, match="only takes"):
        anchor.read()


@pytest.mark.parametrize(
    "address", ["ftp://host/x", "file://", "https:///x", "syslog://", "mailto:", "plain", "http://h:x/", "file:///x#every=y"]
)  # fmt: skip
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        anchor_of(address)


def test_a_wrong_setting_stops_the_start(tmp_path: Path) -> None:
    wrong = installation.settings_in(tmp_path) | {"BREAKGLASS_AUDIT_ANCHORS": "file:///x, ftp://y"}
    with pytest.raises(ConfigError, match="BREAKGLASS_AUDIT_ANCHORS"):
        load(wrong)


# --- supplying them


class Place(Anchor):
    """An anchor that keeps what it gets, unless it is away."""

    away = False
    got: list[str]

    def send(self, note: str, now: object) -> None:
        if self.away:
            raise AnchorFailed("nobody is there")
        self.got.append(note)


def place(name: str) -> Place:
    found = Place(anchor_of(f"file:///{name}").url, 0.0)
    object.__setattr__(found, "got", [])
    return found


def let(anchor: Place, *, away: bool) -> None:
    object.__setattr__(anchor, "away", away)


def signed(size: int) -> Signed:
    return Signed(size=size, note=f"note {size}")


def settle(work: Anchoring, last: Signed, minutes: float) -> None:
    """Supply at that moment until every try has come to an end."""
    until = monotonic() + PATIENCE
    while True:
        work.supply(last, NOON + timedelta(minutes=minutes), minutes * 60)
        if not any(line.trying for line in work._lines):
            return
        assert monotonic() < until
        sleep(0.005)


@pytest.fixture
def two(db: None) -> Iterator[tuple[Anchoring, Place, Place]]:
    one, other = place("one"), place("other")
    work = Anchoring([one, other])
    yield work, one, other
    work.stop()


def test_each_anchor_gets_the_newest_once(two: tuple[Anchoring, Place, Place]) -> None:
    work, one, other = two
    for minutes, size in enumerate([1, 1, 4, 4]):
        settle(work, signed(size), minutes)
    assert one.got == other.got == ["note 1", "note 4"]
    assert {row.size for row in AuditAnchor.objects.all()} == {4}


def test_one_that_is_away_holds_up_no_other_and_gets_the_newest_when_it_is_back(
    two: tuple[Anchoring, Place, Place],
) -> None:
    work, one, other = two
    let(one, away=True)
    settle(work, signed(1), 0)
    settle(work, signed(2), 2)
    assert other.got == ["note 1", "note 2"]
    row = AuditAnchor.objects.get(name=one.name)
    assert (row.size, row.problem, row.failing_since) == (0, "nobody is there", NOON)
    let(one, away=False)
    settle(work, signed(3), 4)
    assert one.got == ["note 3"]
    row.refresh_from_db()
    assert (row.size, row.problem, row.failing_since) == (3, "", None)


def test_one_that_is_away_for_long_raises_an_alarm_once(
    two: tuple[Anchoring, Place, Place], cast: Cast
) -> None:
    work, one, _ = two
    let(one, away=True)
    for minutes in (0, 5, 9, 11, 15, 30):
        settle(work, signed(2), minutes)
        alarms = AuditEvent.objects.filter(tag=AuditTag.ANCHOR_AWAY).count()
        assert alarms == (1 if minutes >= 10 else 0)
    assert Notice.objects.filter(topic="audit", subject__contains=one.name).exists()
    let(one, away=False)
    settle(work, signed(3), 40)
    assert AuditEvent.objects.filter(tag=AuditTag.ANCHOR_BACK).count() == 1


def test_tries_at_one_that_is_away_get_rarer(two: tuple[Anchoring, Place, Place]) -> None:
    work, one, _ = two
    let(one, away=True)
    line = next(line for line in work._lines if line.anchor is one)
    for step in range(200):
        settle(work, signed(2), step / 60)
    assert 3 <= line.failures <= 8
    assert line.not_before <= 200 + anchoring.LONGEST_PAUSE


def test_one_may_want_them_thinned_out(db: None) -> None:
    rare = place("rare")
    object.__setattr__(rare, "every", 600.0)
    work = Anchoring([rare])
    for minutes in range(25):
        settle(work, signed(minutes + 1), minutes)
    work.stop()
    assert rare.got == ["note 1", "note 11", "note 21"]


def test_an_anchor_that_is_no_longer_wanted_is_no_longer_shown(two: tuple[Anchoring, Place, Place]) -> None:
    _, one, other = two
    Anchoring([one]).stop()
    assert not AuditAnchor.objects.filter(name=other.name).exists()


def test_several_are_given_with_commas() -> None:
    assert [one.url.scheme for one in anchors_of("file:///a, https://b/c,")] == ["file", "https"]


def test_anchors_that_would_be_shown_alike_have_names_of_their_own() -> None:
    long = "https://h/" + "x" * 300
    words = f"https://a:1@h/p?box=1, https://b:2@h/p?box=2,https://h/q,{long}1,{long}2"
    names = [one.name for one in anchors_of(words)]
    assert names[:3] == ["https://h/p", "https://h/p (2)", "https://h/q"]
    assert len(set(names)) == 5
    assert max(map(len, names)) <= 200


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["head", "body"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_one_that_trickles_is_cut_off(start: bytes, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, and the last one never."""
    monkeypatch.setattr(anchors, "LONGEST", {"POST": 0.3, "GET": 0.3})
    gone = threading.Event()

    def trickle(line: socket.socket) -> None:
        with line, suppress(OSError):
            line.sendall(start)
            while not gone.wait(0.02):
                line.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        thread = threading.Thread(target=lambda: trickle(server.accept()[0]))
        thread.start()
        anchor = anchor_of(f"http://127.0.0.1:{server.getsockname()[1]}/")
        try:
            with pytest.raises(AnchorFailed, match="it took longer than"):
                anchor.send(NOTE, NOON) if method == "POST" else anchor.read()
        finally:
            gone.set()
            thread.join(PATIENCE)
