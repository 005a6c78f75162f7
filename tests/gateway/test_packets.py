"""The packet layer: what arrives together leaves together, in order; nothing is kept back when the reader waits."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from paramiko.message import Message

from sessions.gateway.packets import Packetizer
from sessions.gateway.wire import Msg, message, string, u32

KEY, IV = b"k" * 16, b"i" * 12
GENEROUS = 30


class CountingSocket:
    """A socket that counts writes."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.writes = 0

    def sendall(self, data: bytes) -> None:
        self.writes += 1
        self.sock.sendall(data)

    def send_some(self, data: bytes, seconds: float) -> int:
        return self.sock.send(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self.sock, name)


def sealed(sock: socket.socket) -> Packetizer:
    found = Packetizer(sock)
    found.set_inbound_cipher(AESGCM(KEY), 16, None, 16, None, aead=True, iv_in=IV)
    found.set_outbound_cipher(AESGCM(KEY), 16, None, 16, None, aead=True, iv_out=IV)
    return found


class Bench:
    """sender -> (reader, writer) -> receiver: a relay between two connections, as two legs are one."""

    def __init__(self) -> None:
        self.sockets = [*socket.socketpair(), *socket.socketpair()]
        for sock in self.sockets:
            sock.settimeout(GENEROUS)
        self.sender, self.reader = sealed(self.sockets[0]), sealed(self.sockets[1])
        self.counting = CountingSocket(self.sockets[2])
        self.writer = sealed(self.counting)  # type: ignore[arg-type]
        self.receiver = sealed(self.sockets[3])
        self.reader.sink = self.relay

    def relay(self, plain: bytearray, size: int) -> bool:
        hold = self.reader.has_more()
        self.writer.relay(plain, size, hold)
        if hold:
            self.reader.owe(self.writer)
        return True

    def send(self, pieces: list[bytes], last: bytes = b"") -> None:
        """All at once, so that they arrive together."""
        payloads = [message(Msg.CHANNEL_DATA, u32(0), string(piece)) for piece in pieces]
        self.sockets[0].sendall(
            b"".join(self.sender._seal(payload) for payload in payloads + [last] * bool(last))
        )

    def read(self) -> None:
        def until_the_end() -> None:
            with pytest.raises(EOFError):
                self.reader.read_message()

        self.thread = threading.Thread(target=until_the_end, daemon=True)
        self.thread.start()

    def next_data(self) -> bytes:
        command, found = self.receiver.read_message()
        assert command == Msg.CHANNEL_DATA
        found.get_int()
        return bytes(found.get_string())


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    for sock in made.sockets:
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()


@pytest.mark.parametrize("size", [1, 100, 4095, 32 * 1024, 60_000])
def test_packets_that_arrived_together_are_relayed_whole_and_in_order_while_the_reader_waits(
    bench: Bench, size: int
) -> None:
    pieces = [os.urandom(size) for _ in range(max(2, 150_000 // (size + 1000)))]
    threading.Thread(target=bench.send, args=(pieces,), daemon=True).start()
    bench.read()
    assert [bench.next_data() for _ in pieces] == pieces  # the sender neither closes nor sends more
    assert bench.thread.is_alive()


def test_small_packets_that_arrived_together_take_one_write(bench: Bench) -> None:
    bench.send([b"%d" % number for number in range(50)])
    bench.read()
    assert [bench.next_data() for _ in range(50)] == [b"%d" % number for number in range(50)]
    assert bench.counting.writes == 1


@pytest.mark.parametrize("send", ["send_payload", "send_now", "hand_over"])
def test_what_is_held_goes_before_any_other_message(bench: Bench, send: str) -> None:
    body = message(Msg.CHANNEL_DATA, u32(0), string(b"held"))
    padding = 16 - (1 + len(body)) % 16 + 16
    held = bytearray(bytes((padding,)) + body + bytes(padding))
    bench.writer.relay(held, len(held), hold=True)
    assert bench.counting.writes == 0
    later = message(Msg.CHANNEL_DATA, u32(0), string(b"later"))
    getattr(bench.writer, send)(later, *([GENEROUS] if send == "hand_over" else []))
    assert [bench.next_data(), bench.next_data()] == [b"held", b"later"]


def test_a_message_for_the_transport_comes_after_the_data_before_it_has_left(bench: Bench) -> None:
    bench.send([b"one", b"two"], last=message(Msg.CHANNEL_EOF, u32(0)))
    command, found = bench.reader.read_message()
    assert command == Msg.CHANNEL_EOF and isinstance(found, Message)
    assert [bench.next_data(), bench.next_data()] == [b"one", b"two"]
