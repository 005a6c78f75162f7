"""The browser's terminal as strangers, other logins and broken pages meet it: over a WebSocket of a real uvicorn, to a
real gateway and a real sshd. What a person sees of it is in tests/journeys/test_terminal.py."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn
from django.conf import settings
from django.db import OperationalError, connections
from django.test import Client, override_settings
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from breakglass import clock
from breakglass.models import Grant, TotpFactor
from breakglass.services import certificates
from breakglass.web import freshness, sockets
from sessions.gateway import certificates as shown
from sessions.models import FileOperation, SSHSession, TerminalTicket
from sessions.services import terminals
from sessions.web import terminal_files, terminal_socket
from tests.gateway import house as building
from tests.gateway.house import House, Human, eventually
from tests.support.ports import free_port

PATIENCE = 30
ADDRESS = "203.0.113.9"


@dataclass
class Server:
    """The web page, in this process."""

    port: int

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"


@dataclass
class Terminal:
    """A browser's end of one terminal."""

    socket: ClientConnection
    shown: str = ""
    total: int = 0
    said: list[dict[str, Any]] = field(default_factory=list)

    def type(self, text: str) -> None:
        self.socket.send(b"\x00" + text.encode())

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def hear(self, timeout: float = PATIENCE, *, takes: bool = True) -> None:
        """One message; what is shown is taken, as the page does."""
        message = self.socket.recv(timeout=timeout)
        if isinstance(message, str):
            self.said.append(json.loads(message))
        elif message[:1] == b"\x00":
            self.shown += message[1:].decode(errors="replace")
            self.total += len(message) - 1
            if takes:
                self.say(t="took", n=len(message) - 1)
        else:
            self.said.append({"t": "bytes", "data": message[1:]})
            self.say(t="file-took", n=len(message) - 1)

    def until_shown(self, words: str) -> None:
        until = time.monotonic() + PATIENCE
        while words not in self.shown:
            assert time.monotonic() < until, f"{words!r} isn't shown: {self.shown[-500:]!r}, {self.said}"
            self.hear()

    def until_said(self, *kinds: str) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while True:
            for at, message in enumerate(self.said):
                if message["t"] in kinds:
                    return self.said.pop(at)
            assert time.monotonic() < until, f"nothing of {kinds} is said: {self.said}"
            self.hear()

    def ready(self) -> dict[str, Any]:
        """Once its shell answers."""
        opened = self.until_said("open")
        self.type("PS1='ready> '; echo up-$((40+2))\n")
        self.until_shown("up-42")
        return opened

    def end(self) -> tuple[dict[str, Any], int]:
        """What it says in the end, and the socket's close code."""
        said = self.until_said("end")
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                self.hear()
        received = closed.value.rcvd
        return said, received.code if received else 0


@pytest.fixture(scope="module")
def server(shared_house: House) -> Iterator[Server]:
    port = free_port()
    config = settings.BREAKGLASS.model_copy(
        update={
            "gateway_port": shared_house.port,
            "gateway_host": "127.0.0.1",
            "public_url": f"http://localhost:{port}",
        }
    )
    with override_settings(BREAKGLASS=config):
        from breakglass.asgi import application

        running = uvicorn.Server(uvicorn.Config(application, port=port, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=running.run, daemon=True)
        thread.start()
        eventually(lambda: running.started, "uvicorn answers")
        yield Server(port)
        running.should_exit = True
        thread.join(PATIENCE)


@pytest.fixture(scope="module")
def grant(shared_house: House) -> Grant:
    return shared_house.grant(channels=["shell", "exec", "sftp"])


def log_in(human: Human, *, fresh: bool = True, verified: bool = True) -> Client:
    """A browser in which that person is logged in; with `fresh` they have just given a code there."""
    client = Client(REMOTE_ADDR=ADDRESS)
    client.force_login(human.person, backend="django.contrib.auth.backends.ModelBackend")
    session = client.session
    if verified:
        session["otp_device_id"] = TotpFactor.objects.get(user=human.person).persistent_id
    if fresh:
        session[freshness.KEPT] = {"factor": "totp:1:42", "at": clock.now().timestamp()}
    session.save()
    return client


def ticket(client: Client, grant: Grant, place: str = "root@hist-01") -> str:
    page = client.post(f"/grants/{grant.pk}/terminal/", {"place": place})
    assert page.status_code == 200, page.content
    return str(page.context["ticket"])


def dial(server: Server, client: Client | None, origin: str | None = None) -> ClientConnection:
    cookies = {} if client is None else {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}
    return connect(
        f"ws://127.0.0.1:{server.port}/terminal/socket/",
        origin=server.origin if origin is None else origin or None,  # type: ignore[arg-type]
        additional_headers=cookies,
        open_timeout=PATIENCE,
        max_size=None,
    )


def open_terminal(server: Server, client: Client, held: str) -> Terminal:
    terminal = Terminal(dial(server, client))
    terminal.say(t="hello", ticket=held, cols=100, rows=30)
    return terminal


def refused(server: Server, client: Client, held: str) -> str:
    """That this ticket opens nothing, in which words."""
    before = SSHSession.objects.count()
    terminal = open_terminal(server, client, held)
    said, code = terminal.end()
    assert said["kind"] == "refused" and code == 4003
    assert SSHSession.objects.count() == before
    return str(said["says"])


def test_it_is_a_session_of_the_gateway_from_the_browsers_own_address(
    server: Server, shared_house: House, grant: Grant
) -> None:
    client = log_in(shared_house.rita)
    terminal = open_terminal(server, client, ticket(client, grant))
    opened = terminal.ready()
    terminal.type("stty size; printf 'h\\303\\251\\360\\237\\224\\245\\n'\n")
    terminal.until_shown("30 100")
    terminal.until_shown("hé🔥")
    terminal.say(t="size", cols=77, rows=22)
    terminal.type("stty size\n")
    terminal.until_shown("22 77")
    session = SSHSession.objects.get(pk=opened["session"])
    assert session.client_address == ADDRESS
    assert session.factor.startswith("browser, totp:1:42, certificate:")
    assert shared_house.audited("gateway:session:opened")[-1]["client"] == ADDRESS
    terminal.socket.close()  # closing the page ends the session
    eventually(lambda: SSHSession.objects.get(pk=session.pk).end_reason == "client_closed")
    assert "22 77" in shared_house.recording(session)


def test_a_ticket_opens_once_also_when_two_come_at_once(
    server: Server, shared_house: House, grant: Grant
) -> None:
    client = log_in(shared_house.rita)
    held = ticket(client, grant)

    def attempt(_: int) -> str:
        try:
            terminal = open_terminal(server, client, held)
            kind = str(terminal.until_said("open", "end")["t"])
            terminal.socket.close()
            return kind
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        kinds = list(pool.map(attempt, range(4)))
    assert sorted(kinds) == ["end", "end", "end", "open"]
    assert "terminal_ticket_wrong" in refused(server, client, held)


def test_a_ticket_is_good_for_its_person_its_web_login_and_half_a_minute(
    server: Server, shared_house: House, grant: Grant
) -> None:
    client = log_in(shared_house.rita)
    held = ticket(client, grant)
    assert "terminal_ticket_wrong" in refused(server, log_in(shared_house.ada), held)
    assert "terminal_ticket_wrong" in refused(server, log_in(shared_house.rita), held)
    TerminalTicket.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    assert "terminal_ticket_wrong" in refused(server, client, held)
    assert "terminal_ticket_wrong" in refused(server, client, "made-up")
    assert shared_house.audited("people:terminal_ticket:refused")[-1]["address"]
    assert held not in str(TerminalTicket.objects.values())


@pytest.mark.parametrize("origin", ["", "null", "http://evil.example", "https://localhost:{}", "http://127.0.0.1:{}", "http://localhost:{}.evil.example"])  # fmt: skip
def test_only_our_own_page_opens_a_socket(server: Server, shared_house: House, origin: str) -> None:
    client = log_in(shared_house.rita)
    with pytest.raises(InvalidStatus) as no:
        dial(server, client, origin.format(server.port))
    assert no.value.response.status_code == 403


def test_only_who_is_logged_in_with_both_factors_opens_a_socket(server: Server, shared_house: House) -> None:
    made_up = Client()
    made_up.cookies["sessionid"] = "made-up"
    for client in (None, log_in(shared_house.rita, verified=False), made_up):
        with pytest.raises(InvalidStatus) as no:
            dial(server, client)
        assert no.value.response.status_code == 403


def test_a_web_login_that_ends_takes_its_terminal_with_it(
    server: Server, shared_house: House, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "RECHECK_SECONDS", 0.2)
    client = log_in(shared_house.rita)
    terminal = open_terminal(server, client, ticket(client, grant))
    opened = terminal.ready()
    client.session.flush()
    said, code = terminal.end()
    assert (said["kind"], code) == ("login-over", 4401)
    eventually(lambda: SSHSession.objects.get(pk=opened["session"]).state == "ended")


def test_a_database_that_is_away_for_a_moment_ends_no_terminal(
    server: Server, shared_house: House, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal_socket, "ENDS_SECONDS", 0.1)
    monkeypatch.setattr(sockets, "RECHECK_SECONDS", 0.1)
    client = log_in(shared_house.rita)
    terminal = open_terminal(server, client, ticket(client, grant))
    terminal.ready()
    asked: list[str] = []

    def away(what: str) -> Any:
        def ask(*_: object) -> None:
            asked.append(what)
            raise OperationalError("the connection was refused")

        return ask

    with monkeypatch.context() as hiccup:
        hiccup.setattr(terminals, "grant_of", away("grant"))
        hiccup.setattr(sockets, "login_of", away("login"))
        eventually(lambda: min(asked.count("grant"), asked.count("login")) >= 3, "both were asked for")
        terminal.type("echo still-$((40+2))\n")
        terminal.until_shown("still-42")
    terminal.said.clear()
    terminal.until_said("ends")
    terminal.socket.close()


def test_who_is_disabled_loses_the_terminal(
    server: Server, shared_house: House, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "RECHECK_SECONDS", 0.2)
    client, rita = log_in(shared_house.rita), shared_house.rita.person
    terminal = open_terminal(server, client, ticket(client, grant))
    opened = terminal.ready()
    type(rita).objects.filter(pk=rita.pk).update(is_active=False)
    try:
        said, _ = terminal.end()
        assert said["kind"] in ("login-over", "ended")
        eventually(lambda: SSHSession.objects.get(pk=opened["session"]).state == "ended")
        with pytest.raises(InvalidStatus):
            dial(server, client)
    finally:
        type(rita).objects.filter(pk=rita.pk).update(is_active=True)


def test_a_kill_says_so_in_the_page(server: Server, shared_house: House, grant: Grant) -> None:
    client = log_in(shared_house.rita)
    terminal = open_terminal(server, client, ticket(client, grant))
    opened = terminal.ready()
    session = SSHSession.objects.get(pk=opened["session"])
    SSHSession.objects.filter(pk=session.pk).update(
        kill_requested_at=clock.now(), kill_requested_by=shared_house.ada.person
    )
    said, code = terminal.end()
    assert (said["kind"], code) == ("ended", 4001)
    assert "[session_ended]" in said["says"]


def test_what_is_shown_waits_for_a_browser_that_takes_nothing(
    server: Server, shared_house: House, grant: Grant
) -> None:
    client = log_in(shared_house.rita)
    terminal = open_terminal(server, client, ticket(client, grant))
    terminal.ready()
    before = terminal.total
    terminal.type("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo done-$((40+3))\n")
    with pytest.raises(TimeoutError):
        while True:
            terminal.hear(3, takes=False)
    ahead = terminal.total - before
    assert 200_000 < ahead < 400_000
    terminal.say(t="took", n=ahead)
    terminal.until_shown("done-43")
    assert terminal.total - before > 3_000_000
    terminal.socket.close()


@pytest.mark.parametrize("message", ["{", '{"t": "sudo"}', '{"t": "took", "n": -1}'])
def test_a_page_that_talks_nonsense_is_cut_off(
    server: Server, shared_house: House, grant: Grant, message: str
) -> None:
    client = log_in(shared_house.rita)
    terminal = open_terminal(server, client, ticket(client, grant))
    opened = terminal.until_said("open")
    terminal.socket.send(message)
    assert terminal.end()[0]["kind"] == "lost"
    eventually(lambda: SSHSession.objects.get(pk=opened["session"]).state == "ended")


def test_a_message_has_a_bound(server: Server, shared_house: House, grant: Grant) -> None:
    client = log_in(shared_house.rita)
    terminal = open_terminal(server, client, ticket(client, grant))
    terminal.until_said("open")
    terminal.socket.send(b"\x00" + b"x" * 70_000)
    assert terminal.end()[0]["kind"] == "lost"


def test_files_go_both_ways_and_are_on_record(
    server: Server, shared_house: House, grant: Grant, tmp_path: Path
) -> None:
    client = log_in(shared_house.rita)
    terminal = open_terminal(server, client, ticket(client, grant))
    opened = terminal.until_said("open")
    sent = bytes(range(256)) * 2000  # half a megabyte: more than may be under way at once
    path = str(tmp_path / "pärt.bin")
    terminal.say(t="put", id=1, path=path, size=len(sent))
    terminal.until_said("put")
    credit, at, done = 256 * 1024, 0, 0
    while done < len(sent):
        while at < len(sent) and credit >= 32 * 1024:
            piece = sent[at : at + 32 * 1024]
            terminal.socket.send(b"\x01" + piece)
            at, credit = at + len(piece), credit - len(piece)
        took = terminal.until_said("sent")["n"]
        done, credit = done + took, credit + took
    assert terminal.until_said("put-done")["bytes"] == len(sent)
    assert Path(path).read_bytes() == sent
    terminal.say(t="put", id=2, path=path, size=3)
    terminal.until_said("exists")  # never replaced without a word
    terminal.say(t="list", id=3, path=str(tmp_path))
    assert [entry["name"] for entry in terminal.until_said("list")["entries"]] == ["pärt.bin"]
    terminal.say(t="get", id=4, path=path)
    assert terminal.until_said("get")["size"] == len(sent)
    got = b""
    while len(got) < len(sent):
        got += terminal.until_said("bytes")["data"]
    assert got == sent
    terminal.until_said("got")
    terminal.say(t="get", id=5, path="/no/such/file")
    assert "No such file" in terminal.until_said("no")["says"]
    terminal.socket.close()
    moved = FileOperation.objects.filter(session_id=opened["session"], path=path, bytes=len(sent))
    eventually(lambda: {row.direction for row in moved.all()} >= {"up", "down"}, "both are on record")


def test_a_size_that_none_is_uses_up_no_ticket(server: Server, shared_house: House, grant: Grant) -> None:
    client = log_in(shared_house.rita)
    held = ticket(client, grant)
    terminal = Terminal(dial(server, client))
    terminal.say(t="hello", ticket=held, cols="wide", rows=30)
    with pytest.raises(ConnectionClosed) as closed:
        terminal.hear()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == sockets.BAD_MESSAGE
    good = open_terminal(server, client, held)
    good.until_said("open")
    good.socket.close()


def test_a_name_that_can_not_be_sent_is_refused_and_the_next_one_answered(
    server: Server, shared_house: House, grant: Grant, tmp_path: Path
) -> None:
    client = log_in(shared_house.rita)
    terminal = open_terminal(server, client, ticket(client, grant))
    terminal.until_said("open")
    for number, verb in enumerate(("list", "get", "put")):
        terminal.say(t=verb, id=number, path="/tmp/\ud800", size=1)
        no = terminal.until_said("no")
        assert no["id"] == number and "can't be sent" in no["says"]
    terminal.say(t="list", id=9, path=str(tmp_path))
    assert terminal.until_said("list")["id"] == 9
    terminal.socket.close()


def test_of_what_was_not_asked_for_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_files.Files, "_run", lambda _: None)  # as one that is busy
    files = terminal_files.Files(cast(Any, None), lambda _: None, lambda _: None)
    files.ask(terminal_files.Wish("put", 7, "/tmp/x", 10))
    for number in range(100):
        assert files.data(b"")
        files.stop(number)
        files.stop(7)
    assert files._stopped == {7}
    assert files._data.qsize() == 1
    for number in range(100, 200):
        files.ask(terminal_files.Wish("list", number, "/"))
    assert len(files._asked) == terminal_files.MOST_WAITING


def test_files_outside_the_grant_are_refused_in_the_gateways_words(
    server: Server, shared_house: House, tmp_path: Path
) -> None:
    ada, shared_house.ada = (
        shared_house.ada,
        building.human(tmp_path, "ben", ["ot-leads"]),
    )  # whose code is unused
    files = {"roots": [str(tmp_path)], "max_bytes": 1000}
    narrow = shared_house.grant(slug="hist-narrow", channels=["shell", "sftp"], files=files)
    shared_house.ada = ada
    client = log_in(shared_house.rita)
    terminal = open_terminal(server, client, ticket(client, narrow))
    terminal.until_said("open")
    terminal.say(t="get", id=1, path="/etc/passwd")
    assert "[file_outside_roots]" in terminal.until_said("no")["says"]
    terminal.say(t="put", id=2, path=str(tmp_path / "big"), size=5000)
    terminal.until_said("put")
    terminal.socket.send(b"\x01" + b"x" * 5000)
    assert "[file_limit]" in terminal.until_said("no")["says"]
    terminal.socket.close()


def test_a_ticket_asks_what_a_login_asks(server: Server, shared_house: House, grant: Grant) -> None:
    """A factor that is fresh, one's own grant, one of its places; nothing by a mere look."""
    rita, path = shared_house.rita, f"/grants/{grant.pk}/terminal/"
    stale = log_in(rita, fresh=False)
    asked = stale.post(path)
    assert asked.status_code == 200 and "ticket" not in asked.context
    assert "ticket" not in stale.post(path, {"place": "root@hist-01", "code": "000000"}).context
    proven = stale.post(path, {"place": "root@hist-01", "code": rita.code()})
    assert proven.context["ticket"]
    assert TerminalTicket.objects.latest("created_at").factor.startswith("totp:")
    assert stale.post(path, {"place": "root@hist-01"}).context["ticket"]  # it counts for ten minutes
    session = stale.session
    session[freshness.KEPT] = {"factor": "totp:1:1", "at": clock.now().timestamp() - 601}
    session.save()
    assert "ticket" not in stale.post(path, {"place": "root@hist-01"}).context
    before = TerminalTicket.objects.count()
    assert "ticket" not in log_in(rita).get(path).context
    assert log_in(rita).post(path, {"place": "daemon@hist-01"}).status_code == 422
    assert log_in(shared_house.ada).post(path, {"place": "root@hist-01"}).status_code in (403, 404)
    assert TerminalTicket.objects.count() == before


def test_a_certificate_says_whose_browser_it_is_whole_or_not_at_all(
    shared_house: House, grant: Grant
) -> None:
    whole = {"client-address@breakglass": b"\0\0\0\t127.0.0.9", "factor@breakglass": b"\0\0\0\4totp"}
    plain = shown.Certificate("ssh-ed25519", b"", 1, 1, (), 0, 0, {}, b"", b"", b"")
    assert shown.browser(plain) is None
    assert shown.browser(_with(plain, whole)) == certificates.Browser("127.0.0.9", "totp")
    for broken in ({**whole, "client-address@breakglass": b"\0\0\0\4evil"}, dict([whole.popitem()])):
        with pytest.raises(ValueError):
            shown.browser(_with(plain, broken))


def _with(certificate: Any, critical: dict[str, bytes]) -> Any:
    return replace(certificate, critical=critical)
