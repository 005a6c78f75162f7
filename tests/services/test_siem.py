"""The audit trail's rows reach a SIEM: at least once, in order, and after an outage where they stopped."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from breakglass.domain.audit import AuditTag, Entry, canonical, link
from breakglass.models import AuditEvent, AuditStream, Notice
from breakglass.services import audit, siem, siem_receivers
from breakglass.services.siem import Stream, line_of
from breakglass.services.siem_receivers import address_of
from tests.support import needs, ports
from tests.support.cast import Cast
from tests.support.clock import NOON
from tests.support.tls import self_signed

pytestmark = pytest.mark.django_db


def rows(count: int) -> None:
    for number in range(count):
        audit.record(
            AuditTag.REQUEST_REFUSED, actor=None, subject="test:row", now=NOON, data={"n": number, "ü": "\n"}
        )


def seqs(lines: list[str]) -> list[int]:
    return [json.loads(line)["seq"] for line in lines]


def everything() -> list[int]:
    return list(AuditEvent.objects.order_by("seq").values_list("seq", flat=True))


def flow(stream: Stream, until: Callable[[], bool], patience: float = 30.0) -> None:
    """The command's loop in small, on a clock that hurries the pauses between tries."""
    started = time.monotonic()
    while not until():
        now = time.monotonic()
        assert now < started + patience, AuditStream.objects.get().problem
        stream.turn(NOON, now + (now - started) * 20)
        time.sleep(0.02)


class Syslog:
    """A real rsyslogd that writes each message's text into a file."""

    def __init__(self, folder: Path, *, tls: bool) -> None:
        self.port = ports.free_port()
        self.out = folder / "received"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        driver = 'StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"' if tls else ""
        files = ""
        if tls:
            certificate, key = self_signed("127.0.0.1")
            self.ca = folder / "ca.pem"
            self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
            (folder / "key.pem").write_bytes(key)
            files = (
                f'global(DefaultNetstreamDriver="gtls" DefaultNetstreamDriverCAFile="{self.ca}" '
                f'DefaultNetstreamDriverCertFile="{self.ca}" DefaultNetstreamDriverKeyFile="{folder / "key.pem"}")'
            )
        self._config = folder / "rsyslog.conf"
        self._config.write_text(
            f"""global(workDirectory="{folder}" maxMessageSize="1m" parser.escapeControlCharactersOnReceive="off")
{files}
module(load="imtcp" {driver})
input(type="imtcp" address="127.0.0.1" port="{self.port}")
template(name="text" type="string" string="%syslogfacility% %syslogseverity% %app-name% %msgid% %msg%\\n")
action(type="omfile" file="{self.out}" template="text" asyncWriting="off" flushOnTXEnd="on")
"""
        )

    def start(self) -> None:
        command = [needs.program("rsyslogd"), "-n", "-f", str(self._config), "-i", str(self._folder / "pid")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # type: ignore[arg-type]
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def texts(self) -> list[str]:
        return self.out.read_text().splitlines() if self.out.exists() else []

    def lines(self) -> list[str]:
        return [text.split(" ", 4)[4] for text in self.texts()]


@contextmanager
def syslog(folder: Path, *, tls: bool = False) -> Iterator[Syslog]:
    server = Syslog(folder, tls=tls)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@needs.requires("rsyslogd")
def test_a_row_reaches_a_real_syslog_server_as_it_was_hashed(tmp_path: Path) -> None:
    rows(3)
    with syslog(tmp_path) as server:
        stream = Stream(address_of(f"syslog+tcp://127.0.0.1:{server.port}"))
        flow(stream, lambda: AuditStream.objects.get().seq == 3 and len(server.texts()) == 3)
        stream.close()
        assert server.texts()[0].startswith("13 4 breakglass requests:request:refused {")
        assert seqs(server.lines()) == [1, 2, 3]
        row = AuditEvent.objects.get(seq=2)
        body, _, rest = server.lines()[1].rpartition(',"hash":"')
        assert link(row.previous_hash, body.encode() + b"}") == rest[:-2] == row.hash


@needs.requires("rsyslogd", "rsyslog-gnutls")
def test_tls_believes_only_who_it_was_told_to(tmp_path: Path) -> None:
    rows(2)
    with syslog(tmp_path, tls=True) as server:
        where = f"syslog+tls://127.0.0.1:{server.port}"
        stranger = Stream(address_of(where))
        assert not stranger.turn(NOON, 0.0)
        assert "certificate" in AuditStream.objects.get().problem.lower()
        assert server.lines() == []
        stream = Stream(address_of(f"{where}#ca={server.ca}"))
        flow(stream, lambda: AuditStream.objects.get().seq == 2 and len(server.lines()) == 2)
        stream.close()
        assert AuditStream.objects.get().problem == ""


@needs.requires("rsyslogd")
def test_what_a_killed_receiver_had_not_taken_comes_again_in_order(tmp_path: Path) -> None:
    rows(5)
    with syslog(tmp_path) as server:
        stream = Stream(address_of(f"syslog+tcp://127.0.0.1:{server.port}"))
        flow(stream, lambda: len(server.lines()) == 5)
        rows(5)
        stream.turn(NOON, time.monotonic() + 1e6)
        server.kill()
        rows(5)
        flow(stream, lambda: bool(AuditStream.objects.get().problem))
        server.start()
        flow(stream, lambda: AuditStream.objects.get().seq == 15)
        stream.close()
        got = seqs(server.lines())
        assert sorted(set(got)) == everything()
        firsts = list(dict.fromkeys(got))
        assert firsts == sorted(firsts)


class Hook(ThreadingHTTPServer):
    def __init__(self) -> None:
        self.status = 200
        self.most = 1000
        self.got: list[str] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status = hook.status if len(text.splitlines()) <= hook.most else 413
                if status == 200:
                    hook.got += text.splitlines()
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_webhook_that_answers_500_gets_the_same_rows_again(hook: Hook) -> None:
    rows(3)
    hook.status = 500
    stream = Stream(address_of(f"http://name:pass@127.0.0.1:{hook.server_port}/in"))
    assert not stream.turn(NOON, 0.0)
    stored = AuditStream.objects.get()
    assert (stored.seq, stored.problem) == (0, "it answered 500 Internal Server Error")
    assert stored.name.startswith(f"http://127.0.0.1:{hook.server_port}/in (")
    assert "pass" not in stored.name
    hook.status = 200
    flow(stream, lambda: AuditStream.objects.get().seq == 3)
    assert seqs(hook.got) == [1, 2, 3]
    assert AuditStream.objects.get().problem == ""


def test_one_that_was_away_for_long_is_told_once_and_so_is_its_return(hook: Hook, cast: Cast) -> None:
    hook.status = 503
    stream = Stream(address_of(f"http://127.0.0.1:{hook.server_port}/"))
    rows(1)
    for minute in range(14):
        stream.turn(NOON + timedelta(minutes=minute), minute * 60.0)
    away = AuditEvent.objects.filter(tag=AuditTag.STREAM_AWAY)
    assert away.count() == 1
    assert Notice.objects.filter(subject__contains="audit stream", person=cast.otto).count() == 1
    hook.status = 200
    stream.turn(NOON + timedelta(minutes=15), 1e6)
    assert AuditEvent.objects.filter(tag=AuditTag.STREAM_BACK).count() == 1
    while stream.turn(NOON + timedelta(minutes=16), 1e6 + 60):
        pass
    assert seqs(hook.got) == everything()


def test_a_file_goes_on_after_a_torn_line_and_after_rotation(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    rows(2)
    stream = Stream(address_of(f"file://{path}"))
    stream.turn(NOON, 0.0)
    with path.open("ab") as out:
        out.write(b'{"seq":3,"to')
    rows(1)
    Stream(address_of(f"file://{path}")).turn(NOON, 0.0)
    lines = path.read_text().splitlines()
    assert seqs([lines[0], lines[1], lines[3]]) == [1, 2, 3]
    path.rename(tmp_path / "audit.jsonl.1")
    rows(1)
    Stream(address_of(f"file://{path}")).turn(NOON, 0.0)
    assert seqs(path.read_text().splitlines()) == [4]


def test_a_crash_between_sending_and_noting_sends_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    rows(2)
    stream = Stream(address_of(f"file://{path}"))
    monkeypatch.setattr(siem_receivers._File, "received", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        stream.turn(NOON, 0.0)
    monkeypatch.undo()
    Stream(address_of(f"file://{path}")).turn(NOON, 0.0)
    assert seqs(path.read_text().splitlines()) == [1, 2, 1, 2]


def test_from_now_leaves_out_what_was_before(tmp_path: Path) -> None:
    rows(3)
    stream = Stream(address_of(f"file://{tmp_path / 'out'}#from=now"))
    rows(1)
    stream.turn(NOON, 0.0)
    assert seqs((tmp_path / "out").read_text().splitlines()) == [4]


def test_more_rows_than_fit_at_once_come_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siem, "AT_ONCE", 3)
    rows(8)
    stream = Stream(address_of(f"file://{tmp_path / 'out'}"))
    while stream.turn(NOON, 0.0):
        pass
    assert seqs((tmp_path / "out").read_text().splitlines()) == everything()


def test_addresses_that_differ_in_what_is_not_shown_are_told_apart() -> None:
    one, two, three = (
        address_of(f"https://{rest}").name for rest in ("siem/in?token=A", "siem/in?token=B", "u:p@siem/in")
    )
    assert len({one, two, three, address_of("https://siem/in").name}) == 4
    assert all("token" not in name and "p@" not in name for name in (one, two, three))
    assert address_of("https://siem/in#from=now").name == address_of("https://siem/in").name


def test_one_that_takes_few_rows_at_a_time_gets_on(hook: Hook) -> None:
    hook.most = 3
    rows(20)
    stream = Stream(address_of(f"http://127.0.0.1:{hook.server_port}/"))
    flow(stream, lambda: AuditStream.objects.get().seq == 20)
    assert seqs(hook.got) == everything()


def test_a_slow_reader_is_waited_for_as_long_as_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pace is the only thing that is wrong with it: what it has read isn't sent again from the start."""
    monkeypatch.setattr(siem_receivers, "PATIENCE", 1.0)
    audit.record(AuditTag.REQUEST_REFUSED, actor=None, subject="x", now=NOON, data={"long": "y" * 3_000_000})
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        got = 0

        def read() -> None:
            nonlocal got
            other, _ = server.accept()
            with other:
                while piece := other.recv(400_000):
                    got += len(piece)
                    time.sleep(0.05)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        stream = Stream(address_of(f"syslog+tcp://127.0.0.1:{server.getsockname()[1]}"))
        assert stream.turn(NOON, 0.0), AuditStream.objects.get().problem
        flow(stream, lambda: AuditStream.objects.get().seq == 1, 60)
        stream.close()
        reader.join(30)
        assert got > 3_000_000


@pytest.mark.parametrize(
    "text",
    ["ftp://host/", "syslog+tcp:///", "file:///", "http://host:99999/", "syslog+tls://h#ciphers=none", "x"],
)
def test_a_wrong_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        address_of(text)


def test_an_idle_receiver_that_hangs_up_is_no_problem(tmp_path: Path) -> None:
    """Many close idle connections; nothing was under way, so nothing is lost and nobody is alarmed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = Stream(address_of(f"syslog+tcp://127.0.0.1:{server.getsockname()[1]}"))
        rows(1)
        stream.turn(NOON, 0.0)
        other, _ = server.accept()
        flow(stream, lambda: AuditStream.objects.get().seq == 1)
        other.recv(65536)
        other.close()
        for _ in range(20):
            stream.turn(NOON, 0.0)
            time.sleep(0.01)
        assert AuditStream.objects.get().problem == ""
        rows(1)
        stream.turn(NOON, 0.0)
        again, _ = server.accept()
        again.settimeout(10)
        assert b'"seq":2' in again.recv(65536)
        again.close()


def test_unicodes_own_line_ends_never_stand_raw_in_a_line() -> None:
    text = "a\x85b\u2028c\u2029d\\u2028"
    body = canonical(Entry(1, NOON, "x", "a", "s", {text: text}))
    line = line_of(body, "ab" * 32)
    assert len(line.decode().splitlines()) == 1
    found = json.loads(line)
    assert found.pop("hash") == "ab" * 32
    assert json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == body
