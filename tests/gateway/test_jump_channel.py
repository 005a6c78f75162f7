"""The channel that an inner connection takes for its socket: bounded both ways, orderly at its end, never stuck."""

from __future__ import annotations

import os
import socket
import threading
from typing import cast

import pytest
from paramiko.ssh_exception import SSHException

from sessions.gateway.jump import WINDOW, JumpChannel
from sessions.gateway.transport import Leg
from sessions.gateway.wire import Msg, Reader

GENEROUS = 30


class OuterLeg:
    """What a jump asks of the outer connection; it keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = threading.Event()
        self.takes = True

    def take_id(self, end: object) -> int:
        return 7

    def drop_id(self, number: int) -> None: ...

    def send(self, payload: bytes) -> None:
        self.sent.append(payload)
        if payload[0] == Msg.CHANNEL_CLOSE:
            self.closed.set()

    def hand_over(self, payload: bytes, patience: float) -> bool:
        if self.takes:
            self.send(payload)
        return self.takes

    def relay(self, plain: bytearray, size: int, hold: bool) -> None:
        assert size % 16 == 0 and plain[0] >= 4
        self.sent.append(bytes(plain[1 : size - plain[0]]))

    def data(self) -> bytes:
        return b"".join(piece[9:] for piece in self.sent if piece[0] == Msg.CHANNEL_DATA)

    def kinds(self) -> list[int]:
        return [payload[0] for payload in self.sent]


@pytest.fixture
def outer() -> OuterLeg:
    return OuterLeg()


@pytest.fixture
def channel(outer: OuterLeg) -> JumpChannel:
    made = JumpChannel(cast(Leg, outer))
    made.open(3, 100_000, 32 * 1024)
    outer.sent.clear()
    return made


def arrive(channel: JumpChannel, data: bytes) -> None:
    channel.on_data(bytearray(10) + data, len(data), 0, None)


def test_what_arrives_is_read_in_order_and_what_was_read_may_be_sent_again(
    outer: OuterLeg, channel: JumpChannel
) -> None:
    data = os.urandom(WINDOW)
    for start in range(0, WINDOW, 32 * 1024):
        arrive(channel, data[start : start + 32 * 1024])
    with pytest.raises(SSHException):
        arrive(channel, b"x")  # not read yet: the person may not send more
    got, buffer = b"", bytearray(50_000)
    while len(got) < WINDOW:
        got += bytes(buffer[: channel.recv_into(memoryview(buffer))])
    assert got == data
    given = sum(Reader(payload[5:]).u32() for payload in outer.sent if payload[0] == Msg.WINDOW_ADJUST)
    assert WINDOW // 2 <= given <= WINDOW


def test_a_reader_that_waits_gets_what_comes_and_the_end(channel: JumpChannel) -> None:
    got: list[bytes] = []

    def read() -> None:
        buffer = bytearray(100)
        while count := channel.recv_into(memoryview(buffer)):
            got.append(bytes(buffer[:count]))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    arrive(channel, b"one")
    channel.on_eof()
    reader.join(GENEROUS)
    assert not reader.is_alive() and b"".join(got) == b"one"


def test_a_read_with_a_limit_ends(channel: JumpChannel) -> None:
    channel.settimeout(0.01)
    with pytest.raises(TimeoutError):
        channel.recv_into(memoryview(bytearray(10)))


def test_a_writer_waits_for_the_persons_window_and_no_packet_is_larger_than_they_take(
    outer: OuterLeg, channel: JumpChannel
) -> None:
    data = os.urandom(250_000)
    writer = threading.Thread(target=channel.sendall, args=(data,), daemon=True)
    writer.start()
    writer.join(0.2)
    assert writer.is_alive() and len(outer.data()) <= 100_000
    channel.on_adjust(500_000)
    writer.join(GENEROUS)
    assert not writer.is_alive() and outer.data() == data
    assert max(len(payload) for payload in outer.sent) <= 32 * 1024 + 9


@pytest.mark.parametrize("end", ["on_close", "hang_up", "close"])
def test_a_writer_that_waits_is_freed_by_every_end(channel: JumpChannel, end: str) -> None:
    failed: list[OSError] = []

    def write() -> None:
        try:
            channel.sendall(bytes(200_000))
        except OSError as error:
            failed.append(error)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    getattr(channel, end)()
    writer.join(GENEROUS)
    assert not writer.is_alive() and failed


def test_last_words_never_wait_and_are_not_lost_when_refused(outer: OuterLeg, channel: JumpChannel) -> None:
    outer.takes = False
    assert channel.send_some(b"bye", 0.01) == 0
    outer.takes = True
    assert channel.send_some(b"bye", 0.01) == 3 and outer.data() == b"bye"
    channel.sendall(bytes(100_000 - 3))
    assert channel.send_some(b"more", 0.01) == 0  # the window is used up


def test_the_end_is_eof_first_and_the_close_comes_with_the_clients_or_a_moment_later(
    outer: OuterLeg, channel: JumpChannel
) -> None:
    channel.shutdown(socket.SHUT_WR)
    assert outer.kinds() == [Msg.CHANNEL_EOF]
    assert channel.recv_into(memoryview(bytearray(1))) == 0  # after a moment, whatever the client does
    assert outer.closed.wait(GENEROUS)
    channel.close()
    channel.on_close()
    assert outer.kinds() == [Msg.CHANNEL_EOF, Msg.CHANNEL_CLOSE]
