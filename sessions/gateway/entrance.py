"""Everybody who is connected and has no session: strangers, people at their one-time code, people at the console."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING
from uuid import UUID

from sessions.gateway.callbacks import Visitor
from sessions.gateway.limits import Fault, Penalties, Places
from sessions.gateway.lobby import Guest, Lobby
from sessions.gateway.transport import GREETING

if TYPE_CHECKING:
    from sessions.gateway.server import Gateway

log = logging.getLogger("breakglass.gateway")


class Entrance:
    """One for a gateway process. Bounds what each of these groups takes."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.penalties = Penalties()
        self._places = Places(gateway.limits)
        self._lobby = Lobby(gateway.limits, self.penalties, GREETING, self._serve)
        self._lock = threading.Lock()
        self._visitors: dict[int, Visitor] = {}
        self._at_code: dict[UUID, list[Visitor]] = {}

    def run(self, listener: socket.socket, wake: socket.socket, over: threading.Event) -> None:
        """Accept and serve until `over`; a byte at `wake` makes it look."""
        self._lobby.run(listener, wake, over)

    def _serve(self, guest: Guest) -> None:
        try:
            visitor = Visitor(self._gateway, guest.sock, guest.address, heard=bytes(guest.heard))
        except OSError:  # it has hung up meanwhile
            guest.sock.close()
            return
        visitor.arrived = guest.arrived
        visitor.deadline = guest.arrived + self._gateway.limits.grace
        with self._lock:
            self._visitors[id(visitor)] = visitor
        loser = self._places.take(visitor)
        if isinstance(loser, Visitor):
            loser.leg.bury()
        try:
            visitor.start()
        except (OSError, RuntimeError) as error:
            log.warning("a connection could not be served: %s", error)
            self.gone(visitor)
            guest.sock.close()

    def stranger_gone(self, visitor: Visitor) -> None:
        """It is no stranger any more, or it is gone."""
        self._places.leave(visitor)

    def known_now(self, visitor: Visitor, person_id: UUID) -> None:
        """A key was proved. It has its own, longer time for the code; who opens too many loses the oldest."""
        self.stranger_gone(visitor)
        with self._lock:
            at_code = self._at_code.setdefault(person_id, [])
            at_code.append(visitor)
            oldest = at_code.pop(0) if len(at_code) > self._gateway.limits.codes_per_person else None
        if oldest is not None:
            oldest.leg.bury()

    def entered(self, visitor: Visitor) -> None:
        self.stranger_gone(visitor)
        self._forget_code(visitor)
        if not visitor.is_jump:
            self.penalties.forgive(visitor.source)

    def gone(self, visitor: Visitor) -> None:
        """It hung up, was sent away, or is a session now."""
        self.stranger_gone(visitor)
        self._forget_code(visitor)
        with self._lock:
            self._visitors.pop(id(visitor), None)

    def _forget_code(self, visitor: Visitor) -> None:
        with self._lock:
            for person_id, at_code in list(self._at_code.items()):
                if visitor in at_code:
                    at_code.remove(visitor)
                if not at_code:
                    del self._at_code[person_id]

    def sweep(self, now: float) -> None:
        """Turn away whoever took too long to prove who they are, and consoles that were left open."""
        with self._lock:
            late = [v for v in self._visitors.values() if now >= v.deadline and not v.is_carrying]
        for visitor in late:
            if not visitor.is_known:
                visitor.blame(Fault.TOO_SLOW)
            self.gone(visitor)
            visitor.turn_away(
                "Breakglass: the console closes after half an hour"
                if visitor.is_inside
                else "Breakglass: the login took too long"
            )

    def everybody(self) -> list[Visitor]:
        with self._lock:
            return list(self._visitors.values())

    def __len__(self) -> int:
        """Who waits, is a stranger, or types a code."""
        with self._lock:
            at_code = sum(map(len, self._at_code.values()))
        return len(self._lobby) + len(self._places) + at_code
