"""The lobby: where connections wait for their turn, without a thread, until they have said something sensible.

A connection costs a socket here and at most a few kilobytes. It gets the gateway's version line when it is its
source's turn (`Turns`); those who have spoken first come before the silent, and the penalized after everybody. Where
more wait than there are turns, who has waited longest and who came last go in turn: a crowd that only waits doesn't
hold up a newcomer, and a crowd that comes again and again doesn't starve who waits. Only who has sent a version line,
and a first packet of a sensible length or some time to send it, is served by a thread.
"""

from __future__ import annotations

import contextlib
import logging
import random
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from breakglass import clock
from sessions.gateway.limits import Fault, Limits, Penalties, Turns, source

MOST_LINE = 512
MOST_HEARD = 8 * 1024
LARGEST_FIRST_PACKET = 35_000
PATIENCE = 0.25
TICK = 0.02
FEW = 50
AT_ONCE = 512

log = logging.getLogger("breakglass.gateway")


@dataclass(eq=False)
class Guest:
    """One waiting connection, and what it has said so far."""

    sock: socket.socket
    address: str
    source: str
    arrived: float
    greeted: bool = False
    spoke_at: float | None = None
    heard: bytearray = field(default_factory=bytearray)

    def hear(self, now: float) -> Fault | None:
        """Take in what has arrived. A fault ends the visit."""
        room = (MOST_HEARD if self.greeted else MOST_LINE) - len(self.heard)
        if room <= 0:
            return None
        try:
            said = self.sock.recv(room)
        except BlockingIOError:
            return None
        except OSError:
            said = b""
        if not said:
            return Fault.LEFT
        self.heard += said
        return self._judge(now)

    def _judge(self, now: float) -> Fault | None:
        if not self.heard.startswith(b"SSH-"[: len(self.heard)]):
            return Fault.BAD_PROTOCOL
        end = self.heard.find(b"\n", 0, MOST_LINE)
        if end < 0:
            return Fault.BAD_PROTOCOL if len(self.heard) >= MOST_LINE else None
        if self.spoke_at is None:
            self.spoke_at = now
        size = self._first_size()
        return Fault.BAD_PROTOCOL if size is not None and not 12 <= size <= LARGEST_FIRST_PACKET else None

    def _first_size(self) -> int | None:
        """The length that the first packet claims, once it is here."""
        start = self.heard.find(b"\n") + 1
        if len(self.heard) < start + 4:
            return None
        return int(struct.unpack_from(">I", self.heard, start)[0])

    def is_ready(self, now: float) -> bool:
        """Whether a thread is worth its while: the first packet is here, or had the time to come."""
        if not self.greeted or self.spoke_at is None:
            return False
        size = self._first_size()
        whole = size is not None and len(self.heard) - (self.heard.find(b"\n") + 5) >= size
        return whole or len(self.heard) >= MOST_HEARD or now - self.spoke_at >= PATIENCE

    @property
    def is_full(self) -> bool:
        return len(self.heard) >= (MOST_HEARD if self.greeted else MOST_LINE)


class Lobby:
    """One thread's loop over the listening socket and everybody who waits."""

    def __init__(
        self, limits: Limits, penalties: Penalties, greeting: bytes, serve: Callable[[Guest], None]
    ) -> None:
        self._limits = limits
        self._penalties = penalties
        self._turns = Turns(limits)
        self._greeting = greeting
        self._serve = serve
        self._line: dict[str, dict[int, Guest]] = {}
        self._guests: dict[int, Guest] = {}
        self._selector = selectors.DefaultSelector()
        self._attended = 0.0
        self._newest_next = False

    def __len__(self) -> int:
        return len(self._guests)

    def run(self, listener: socket.socket, wake: socket.socket, over: threading.Event) -> None:
        """Take in and serve until `over` is set; a byte at `wake` makes it look."""
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(wake, selectors.EVENT_READ)
        try:
            while not over.is_set():
                ready = [key for key, _ in self._selector.select(TICK if self._guests else None)]
                for key in ready:
                    if isinstance(key.data, Guest):
                        self._hear(key.data)
                if any(key.fileobj is listener for key in ready):
                    self._take_in(listener, over)
                now = clock.monotonic()
                if len(self._guests) < FEW or now - self._attended >= TICK:
                    self._attended = now
                    self._attend(now)
        finally:
            for guest in list(self._guests.values()):
                self._send_away(guest)
            self._selector.close()

    # Coming in. ------------------------------------------------------------------------------------------

    def _take_in(self, listener: socket.socket, over: threading.Event) -> None:
        for _ in range(AT_ONCE):
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("accept: %s", error)
                over.wait(0.05)
                return
            self._seat(sock, str(peer[0]))

    def _seat(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        guest = Guest(sock, address, source(address), clock.monotonic())
        line = self._line.setdefault(guest.source, {})
        line[id(guest)] = self._guests[id(guest)] = guest
        self._selector.register(sock, selectors.EVENT_READ, guest)
        exempt = self._limits.is_exempt(address)
        if len(line) > self._limits.waiting_per_address and not exempt:
            self._send_away(_unlucky(line))
        elif len(self._guests) > self._limits.waiting:
            self._send_away(_unlucky(max(self._line.values(), key=len)))

    def _hear(self, guest: Guest) -> None:
        if id(guest) not in self._guests:
            return
        fault = guest.hear(clock.monotonic())
        if fault is not None:
            self._blame(guest, fault)
        elif guest.is_full:
            self._deafen(guest)

    # Whose turn it is. -----------------------------------------------------------------------------------

    def _attend(self, now: float) -> None:
        waiting = []
        for guest in list(self._guests.values()):
            if now - guest.arrived >= self._limits.grace:
                self._blame(guest, Fault.TOO_SLOW)
            elif guest.is_ready(now):
                self._let_in(guest)
            elif not guest.greeted:
                waiting.append(guest)
        slow = {guest.source: self._penalties.is_felt(guest.source, now) for guest in waiting}
        sign = -1 if self._newest_next else 1
        waiting.sort(key=lambda guest: (slow[guest.source], guest.spoke_at is None, sign * guest.arrived))
        not_now: set[str] = set()
        greeted = 0
        for guest in waiting:
            if guest.source in not_now:
                continue
            exempt = self._limits.is_exempt(guest.address)
            if exempt or self._turns.take(guest.source, now, slow=slow[guest.source]):
                self._greet(guest)
                greeted += 1
            else:
                not_now.add(guest.source)
        if greeted and not_now:
            self._newest_next = not self._newest_next

    def _greet(self, guest: Guest) -> None:
        try:
            guest.sock.send(self._greeting)
        except OSError:
            self._blame(guest, Fault.LEFT)
            return
        guest.greeted = True
        if guest.spoke_at is not None:
            guest.spoke_at = clock.monotonic()
        with contextlib.suppress(KeyError):
            self._selector.register(guest.sock, selectors.EVENT_READ, guest)

    # Going. ----------------------------------------------------------------------------------------------

    def _let_in(self, guest: Guest) -> None:
        self._forget(guest)
        self._serve(guest)

    def _blame(self, guest: Guest, fault: Fault) -> None:
        if not self._limits.is_exempt(guest.address):
            self._penalties.add(guest.source, fault, clock.monotonic())
        self._send_away(guest)

    def _send_away(self, guest: Guest) -> None:
        self._forget(guest)
        with contextlib.suppress(OSError):
            guest.sock.shutdown(socket.SHUT_RDWR)
        guest.sock.close()

    def _forget(self, guest: Guest) -> None:
        self._deafen(guest)
        self._guests.pop(id(guest), None)
        line = self._line.get(guest.source, {})
        line.pop(id(guest), None)
        if not line:
            self._line.pop(guest.source, None)

    def _deafen(self, guest: Guest) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(guest.sock)


def _unlucky(line: dict[int, Guest]) -> Guest:
    """Who must go where too many wait: the silent first, longest there; among those who spoke, chance decides."""
    for guest in line.values():  # in the order of their coming
        if guest.spoke_at is None and (guest.hear(clock.monotonic()) or guest.spoke_at is None):
            return guest
    return random.choice(list(line.values()))
