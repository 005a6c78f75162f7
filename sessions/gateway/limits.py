"""What strangers may take of the gateway: turns, places and patience, in all and by address.

Nothing here refuses an address outright: whoever misbehaves makes the strangers of their own address slower, and
served after everybody else. So nobody can lock out another, not even from behind the same address.
"""

from __future__ import annotations

import ipaddress
import mmap
import struct
import threading
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
TABLE = 10_000
SLOTS = 8192
SLOT = struct.Struct("dd")


@dataclass(frozen=True)
class Limits:
    """Bounds of one gateway process. Seconds, counts, and counts a second."""

    grace: float = 20.0
    code_grace: float = 60.0
    strangers: int = 100
    strangers_per_address: int = 20
    waiting: int = 500
    waiting_per_address: int = 50
    rate: float = 100.0
    rate_per_address: float = 10.0
    burst_per_address: float = 12.0
    codes_per_person: int = 20
    sessions: int = 2000
    exempt: tuple[Network, ...] = ()
    turns: mmap.mmap | None = None

    def share(self, processes: int) -> Limits:
        """The same bounds for each of several processes that are forked from this one and take turns at one port.

        Places are divided; the turns of an address are counted together, in memory that all of them see.
        """
        if processes < 2:
            return self
        return replace(
            self,
            strangers=max(20, self.strangers // processes),
            strangers_per_address=max(5, self.strangers_per_address // processes),
            waiting=max(50, self.waiting // processes),
            waiting_per_address=max(20, self.waiting_per_address // processes),
            rate=self.rate / processes,
            turns=mmap.mmap(-1, SLOTS * SLOT.size),
        )

    def is_exempt(self, address: str) -> bool:
        """Whether rates, places by address and penalties leave this address alone."""
        if not self.exempt:
            return False
        ip = _ip(address)
        return ip is not None and any(ip in network for network in self.exempt)


def source(address: str) -> str:
    """Whom strangers are counted under: an IPv4 address, or the /64 of an IPv6 one."""
    ip = _ip(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return address if ip is None else str(ip)


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip


class Fault(Enum):
    """What a stranger did, and the seconds of penalty for it (as OpenSSH's PerSourcePenalties)."""

    LEFT = 1.0
    WRONG_CREDENTIALS = 5.0
    TOO_SLOW = 10.0
    BAD_PROTOCOL = 15.0


class Penalties:
    """Seconds of penalty by source. They add up to ten minutes, run off by themselves, and end with a good login."""

    FELT = 15.0
    MOST = 600.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def add(self, source: str, fault: Fault, now: float) -> None:
        with self._lock:
            if source not in self._until and len(self._until) >= TABLE:
                self._forget(now)
            until = max(now, self._until.get(source, now)) + fault.value
            self._until[source] = min(until, now + self.MOST)

    def forgive(self, source: str) -> None:
        with self._lock:
            self._until.pop(source, None)

    def is_felt(self, source: str, now: float) -> bool:
        """Whether this source's strangers are served slower, and after all others."""
        return self._until.get(source, 0.0) - now >= self.FELT

    def _forget(self, now: float) -> None:
        """Drop what has run off; when a flood filled the table, drop its milder half."""
        kept = sorted((until, source) for source, until in self._until.items() if until > now)
        self._until = {source: until for until, source in kept[-TABLE // 2 :]}

    def __len__(self) -> int:
        return len(self._until)


class Turns:
    """Token buckets: how often a source's newcomers get a turn. What is kept is how much was spent, and when, for a
    full bucket needs no entry. Shared between processes it is a table in which sources may share a place; a race
    there costs a turn, or gives one away."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buckets: dict[str, tuple[float, float]] = {}
        self._all = (limits.rate, 0.0)

    def take(self, source: str, now: float, *, slow: bool) -> bool:
        """Whether it is this source's turn now; if so, it is taken."""
        limits = self._limits
        rate = limits.rate_per_address / 2 if slow else limits.rate_per_address
        most = max(1.0, limits.burst_per_address / 4) if slow else limits.burst_per_address
        in_all, since = self._all
        most_in_all = max(limits.rate, limits.rate_per_address)
        in_all = min(most_in_all, in_all + (now - since) * most_in_all)
        spent, last = self._look_up(source)
        spent = max(0.0, spent - (now - last) * rate)
        if most - spent < 1.0 or in_all < 1.0:
            return False
        self._all = (in_all - 1.0, now)
        self._keep(source, spent + 1.0, now)
        return True

    def _look_up(self, source: str) -> tuple[float, float]:
        if self._limits.turns is None:
            return self._buckets.get(source, (0.0, 0.0))
        spent, last = SLOT.unpack_from(self._limits.turns, hash(source) % SLOTS * SLOT.size)
        return spent, last

    def _keep(self, source: str, spent: float, now: float) -> None:
        limits = self._limits
        if limits.turns is not None:
            SLOT.pack_into(limits.turns, hash(source) % SLOTS * SLOT.size, spent, now)
            return
        if len(self._buckets) >= TABLE:
            whole = limits.burst_per_address / limits.rate_per_address * 2
            self._buckets = {key: held for key, held in self._buckets.items() if now - held[1] < whole}
            if len(self._buckets) >= TABLE // 2:
                self._buckets = {}  # so many at once: the rate of all together bounds them
        self._buckets[source] = (spent, now)


class Stranger(Protocol):
    """A connection that has a place: being served, and nobody known yet."""

    source: str
    arrived: float

    @property
    def progress(self) -> int:
        """How near to a login: those who got furthest keep their places longest."""
        ...


class Places:
    """Connections that are served and haven't proved a key. When all places are taken, the newcomer gets the oldest
    one of those that got least far: a flood that holds on to its places keeps nobody out (sshd drops newcomers)."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._by_source: dict[str, dict[int, Stranger]] = {}
        self._count = 0

    def take(self, stranger: Stranger) -> Stranger | None:
        """Give `stranger` a place. Returns whom it was taken from, who is to be sent away, or None."""
        with self._lock:
            loser = self._loser(stranger.source)
            if loser is not None:
                self._drop(loser)
            self._by_source.setdefault(stranger.source, {})[id(stranger)] = stranger
            self._count += 1
        return loser

    def leave(self, stranger: Stranger) -> bool:
        """Give the place back. False where it was given back or taken away before."""
        with self._lock:
            return self._drop(stranger)

    def _drop(self, stranger: Stranger) -> bool:
        held = self._by_source.get(stranger.source, {})
        if held.pop(id(stranger), None) is None:
            return False
        self._count -= 1
        if not held:
            del self._by_source[stranger.source]
        return True

    def _loser(self, source: str) -> Stranger | None:
        own = self._by_source.get(source, {})
        exempt = bool(own) and self._limits.is_exempt(source.partition("/")[0])
        if len(own) >= self._limits.strangers_per_address and not exempt:
            crowd = own
        elif self._count >= self._limits.strangers:
            crowd = max(self._by_source.values(), key=len)
        else:
            return None
        return min(crowd.values(), key=lambda held: (held.progress, held.arrived))

    def __len__(self) -> int:
        return self._count
