"""Who is with the person of a session: those who watch it, what they write, and the escort without whom nothing goes.

The gateway believes the books only while they are fresh: an escort's watch counts for 6 s after its last sign of life.
Whatever dies then, the browser, the web page's process, the database, holds the session by itself within seconds.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from sessions.gateway.freezing import KEYS_LAST
from sessions.gateway.relay import printable
from sessions.services.escort import FRESH

if TYPE_CHECKING:
    from sessions.gateway.live import LiveSession

NO_ESCORT = "no escort"
"""The cause that a session is held for, beside those of freezing.py."""
WHY = "because no escort watches it"
REST = f"What you type now is thrown away after {KEYS_LAST:.0f} s; output goes on."
LOOK_EVERY = 2.0
MOST_NAMED = 20
"""Watchers who get a line each."""
MOST_IN_A_LINE = 10


@dataclass(frozen=True)
class Seen:
    """One watch as the books have it."""

    watch: UUID
    name: str
    is_escort: bool
    seen_at: datetime


@dataclass(frozen=True)
class Said:
    """One message beside the session, of somebody else than its person."""

    number: int
    name: str
    text: str


@dataclass
class _Sign:
    """When a watch's last sign of life was first noticed here: by the clock that nobody can set."""

    seen_at: datetime
    noticed: float


@dataclass
class Company:
    """One session's. `groups`: of whom one must be its escort; empty where none is needed."""

    session: LiveSession
    groups: frozenset[str] = frozenset()
    heard: int = 0
    _there_until: float = 0.0
    _signs: dict[UUID, _Sign] = field(default_factory=dict)
    _named: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Before the first byte: held, until an escort watches."""
        if self.groups:
            self._hold()

    @property
    def is_missed(self) -> bool:
        return bool(self.groups) and self.session.freezing.is_held_by(NO_ESCORT)

    @property
    def waits(self) -> str:
        """What a channel that opens meanwhile tells its person; empty where nobody is waited for."""
        if not self.is_missed:
            return ""
        who = " or ".join(sorted(self.groups))
        return f"Breakglass: waiting for your escort ({who}) to watch. Nothing reaches the asset before."

    def look(self, now: float) -> None:
        """The watchdog's: an escort of whom nothing was heard for too long is not there. Never waits."""
        if self.groups and now >= self._there_until and self.session.reason is None:
            self._hold()

    def watched_by(self, seen: Collection[Seen], asked: float, wall: datetime) -> None:
        """What the books say, asked at `asked` (`wall` on the clock of people). Never waits for the person."""
        self._signs = {one.watch: self._sign(one, asked) for one in seen}
        if self.groups:
            self._escorted([one for one in seen if one.is_escort], asked, wall)
        self._name({one.name for one in seen} - self._named)

    def told(self, messages: Collection[Said]) -> None:
        """What was written beside the session since: the person reads it where they work."""
        for one in messages:
            self.heard = max(self.heard, one.number)
            self.session.tell_soon(f"Breakglass: {printable(one.name)} writes: {one.text}")

    def _name(self, came: Collection[str]) -> None:
        """Each watcher once; a crowd in one line, so that it fills no screen."""
        alone = max(0, MOST_NAMED - len(self._named))
        names = [printable(name) for name in sorted(came)]
        self._named.update(came)
        for name in names[:alone]:
            self.session.tell_soon(f"Breakglass: {name} watches this session.")
        crowd = names[alone:]
        if crowd:
            shown, rest = ", ".join(crowd[:MOST_IN_A_LINE]), len(crowd) - MOST_IN_A_LINE
            more = f" and {rest} more" if rest > 0 else ""
            self.session.tell_soon(f"Breakglass: these watch this session, too: {shown}{more}.")

    def _hold(self) -> None:
        """Keys meant for a screen of minutes ago surprise the plant as soon as the escort is back, who couldn't see them."""
        self.session.freeze(NO_ESCORT, WHY, REST, keys_age=True)

    def _sign(self, one: Seen, asked: float) -> _Sign:
        before = self._signs.get(one.watch)
        return before if before is not None and before.seen_at == one.seen_at else _Sign(one.seen_at, asked)

    def _escorted(self, escorts: Collection[Seen], asked: float, wall: datetime) -> None:
        most = FRESH.total_seconds()
        until, name = 0.0, ""
        for one in escorts:
            # By both clocks: a web server whose clock is ahead makes nobody look present who is gone.
            noticed = self._signs[one.watch].noticed
            left = most - max(0.0, (wall - one.seen_at).total_seconds(), asked - noticed)
            if left > 0 and asked + left > until:
                until, name = asked + left, one.name
        self._there_until = until
        if not until:
            self._hold()
        elif self.is_missed:
            self._named.add(name)
            self._say_before(f"Breakglass: your escort {printable(name)} watches: the session begins.")
            self.session.unfreeze(NO_ESCORT)

    def _say_before(self, text: str) -> None:
        """To channels on which nothing was started yet: they hear of no freeze."""
        for channel in self.session.open_channels():
            self.session.freezing.soon(partial(channel.tell_before, text))
