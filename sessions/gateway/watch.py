"""What the watchdog remembers of one session, and how it tells a peer that is gone from one that is slow."""

from __future__ import annotations

from sessions.gateway.live import LiveSession
from sessions.gateway.transport import Leg

ASK_EVERY = 5.0
SILENT = 12.0
DOUBT = 3.0


class Ear:
    """When a leg last gave a sign of life. Where nothing comes for 5 s it is asked for one (OpenSSH's keepalive).

    Slow isn't gone: what waits here unread, because we are behind, and bytes of ours that the other side's system
    goes on taking out of a queue, are signs too. A peer that reads nothing and says nothing is gone by all evidence,
    also where its process is only stopped.
    """

    def __init__(self, leg: Leg, now: float) -> None:
        self._leg = leg
        self._count = 0
        self._at = now
        self._asked = now
        self._taken: int | None = None

    def silent_for(self, now: float) -> float:
        """Seconds since the last sign; counted anew whenever this is called and something had come."""
        packetizer = self._leg.packetizer
        if packetizer.received != self._count:
            self._count, self._at, self._taken = packetizer.received, now, None
        elif now - self._at >= DOUBT and (packetizer.is_behind() or self._takes()):
            self._at = now
        return now - self._at

    def forgive(self, now: float) -> None:
        """This process stood still: what came meanwhile was not heard."""
        self._at = now

    def is_to_be_asked(self, now: float) -> bool:
        """Whether it is time to ask; true once for each time."""
        if min(now - self._at, now - self._asked) < ASK_EVERY:
            return False
        self._asked = now
        return True

    def _takes(self) -> bool:
        before, self._taken = self._taken, self._leg.packetizer.taken()
        return before is not None and self._taken is not None and before != self._taken


class Watch:
    """One session."""

    def __init__(self, session: LiveSession, now: float) -> None:
        self.session = session
        self.look_at = now
        self.deadline = session.deadline
        self.renewed = now
        self.renewing = False
        self.again = False
        self.rekeyed = now
        self.person = Ear(session.person_leg, now)
        self.asset = Ear(session.asset_leg, now)
        self.left_at_start = session.deadline - now

    def forgive(self, now: float) -> None:
        for ear in (self.person, self.asset):
            ear.forgive(now)
