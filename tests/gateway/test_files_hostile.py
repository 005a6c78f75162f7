"""Clients and assets that don't keep to sftp: what can't be followed isn't passed on, and the session lives on."""

from __future__ import annotations

import contextlib
import struct
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest

from breakglass.domain.policy import ChannelKind
from sessions.gateway.files.answers import Answers
from sessions.gateway.files.ledger import Ledger as RealLedger
from sessions.gateway.files.open_files import OpenFile
from sessions.gateway.files.requests import Requests
from sessions.gateway.files.sftp_paths import Gatekeeper, path_request
from sessions.gateway.files.sftp_state import MOST_OPEN, For, SftpState
from sessions.gateway.files.sftp_wire import Fields, Malformed, Status, Type, number, packet, text
from sessions.gateway.flow import Traffic
from sessions.gateway.keeping import Keeping
from sessions.gateway.relay import SplicedChannel
from tests.gateway.house import House
from tests.gateway.moving import SFTP, paramikos, rows, status

HELLO = packet(Type.INIT, number(3))


@contextlib.contextmanager
def raw(house: House) -> Iterator[paramiko.Channel]:
    """A channel with the subsystem, and nothing said yet."""
    with paramikos(house) as transport:
        yield subsystem(transport)


def subsystem(transport: paramiko.Transport) -> paramiko.Channel:
    channel = transport.open_session()
    channel.settimeout(30)
    channel.invoke_subsystem("sftp")
    return channel


def answer(channel: paramiko.Channel) -> bytes:
    """The next packet without its length."""
    size = struct.unpack(">I", _exactly(channel, 4))[0]
    return _exactly(channel, size)


def _exactly(channel: paramiko.Channel, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = channel.recv(count - len(data))
        assert piece, "closed too early"
        data += piece
    return data


BROKEN = {
    "no greeting": packet(Type.STAT, number(1), text(b"/")),
    "an old version": packet(Type.INIT, number(2)),
    "two greetings": HELLO + HELLO,
    "too long": HELLO + struct.pack(">IB", 1 << 20, Type.OPEN),
    "a length of zero": HELLO + bytes(4) + b"\x01",
    "contents that don't fit": HELLO
    + packet(Type.WRITE, number(1), text(b"h"), bytes(8), number(99), b"short"),
    "a field over the end": HELLO + packet(Type.MKDIR, number(1), number(500), b"x"),
    "a NUL byte": HELLO + packet(Type.MKDIR, number(1), text(b"/tmp/a\0b"), number(0)),
}


def test_what_isnt_sftp_ends_the_channel_with_the_reason(house: House) -> None:
    house.grant(channels=SFTP)
    with paramikos(house) as transport:
        for name, whole in BROKEN.items():
            channel = subsystem(transport)
            stream = whole
            if whole.startswith(HELLO) and whole != HELLO + HELLO:
                channel.sendall(HELLO)
                assert answer(channel)[0] == Type.VERSION
                stream = whole.removeprefix(HELLO)
            channel.sendall(stream)
            assert b"[file_protocol]" in channel.makefile_stderr().read(), name
            assert status(channel) == 77
            channel.close()
        other = transport.open_session()
        other.exec_command("echo on")
        assert other.makefile().read() == b"on\n"
    ended = house.ended(20)
    found = [channel.refusal for channel in ended.channels.order_by("number")]
    assert found == ["file_protocol"] * len(BROKEN) + [""]
    assert rows(house, session=ended) == []


def test_unknown_requests_are_refused_one_by_one_and_never_passed_on(house: House) -> None:
    house.grant(channels=SFTP)
    strange = (
        packet(Type.EXTENDED, number(7), text(b"exec@evil.example"), text(b"id")),
        struct.pack(">IBI", 5, 42, 7),
        packet(Type.STATUS, number(7), number(0)),
        packet(Type.VERSION, number(7)),
    )
    with raw(house) as channel:
        channel.sendall(HELLO)
        answer(channel)
        for request in strange:
            channel.sendall(request)
            reply = Fields(answer(channel), 1)
            assert (reply.u32(), reply.u32()) == (7, Status.OP_UNSUPPORTED)
            assert b"[not_offered]" in reply.string()
        channel.sendall(packet(Type.CLOSE, number(8), text(b"never opened")))
        reply = Fields(answer(channel), 1)
        assert (reply.u32(), reply.u32()) == (8, Status.FAILURE)
        # A byte at a time is as good as all at once.
        for byte in packet(Type.STAT, number(9), text(b"/")):
            channel.sendall(bytes([byte]))
        assert answer(channel)[0] == Type.ATTRS
    audited = [data for data in house.audited("gateway:channel:refused") if data["refusal"] == "not_offered"]
    assert len(audited) == len(strange)


def test_a_flood_of_refusals_ends_the_channel_and_fills_nothing(house: House) -> None:
    house.grant(channels=SFTP)
    with raw(house) as channel:
        channel.sendall(HELLO)
        answer(channel)
        reader = threading.Thread(target=_drain, args=(channel,))
        reader.start()
        with contextlib.suppress(OSError):
            for request in range(3000):
                channel.sendall(struct.pack(">IBI", 5, 42, request))
        assert status(channel) == 77
        reader.join(30)
        assert not reader.is_alive()
    ended = house.ended(20)
    assert ended.channels.get().refusal == "file_protocol"
    assert len(house.audited("gateway:channel:refused")) <= 202


def _drain(channel: paramiko.Channel) -> None:
    with contextlib.suppress(OSError):
        while channel.recv(65536):
            pass


def test_what_an_asset_says_on_the_stderr_of_sftp_is_in_the_recording() -> None:
    """No stock server's subsystem can be made to speak there on every system, so the channel alone is asked."""
    recorded: list[bytes] = []
    session: Any = SimpleNamespace(record=lambda number, data, *, stderr: recorded.append(data), mark=print)
    for kind, seen in ((ChannelKind.SFTP, [b"words"]), (ChannelKind.FORWARD, [])):
        channel: Any = SimpleNamespace(
            kind=kind, recorded=False, pty=False, number=1, session=session, show_gap=lambda: None,
            _keeping=Keeping(1000), traffic_err=Traffic(), traffic_out=Traffic(),
        )  # fmt: skip
        SplicedChannel.record(channel, b"contents", stderr=False)
        SplicedChannel.record(channel, b"words", stderr=True)
        assert recorded == seen and channel.traffic_err.count == 5
        recorded.clear()


# The judges alone, with a hostile asset. -----------------------------------------------------------------


class Ledger:
    """Stands in where nothing is begun."""

    class rules:
        roots: tuple[str, ...] = ()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> tuple[Answers, SftpState]:
    monkeypatch.setattr("sessions.gateway.files.sftp_state.Ledger", lambda channel: Ledger())
    state = SftpState(None)  # type: ignore[arg-type]
    return Answers(state, Requests(state)), state


HOSTILE = {
    "an answer to nothing": packet(Type.STATUS, number(5), number(0)),
    "an unknown type": packet(Type.OPEN, number(1)),
    "contents for a listing": packet(Type.DATA, number(1), number(3)),
    "a handle for a listing": packet(Type.HANDLE, number(1), text(b"h")),
    "more than was asked for": packet(Type.DATA, number(2), number(101)),
    "cut short": packet(Type.STATUS, b"\0\0"),
    "a request's number alone": packet(Type.HANDLE, number(3)),
    "a handle that is too long": packet(Type.HANDLE, number(3), text(b"h" * 300)),
    "another version": packet(Type.VERSION, number(6)),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_answer_that_fits_no_request_is_refused(answers: tuple[Answers, SftpState], data: bytes) -> None:
    judge, state = answers
    state.expect(1, For.LOOKUP)
    state.expect(2, For.READ, None, 0, 100)
    state.expect(3, For.OPEN, None)
    with pytest.raises(Malformed):
        judge.on_packet(data)


def test_contents_after_their_files_end_are_refused(answers: tuple[Answers, SftpState]) -> None:
    judge, state = answers

    class Over:
        over = True

    state.expect(2, For.READ, Over(), 0, 100)
    with pytest.raises(Malformed, match="closed"):
        judge.on_packet(packet(Type.DATA, number(2), number(100)))


def test_a_transfer_is_over_when_its_file_is_closed_and_not_when_it_is_cut_off() -> None:
    for end, over in (
        (lambda ledger, file: file.finish(), True),
        (lambda ledger, file: ledger.wind_up(), False),
    ):
        session = SimpleNamespace(
            mark=lambda text: None, note=lambda text: None, file_done=lambda facts: None, reason=None
        )
        channel: Any = SimpleNamespace(number=1, session=session)
        ledger = RealLedger(channel)
        file = OpenFile(ledger, channel, "/a", 1)
        end(ledger, file)
        assert file.down().over is over


def test_open_files_are_bounded(answers: tuple[Answers, SftpState]) -> None:
    _, state = answers
    assert all(state.may_open(n) for n in range(MOST_OPEN))
    assert not state.may_open(MOST_OPEN)
    state.opened(5)  # refused by the asset, or outside the roots
    assert state.may_open(MOST_OPEN) and not state.may_open(MOST_OPEN + 1)
    for n in range(MOST_OPEN + 1):
        state.opened(n)
        state.handles[str(n).encode()] = None  # type: ignore[assignment]
    assert not state.may_open(1)
    for n in range(2):
        del state.handles[str(n).encode()]
    assert state.may_open(1)


def test_more_open_files_than_the_bound_are_refused_and_the_channel_lives_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.gateway.files.sftp_state.MOST_OPEN", 5)
    house.grant(channels=SFTP)
    (house.dir / "f").write_text("inside")
    with raw(house) as channel:
        channel.sendall(HELLO)
        answer(channel)
        opening = text(str(house.dir / "f").encode()) + number(1) + number(0)
        for request in range(7):  # not waiting for an answer in between
            channel.sendall(packet(Type.OPEN, number(request), opening))
        replies = [answer(channel) for _ in range(7)]
        assert [reply[0] for reply in replies] == [Type.HANDLE] * 5 + [Type.STATUS] * 2
        assert b"[not_offered]" in replies[-1]
        channel.sendall(packet(Type.CLOSE, number(8), replies[0][5:]))
        answer(channel)
        channel.sendall(packet(Type.OPEN, number(9), opening))
        assert answer(channel)[0] == Type.HANDLE


def test_a_name_that_was_asked_for_must_be_one(answers: tuple[Answers, SftpState]) -> None:
    judge, state = answers
    told: list[Any] = []
    for body in (number(2) + text(b"a"), number(1) + number(99) + b"a", b"", b"x" * 70_000):
        state.pending[9] = (For.OURSELVES, lambda path, code: told.append(path), 0, 0)
        assert judge.on_packet(packet(Type.NAME, number(9), body)[:9]) is False
        with pytest.raises(Malformed):
            judge.on_contents(memoryview(body))
            judge.on_contents_end()
    assert told == []


def test_requests_under_roots_keep_their_order_and_are_bounded() -> None:
    asked: list[tuple[bytes, Any]] = []
    passed: list[tuple[int, tuple[bytes, ...]]] = []
    refused: list[bytes] = []
    gate = Gatekeeper(
        lambda path, reply: asked.append((path, reply)),
        lambda request, paths: passed.append((request.id, paths)),
        lambda request, path: refused.append(path),
        lambda request, code: refused.append(str(code).encode()),
    )
    gate.roots = frozenset({"/srv"})
    requests = [
        path_request(n, Type.MKDIR, b"", Fields(text(path) + number(0), 0))
        for n, path in enumerate((b"/alias/a", b"/link/b", b"/srv/../c", b"/none/d", b"/srv"))
    ]
    for request in requests:
        assert request is not None
        gate.add(request)
    assert [path for path, _ in asked] == [b"/alias"]  # one at a time
    for resolved, code in ((b"/srv", 0), (b"/etc", 0), (b"/", 0), (b"", 2), (b"/", 0)):
        asked[-1][1](resolved, code)
    assert passed == [(0, (b"/srv/a",))]  # the path that was judged, not the one that was named
    assert refused == [b"/etc/b", b"/c", b"2", b"/srv"]
    with pytest.raises(Malformed, match="too many"):
        for _ in range(2000):
            gate.add(requests[0])  # type: ignore[arg-type]
