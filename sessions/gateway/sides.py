"""The two sides of a spliced channel: each side's handler runs in its own leg's reader thread, records, and writes straight
to the other leg.

No pump, no buffer. A side may send only as much as the other side's window takes, because its window credit is the
other's, passed on; that is the back-pressure.
"""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from paramiko.ssh_exception import SSHException

from breakglass import clock
from sessions.gateway.flow import Credit
from sessions.gateway.freezing import Held, Stale
from sessions.gateway.transport import Leg
from sessions.gateway.wire import Msg, boolean, message, string, u32

if TYPE_CHECKING:
    from sessions.gateway.relay import SplicedChannel

MOST_PER_PACKET = 64 * 1024
LARGEST_WINDOW = 0xFFFFFFFF
MOST_GATHERED = 32 * 1024
HEAD = 10
STDERR = 1


class Side:
    """One end of a spliced channel: what its leg says of it, and what is sent to it."""

    other: Side

    def __init__(self, channel: SplicedChannel, leg: Leg) -> None:
        self.channel = channel
        self.leg = leg
        self.local_id = leg.take_id(self)
        self.remote_id = 0
        self.remote = b""
        self.opened = False
        self.window = 0
        self.max_packet = MOST_PER_PACKET
        self.credit = Credit()
        self.got_eof = False
        self.got_close = False
        self.sent_close = False
        self._settled = False
        self._sent_eof = False
        self._eof_wanted = False
        self._close_wanted = False
        self._queue: deque[tuple[int | None, bytes]] = deque()
        self._debt = 0
        self._lock = threading.Lock()

    # What the leg says. ----------------------------------------------------------------------------------

    def on_data(self, plain: bytearray, count: int, size: int, extended: int | None) -> None:
        raise NotImplementedError

    def on_request(self, name: str, want_reply: bool, body: bytes) -> None:
        raise NotImplementedError

    def on_opened(self, remote_id: int, window: int, max_packet: int) -> None:
        raise SSHException("a channel was confirmed that wasn't asked for")

    def on_open_failed(self, code: int, text: str) -> None:
        raise SSHException("a channel was refused that wasn't asked for")

    def on_reply(self, success: bool) -> None:
        raise SSHException("a reply to a request that wasn't made")

    def on_adjust(self, count: int) -> None:
        with self._lock:
            self.window += count
            if self.window > LARGEST_WINDOW:
                raise SSHException("a window beyond its bound")
            self._drain()
            paid = min(self._debt, count)
            self._debt -= paid
        if count > paid:
            self.other.announce(self.other.credit.grant(count - paid))

    def on_eof(self) -> None:
        self.got_eof = True
        self.other.finish(close=False)

    def on_close(self) -> None:
        with self._lock:
            self.got_close = True
            self._queue.clear()
        if not self.waits_for_last_words:
            self.finish(close=True)
        self.other.finish(close=True)
        self.other.settle()
        self.settle()

    # What is sent to it. ---------------------------------------------------------------------------------

    def bind(self, remote_id: int, window: int, max_packet: int) -> None:
        self.remote_id, self.remote = remote_id, u32(remote_id)
        self.window = window
        self.max_packet = min(max_packet, MOST_PER_PACKET)
        if self.max_packet < 1:
            raise SSHException("a channel that takes no packets")
        self.opened = True

    def announce(self, count: int) -> None:
        """Let this side send `count` more."""
        if count and self.opened and not self.sent_close:
            self.leg.send(message(Msg.WINDOW_ADJUST, self.remote, u32(count)))

    def relay(
        self, plain: bytearray, count: int, size: int, extended: int | None, *, hold: bool = False
    ) -> None:
        """Send on what the other leg decrypted; in place where the window and nothing queued allow it.

        With `hold`, that leg's reader has more to read at once: what follows may go out in one write with this.
        """
        with self._lock:
            if self._sent_eof or self.sent_close or self.got_close:
                return
            if self._queue or count > self.window or count > self.max_packet:
                start = 10 if extended is None else 14
                self._queue.append((extended, bytes(plain[start : start + count])))
                self._drain()
                return
            self.window -= count
            plain[2:6] = self.remote
            self.leg.relay(plain, size, hold)
        if hold:
            self.other.leg.packetizer.owe(self.leg)

    def write(self, data: bytes, extended: int | None = None) -> None:
        """Send text of the gateway's own. It is taken off the window that the other side would have filled."""
        with self._lock:
            if not self.opened or self._sent_eof or self.sent_close:
                return
            self._debt += len(data)
            self._queue.append((extended, data))
            self._drain()

    def pass_on(self, data: bytes) -> None:
        """Send bytes of the other side that were held back for a while. Its window was charged when they came."""
        with self._lock:
            if not self.opened or self._sent_eof or self.sent_close:
                return
            self._queue.append((None, data))
            self._drain()

    def write_now(self, data: bytes, extended: int | None = None) -> bool:
        """As `write`, at the very end: never waits, and gives up where it would have to."""
        if not self.opened or self._queue or self._sent_eof or self.sent_close or len(data) > self.window:
            return True
        return self.leg.send_now(self._packet(extended, data))

    def finish(self, *, close: bool) -> None:
        """Send EOF, or EOF and CLOSE, as soon as what is queued has gone."""
        with self._lock:
            self._eof_wanted = True
            self._close_wanted = self._close_wanted or close
            self._drain()

    def request(self, name: str, want_reply: bool, body: bytes) -> None:
        if self.opened and not self.sent_close:
            self.leg.send(message(Msg.CHANNEL_REQUEST, self.remote, string(name), boolean(want_reply), body))

    def reply(self, success: bool) -> None:
        if self.opened and not self.sent_close:
            self.leg.send(message(Msg.CHANNEL_SUCCESS if success else Msg.CHANNEL_FAILURE, self.remote))

    def settle(self) -> None:
        """Give the channel's number back once both have closed: once, for later it may be another's."""
        with self._lock:
            if self._settled or not self.gone:
                return
            self._settled = True
        self.leg.drop_id(self.local_id)
        self.channel.side_gone()

    @property
    def has_more(self) -> bool:
        """Whether what follows may go out in one write with what is passed on now: the reader has it at hand."""
        return self.leg.packetizer.has_more()

    @property
    def waits_for_last_words(self) -> bool:
        """Whether this side's close is answered when the other side closes, and not before."""
        return False

    @property
    def gone(self) -> bool:
        return self.got_close and self.sent_close

    def _drain(self) -> None:
        """Send what is queued and fits. The lock is held."""
        if not self.opened:
            return
        while self._queue and self.window and not self.sent_close:
            extended, data = self._queue.popleft()
            fits = min(len(data), self.window, self.max_packet)
            if fits < len(data):
                self._queue.appendleft((extended, data[fits:]))
            self.window -= fits
            self.leg.send(self._packet(extended, data[:fits]))
            self.leg.packetizer.relayed_at = clock.monotonic()
        if self._queue:
            return
        if self._eof_wanted and not self._sent_eof and not self.sent_close:
            self._sent_eof = True
            self.leg.send(message(Msg.CHANNEL_EOF, self.remote))
        if self._close_wanted and not self.sent_close:
            self.sent_close = True
            self.leg.send(message(Msg.CHANNEL_CLOSE, self.remote))

    def _packet(self, extended: int | None, data: bytes) -> bytes:
        if extended is None:
            return message(Msg.CHANNEL_DATA, self.remote, string(data))
        return message(Msg.EXTENDED_DATA, self.remote, u32(extended), string(data))


class PersonSide(Side):
    """Data from the person to the asset. Input isn't recorded; without a pty it is counted and hashed.

    While the session is frozen all of it is held, but for the window credit: output goes on.
    """

    def __init__(self, channel: SplicedChannel, leg: Leg) -> None:
        super().__init__(channel, leg)
        self._held: Held | None = None
        # Its own: the other one is held while a client that doesn't read is written to.
        self._holding = threading.Lock()

    def on_data(self, plain: bytearray, count: int, size: int, extended: int | None) -> None:
        more = self.credit.spend(count)
        self.channel.session.go_on(typed=True)
        if extended is not None:
            return
        held = self._held
        if held is None or not held.keep_data(memoryview(plain)[HEAD : HEAD + count]):
            self._pass_on(plain, count, size)
        self.announce(more)

    def _pass_on(self, plain: bytearray, count: int, size: int) -> None:
        channel = self.channel
        if channel.decoder is not None:
            channel.decoder.from_person(plain, count, size)
            return
        if channel.pty:
            channel.traffic_in.count += count
        else:
            channel.traffic_in.add(memoryview(plain)[HEAD : HEAD + count])
        self.other.relay(plain, count, size, None, hold=self.has_more)

    @property
    def has_more(self) -> bool:
        # What was held is passed on by another thread, which must not look into the reader's buffer.
        return self._held is None and super().has_more

    @property
    def waits_for_last_words(self) -> bool:
        """PuTTY, and scp over a shared connection, close while the asset's exit status is still on its way."""
        return self.other.opened and not self.other.got_close

    def on_request(self, name: str, want_reply: bool, body: bytes) -> None:
        self.channel.session.go_on(typed=False)  # nothing begins after the deadline, be the watchdog late
        held = self._held
        act = partial(self.channel.on_person_request, name, want_reply, body)
        if held is None or not held.keep("" if want_reply else name, act):
            act()

    def on_eof(self) -> None:
        held = self._held
        if held is None or not held.keep("", super().on_eof):
            super().on_eof()

    def on_close(self) -> None:
        held = self._held
        if held is not None and not self.sent_close and held.keep("", super().on_close):
            with (
                self._lock
            ):  # nothing is sent any more to who has closed; the asset hears of it when its turn comes
                self.got_close = True
                self._queue.clear()
            return
        super().on_close()

    # Frozen. ---------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """From now on what comes is held. Never waits for a client that doesn't read."""
        with self._holding:
            self.credit.pause()
            if self._held is None or self._held.is_over:
                self._held = Held()
            self._held.flow(False)

    def let_flow(self, keys_last: float | None) -> None:
        """What is held may go; of keys in a terminal those that have not waited longer than `keys_last` seconds."""
        if self._held is not None:
            if keys_last is not None:
                self._held.age(keys_last)
            self._held.flow(True)

    def pass_on_held(self) -> int:
        """Send what was held, in order, each piece as it would have gone when it came: not after the session's end.
        Returns how many bytes of stale keys were thrown away instead."""
        held, thrown_away = self._held, 0
        if held is None:
            return 0
        while (item := held.take()) is not None:
            self.channel.session.go_on(typed=False)
            if isinstance(item, Stale) and self.channel.pty:
                thrown_away += len(item)
                self.announce(self.credit.grant(len(item)))  # the asset never takes it
            elif isinstance(item, bytes | Stale):
                packet = data_packet(item)
                self._pass_on(packet, len(item), len(packet))
            else:
                item()
        with self._holding:
            if not held.is_over or self._held is not held:
                return thrown_away  # frozen again
            self._held, more = None, self.credit.resume()
        self.announce(more)
        return thrown_away


class AssetSide(Side):
    """Data from the asset to the person: recorded, then relayed."""

    def __init__(self, channel: SplicedChannel, leg: Leg) -> None:
        super().__init__(channel, leg)
        self._gathered = bytearray(HEAD)

    def on_opened(self, remote_id: int, window: int, max_packet: int) -> None:
        if self.opened:
            raise SSHException("a channel was confirmed twice")
        self.bind(remote_id, window, max_packet)
        self.channel.on_both_open()

    def on_open_failed(self, code: int, text: str) -> None:
        self.channel.on_asset_refused(code, text)

    def on_data(self, plain: bytearray, count: int, size: int, extended: int | None) -> None:
        channel = self.channel
        more = self.credit.spend(count)
        channel.session.go_on(typed=not channel.pty)
        if self.other.sent_close or extended not in (None, STDERR):
            return
        channel.session.wait_for_disk()  # here for every kind: files, forwards and what goes unrecorded too
        if channel.decoder is not None and extended is None:
            channel.decoder.from_asset(plain, count, size)
            self.announce(more)
            return
        hold = self.leg.packetizer.has_more()
        if channel.pty and extended is None and (hold or len(self._gathered) > HEAD):
            self._gather(plain, count, hold)
        else:
            self.flush()
            start = 10 if extended is None else 14
            channel.record(bytes(memoryview(plain)[start : start + count]), stderr=extended is not None)
            self.other.relay(plain, count, size, extended, hold=hold)
        self.announce(more)

    def _gather(self, plain: bytearray, count: int, more: bool) -> None:
        """A terminal's text that has arrived in several packets is recorded as one event and sent on as one packet."""
        if len(self._gathered) + count - HEAD > min(self.other.max_packet, MOST_GATHERED):
            self.flush()
        self._gathered += memoryview(plain)[HEAD : HEAD + count]
        if more:
            self.leg.packetizer.owe(self)
        else:
            self.flush()

    def flush(self) -> None:
        """Record what was gathered, then relay it."""
        count = len(self._gathered) - HEAD
        if not count:
            return
        packet, self._gathered = self._gathered, bytearray(HEAD)
        self.channel.session.go_on(typed=False)
        self.channel.record(bytes(memoryview(packet)[HEAD:]), stderr=False)
        _complete(packet)
        self.other.relay(packet, count, len(packet), None, hold=self.leg.packetizer.has_more())

    def on_eof(self) -> None:
        self.channel.show_gap()
        super().on_eof()

    def on_close(self) -> None:
        self.channel.show_gap()
        super().on_close()

    def on_request(self, name: str, want_reply: bool, body: bytes) -> None:
        self.channel.on_asset_request(name, want_reply, body)

    def on_reply(self, success: bool) -> None:
        self.channel.on_asset_reply(success)


def data_packet(data: bytes | bytearray) -> bytearray:
    """A packet of channel data as a leg decrypts it, for `Side.relay`."""
    packet = bytearray(HEAD) + data
    _complete(packet)
    return packet


def _complete(packet: bytearray) -> None:
    """Write a data packet's head before what is in it, and pad it."""
    count = len(packet) - HEAD
    packet[0] = 4 + (12 - len(packet)) % 16
    packet[1] = Msg.CHANNEL_DATA
    packet[6:HEAD] = u32(count)
    packet += bytes(packet[0])
