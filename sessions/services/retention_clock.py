"""Whether the clock of the machine that deletes recordings can be believed: what is deleted too early never comes back.

Three things are compared with it: the database's own clock, the clock since this machine booted, which nobody can set, and
what it said when recordings were looked over last (every hour), kept beside them. A clock that went ahead is doubted for
three days, and the administrators and auditors are told: time to set it right, and no time at all for one that is right.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from django.db import connection, transaction

from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import ADMINISTRATORS, AUDITORS
from breakglass.queries import people_in
from breakglass.services import audit, notices
from sessions.services import holdings

STEP: Final = timedelta(hours=1)
"""Ahead of the clock since boot, or of the database's, by more than this is a jump."""
SILENCE: Final = timedelta(days=2)
"""Over a boot nobody counts: a longer time without a look may be a jump as well."""
DOUBTED: Final = timedelta(days=3)
NAME: Final = "retention.clock"
SUBJECT: Final = "clock:recordings"


@dataclass(frozen=True)
class Look:
    """What the clocks said: the wall's seconds since 1970, those since this boot; `doubted`: the wall's when it jumped."""

    boot: str
    wall: float
    boottime: float
    doubted: float | None = None


def may_delete(now: datetime, monotonic: float) -> bool:
    """Look at the clocks, which is written down for the next time. False where it isn't believed; of a new jump the trail
    and people hear once."""
    last, this = _last(), Look(_boot(), now.timestamp(), monotonic)
    ahead = _ahead_of_database(now)
    if ahead > STEP:
        if last is None or last.doubted is None:
            _alarm(now, ahead, "the database's clock")
            _keep(replace(last or this, doubted=this.wall))
        return False
    jumped, beside = _jump(last, this)
    if jumped:
        _alarm(now, jumped, beside)
        _keep(replace(this, doubted=this.wall))
        return False
    doubted = last.doubted if last else None
    if doubted is not None and 0 <= this.wall - doubted < DOUBTED.total_seconds():
        _keep(replace(this, doubted=doubted))
        return False
    # Within a boot the first look counts on: many small steps are a large one.
    same = last is not None and last.boot == this.boot and doubted is None and this.wall >= last.wall
    _keep(last if same and last is not None else this)
    return True


def _jump(last: Look | None, this: Look) -> tuple[timedelta, str]:
    """By how much it is ahead, and of what; nothing where it isn't by more than may be."""
    if last is None:
        return timedelta(), ""
    passed = timedelta(seconds=this.wall - last.wall)
    if last.boot == this.boot:
        ahead = passed - timedelta(seconds=this.boottime - last.boottime)
        return (ahead, "the clock since this machine booted") if ahead > STEP else (timedelta(), "")
    return (
        (passed, "the last time that recordings were looked over") if passed > SILENCE else (timedelta(), "")
    )


def _ahead_of_database(now: datetime) -> timedelta:
    """SQLite has no clock of its own."""
    if connection.vendor != "postgresql":
        return timedelta()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (theirs,) = cursor.fetchone()
    return now - datetime.fromtimestamp(theirs.timestamp(), UTC)


def _alarm(now: datetime, ahead: timedelta, of: str) -> None:
    hours = round(ahead.total_seconds() / 3600, 1)
    data = {"hours_ahead": hours, "of": of, "deleting": "withheld"}
    body = (
        f"The machine that deletes recordings says {now:%Y-%m-%d %H:%M} UTC, {hours} hours ahead of {of}. "
        "If that is wrong, set it right and start its worker again. If it is right (the machine was off), nothing is to "
        f"be done: deleting goes on in {DOUBTED.days} days."
    )
    with transaction.atomic():
        audit.append(AuditTag.CLOCK_STEPPED, actor=None, subject=SUBJECT, now=now, data=data)
        notices.queue(
            people_in([ADMINISTRATORS, AUDITORS]),
            topic=SUBJECT,
            subject="No recording is deleted: the clock may be wrong",
            body=body,
            path="/",
            now=now,
        )


def _path() -> Path:
    return holdings.store().root / NAME


def _last() -> Look | None:
    try:
        facts = json.loads(_path().read_text())
        return Look(str(facts["boot"]), float(facts["wall"]), float(facts["boottime"]), _number(facts))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _number(facts: Mapping[str, object]) -> float | None:
    doubted = facts["doubted"]
    return float(doubted) if isinstance(doubted, int | float) else None


def _keep(look: Look) -> None:
    draft = _path().with_suffix(".new")
    draft.write_text(json.dumps(asdict(look)))
    draft.chmod(0o600)
    os.replace(draft, _path())


def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""
