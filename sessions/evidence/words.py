"""How the report says times, counts and reasons."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from breakglass.domain.text import visible
from sessions.states import EndReason

MOST_CELL: Final = 400

# What people are told says "you" and hides who it was (E5); a record doesn't.
ENDS: Final[dict[str, str]] = {
    EndReason.CLIENT_CLOSED: "the person closed it",
    EndReason.CLIENT_LOST: "the person's connection was lost",
    EndReason.ASSET_CLOSED: "the machine closed it",
    EndReason.EXPIRED: "the time was up",
    EndReason.REVOKED: "the access was withdrawn",
    EndReason.RELEASED: "the access was given back",
    EndReason.KILLED: "somebody ended it",
    EndReason.IDLE: "nothing was typed for too long",
    EndReason.LOCKED: "a lock was placed",
    EndReason.NOT_AUTHORIZED: "the person lost the right",
    EndReason.LEASE_LOST: "the gateway couldn't confirm the grant",
    EndReason.CANNOT_RECORD: "it could no longer be recorded",
    EndReason.UPSTREAM_FAILED: "the machine couldn't be reached",
    EndReason.PROTOCOL_ERROR: "one side broke the protocol",
    EndReason.GATEWAY_STOPPED: "the gateway went down",
    EndReason.CRASHED: "the gateway crashed",
}


def shortened(text: str, most: int = MOST_CELL) -> str:
    """One line that hides nothing and is no longer than a cell can bear."""
    line = " ".join(visible(text).split())
    return line if len(line) <= most else line[: most - 1] + "\u2026"


def some(text: Any) -> tuple[str, ...]:
    return (str(text),) if text else ()


def count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"


def reason(reason: str) -> str:
    return ENDS.get(reason, reason.replace("_", " "))


def plain(value: object) -> str:
    return "" if value is None else str(value)


def ms(value: float | None) -> str:
    return "not known" if value is None else f"{value:.0f} ms"


def time(at: datetime | None) -> str:
    return f"{at:%d %b %Y %H:%M:%S} UTC" if at else ""


def stamp(at: datetime | None) -> str:
    return f"{at:%d %b %Y %H:%M:%S}" if at else ""


def clock(at: datetime | None) -> str:
    return f"{at:%H:%M:%S}" if at else ""


def span(length: timedelta) -> str:
    seconds = max(int(length.total_seconds()), 0)
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
