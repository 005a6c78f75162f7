"""The ways on which notices go: a person's own, kept encrypted, and the house's, which stand in the settings."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.domain.message import harmless_line
from breakglass.domain.notice_kinds import KINDS, BadAddress, kind_of
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import one_line, visible
from breakglass.models import NoticeRoute, Person
from breakglass.services import audit, courier, vault
from breakglass.services.courier import Letter

MOST = 8
BETWEEN_TESTS = timedelta(seconds=10)
PATIENCE_OF_A_TEST = 12.0


@dataclass(frozen=True)
class Fit:
    """A name and an address that were looked at."""

    name: str
    address: str = field(repr=False)  # it holds a token


def add(person: Person, name: str, address: str, now: datetime) -> NoticeRoute:
    """A way of the person's own; nobody is shown the address again. Raises Refused `bad_input`.

    It opens no door, so it takes no second factor: `notices.add_way` tells the person on the ways that they had before.
    """
    return write(person, checked(person, name, address), now)


def checked(person: Person, name: str, address: str) -> Fit:
    """That a way may be added, by a process of its own that takes seconds: never in a transaction, which would hold up
    whoever writes. Raises Refused `bad_input`, `throttled`."""
    name = one_line(visible(name), 64)
    address = address.strip()
    _refuse_unfit(person, name, address)
    _tries.refuse_more(person)
    problem = courier.deliver(Letter("new", address, check=True))
    if problem:
        raise _unfit(problem, "address")
    return Fit(name, address)


class _Tries:
    """Each look at an address is a process of its own for seconds: a few a minute and person, in this process."""

    MOST: Final = 5
    SECONDS: Final = 60.0

    def __init__(self) -> None:
        self._at: dict[UUID, deque[float]] = {}

    def refuse_more(self, person: Person) -> None:
        """Counts this one. Raises Refused `throttled`."""
        moment = clock.monotonic()
        for known in [who for who, at in self._at.items() if moment - at[-1] > self.SECONDS]:
            del self._at[known]
        mine = self._at.setdefault(person.pk, deque(maxlen=self.MOST))
        if len(mine) == self.MOST and moment - mine[0] < self.SECONDS:
            raise refuse(RefusalCode.THROTTLED, seconds=int(self.SECONDS - (moment - mine[0])) + 1)
        mine.append(moment)


_tries = _Tries()


def write(person: Person, fit: Fit, now: datetime) -> NoticeRoute:
    """Add what was checked. Raises Refused `bad_input` where it doesn't fit any more."""
    name, address = fit.name, fit.address
    kind = kind_of(address)
    with transaction.atomic():
        Person.objects.select_for_update(no_key=True).get(pk=person.pk)
        _refuse_unfit(person, name, address)
        route = NoticeRoute(person=person, name=name, kind=kind.scheme, created_at=now)
        route.url = vault.encrypt(address.encode(), _purpose(route))
        route.save(force_insert=True)
        _record(AuditTag.ROUTE_ADDED, route, person, now)
    return route


def try_out(person: Person, route_id: UUID, now: datetime) -> str:
    """Send a message that says it is a test, now. Why that failed; empty when it went. Raises Refused `not_found`, `throttled`."""
    route = own(person, route_id)
    rested = Q(tested_at=None) | Q(tested_at__lte=now - BETWEEN_TESTS)
    if not NoticeRoute.objects.filter(rested, pk=route.pk).update(tested_at=now):
        raise refuse(RefusalCode.THROTTLED, seconds=int(BETWEEN_TESTS.total_seconds()))
    who = harmless_line(person.get_full_name(), 80)
    text = f"A test that {who} asked for. When somebody waits for an answer, it is said here."
    letter = letter_for(route, "test", "[Breakglass] Notices reach you here", text)
    problem = (
        "its address can't be read any more"
        if letter is None
        else courier.deliver(letter, PATIENCE_OF_A_TEST)
    )
    NoticeRoute.objects.filter(pk=route.pk).update(problem=problem)
    return problem


def switch(person: Person, route_id: UUID, on: bool, now: datetime) -> NoticeRoute:
    """Use it, or don't for now. Raises Refused `not_found`."""
    route = own(person, route_id)
    with transaction.atomic():
        if NoticeRoute.objects.filter(pk=route.pk, enabled=not on).update(enabled=on, problem=""):
            _record(AuditTag.ROUTE_SWITCHED, route, person, now, on=on)
    return route


def remove(person: Person, route_id: UUID, now: datetime) -> None:
    """It is gone, and its address with it. Raises Refused `not_found`."""
    route = own(person, route_id)
    with transaction.atomic():
        _record(AuditTag.ROUTE_REMOVED, route, person, now)
        route.delete()


def own(person: Person, route_id: UUID) -> NoticeRoute:
    route = NoticeRoute.objects.filter(person=person, pk=route_id).first()
    if route is None:
        raise refuse(RefusalCode.NOT_FOUND, what="way for notices")
    return route


def house(names: Iterable[str], now: datetime) -> list[NoticeRoute]:
    """The rows of the house's ways of these names; one that the settings lack is there too, and fails aloud."""
    wanted = list(dict.fromkeys(names))
    known = {route.name: route for route in NoticeRoute.objects.filter(person=None, name__in=wanted)}
    return [known.get(name) or _house_row(name, now) for name in wanted]


def house_names() -> tuple[str, ...]:
    """The house's ways, in the order of the settings: the first is who is told when a person can't be."""
    return tuple(settings.BREAKGLASS.house_routes)


def missing(names: Iterable[str]) -> list[str]:
    """Which of these the settings don't know."""
    return [name for name in names if name not in settings.BREAKGLASS.house_routes]


def letter_for(route: NoticeRoute, key: str, title: str, body: str) -> Letter | None:
    """What is given to the courier; None where the address is gone or can't be opened."""
    if route.person_id is None:
        address = settings.BREAKGLASS.house_routes.get(route.name, "")
        return Letter(key, address, title, body, trusted=True) if address else None
    try:
        address = vault.decrypt(bytes(route.url), _purpose(route)).decode()
        kind_of(address)
    except (vault.VaultError, BadAddress):
        return None
    return Letter(key, address, title, body)


def label_of(route: NoticeRoute) -> str:
    """The kind in words: never the address."""
    return KINDS[route.kind].label if route.kind in KINDS else route.kind


def _house_row(name: str, now: datetime) -> NoticeRoute:
    address = settings.BREAKGLASS.house_routes.get(name)
    kind = kind_of(address, trusted=True).scheme if address else "unknown"
    row, _ = NoticeRoute.objects.get_or_create(
        person=None, name=name, defaults={"kind": kind, "url": b"", "created_at": now}
    )
    return row


def _refuse_unfit(person: Person, name: str, address: str) -> None:
    if not name:
        raise _unfit("a way needs a name", "name")
    routes = NoticeRoute.objects.filter(person=person)
    if routes.filter(name=name).exists():
        raise _unfit(f"you have a way called {name} already", "name")
    if routes.count() >= MOST:
        raise _unfit(f"{MOST} ways are the most: remove one first", "name")
    try:
        kind = kind_of(address)
    except BadAddress as error:
        raise _unfit(str(error), "address") from None
    if kind.plain and not settings.BREAKGLASS.notice_networks:
        raise _unfit(f"use {kind.scheme}s://, with TLS", "address")


def _unfit(problem: str, field: str) -> Exception:
    return refuse(RefusalCode.BAD_INPUT, needs=(field,), problem=f"That way can't be used: {problem}.")


def _purpose(route: NoticeRoute) -> str:
    return f"notice-route:{route.pk}"


def _record(tag: AuditTag, route: NoticeRoute, person: Person, now: datetime, **more: object) -> None:
    data = {"name": route.name, "kind": route.kind, **more}
    audit.append(tag, actor=person, subject=route, now=now, data=data)
