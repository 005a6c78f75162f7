"""What the gateway measured of a session's end, by a clock that nobody can set, told by the wall clock of that moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from breakglass import clock
from sessions.services import Cut

if TYPE_CHECKING:
    from sessions.gateway.live import LiveSession
    from sessions.gateway.transport import Leg


def receipt_of(session: LiveSession) -> Cut:
    """As it stands now; a socket that isn't closed yet has no time."""
    at = session.ended_at or clock.now()
    cut = session.ended_by_clock or clock.monotonic()

    def told(moment: float | None) -> datetime | None:
        return at + timedelta(seconds=moment - cut) if moment else None

    person, asset = session.person_leg, session.asset_leg
    authorization = session.authorization
    return Cut(
        at=at,
        due=authorization.ends_at,
        last_byte_at=told(max(_last_byte(person), _last_byte(asset))),
        client_gone_at=told(person.gone_at),
        target_gone_at=told(asset.gone_at),
        key=authorization.key,
        certificate=authorization.certificate,
    )


def _last_byte(leg: Leg) -> float:
    """Into that leg, 0 for none. A write that failed after its end brought nothing there."""
    at = leg.packetizer.relayed_at
    return at if leg.gone_at is None else min(at, leg.gone_at)
