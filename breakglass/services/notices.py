"""Telling people: a row with the change; after it a delivery for each way that leads to the person.

What fails is tried again, ever more slowly. A notice whose way failed twice, and that no other way brought, takes the
next best: the person's mail, their other ways, the house's. What nobody could be told is shown to the requester and
to administrators (`untold`): no failure is quiet. No message holds a secret, and its link changes nothing.
"""

from __future__ import annotations

import smtplib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction

from breakglass import clock, doorbell, later, passes
from breakglass.domain.audit import AuditTag
from breakglass.domain.message import harmless, harmless_line
from breakglass.domain.text import one_line, plain, visible
from breakglass.models import Notice, NoticeDelivery, NoticeRoute, Person
from breakglass.services import audit, notice_routes
from breakglass.services.courier import Letter, Round

CLAIM = timedelta(seconds=60)
# Well within a claim: what this pass doesn't get to is free for the next.
PASS = 25.0
SHORT = 5.0
# Nothing is begun after this; what is under way then has the courier's patience.
LONGEST_PASS = 120.0
LOOK = 0.25
LONGEST_PAUSE = timedelta(minutes=10)
GIVE_UP = timedelta(hours=24)
FAILURES_UNTIL_ANOTHER_WAY = 2
MOST_BODY = 8000
MOST_SAID = 900
MOST_MAILS, MOST_LETTERS = 100, 40
DOES_NOTHING = "Opening the link changes nothing; you decide on the page, with your second factor."


def queue(
    people: Iterable[Person],
    *,
    topic: str,
    subject: str,
    body: str,
    path: str,
    now: datetime,
    ways: Sequence[str] = (),
) -> None:
    """One notice for each person, and one for each of the house's `ways`, in the caller's transaction; they go out
    after it commits."""
    told: dict[object, Person] = {person.pk: person for person in people}
    said = {"topic": topic, "subject": one_line(subject, 160), "body": plain(body, MOST_BODY), "path": path}
    routes = _own_routes(told)
    rows: list[tuple[Notice, list[NoticeRoute | None]]] = []
    for person in told.values():
        mail: list[NoticeRoute | None] = [None] if person.email else []
        rows.append((Notice(person=person, created_at=now, **said), mail + routes.get(person.pk, [])))
    rows += [(Notice(created_at=now, **said), [route]) for route in notice_routes.house(ways, now)]
    Notice.objects.bulk_create([notice for notice, _ in rows])
    NoticeDelivery.objects.bulk_create(
        NoticeDelivery(notice=notice, route=way, next_try_at=now) for notice, on in rows for way in on
    )
    for notice, on in rows:
        if not on:
            _another_way(notice, now)
    if rows:
        doorbell.ring("inbox", about=topic)
        later.ask("breakglass.send_notices", expires=10)


def deliver_due(now: datetime) -> int:
    """Send what is due, each delivery at most once at a time. Returns how many went; none while another pass is on.

    While letters are under way it looks for what is queued meanwhile, and begins that: a service that hangs holds up
    nobody else's. Who asked for a pass while this one was on was sent away.
    """
    with passes.alone("notices") as mine, ExitStack() as rounds:
        if not mine:
            return 0
        began, sent = clock.monotonic(), 0
        under_way: list[_UnderWay] = []
        while True:
            passed = clock.monotonic() - began
            moment = now + timedelta(seconds=int(passed))
            begun = _begin(under_way, rounds, moment) if passed < LONGEST_PASS else _NOTHING
            heard = _hear(under_way)
            sent += begun.sent + heard.sent
            # Whatever failed may have begun another way.
            if not under_way and (not (begun.tried or heard.tried) or passed >= SHORT):
                return sent


@dataclass
class _UnderWay:
    """A round of letters that was begun `at`, and whose they are, by key."""

    at: datetime
    round: Round
    claimed: dict[str, NoticeDelivery]


class _Done(NamedTuple):
    """How many deliveries came to an end, and how many of them went."""

    tried: int
    sent: int


_NOTHING = _Done(0, 0)


def _begin(under_way: list[_UnderWay], rounds: ExitStack, now: datetime) -> _Done:
    """Hand over the letters that are due, and send the mails."""
    due = NoticeDelivery.objects.filter(
        sent_at=None, next_try_at__lte=now, notice__created_at__gt=now - GIVE_UP
    ).select_related("notice__person", "route")
    by_route = due.filter(route__isnull=False).order_by("next_try_at")[:MOST_LETTERS]
    claimed = {str(row.pk): row for row in by_route if _claim(row, now)}
    letters = {key: _letter(key, row) for key, row in claimed.items()}
    gone = [key for key, letter in letters.items() if letter is None]
    for key in gone:
        _written_down(claimed.pop(key), "that way isn't set up any more", now)
    if claimed:
        begun = rounds.enter_context(Round(letter for letter in letters.values() if letter))
        under_way.append(_UnderWay(now, begun, claimed))
    mails = _send_mails(due.filter(route=None).order_by("next_try_at")[:MOST_MAILS], now)
    return _Done(mails.tried + len(gone), mails.sent)


def _hear(under_way: list[_UnderWay]) -> _Done:
    """What came of the letters meanwhile."""
    tried = sent = 0
    for one in list(under_way):
        for key, problem in one.round.heard(LOOK / len(under_way)).items():
            tried += 1
            sent += _written_down(one.claimed.pop(key), problem, one.at)
        if one.round.is_over:
            under_way.remove(one)
    return _Done(tried, sent)


def mark_seen(person: Person, now: datetime) -> None:
    Notice.objects.filter(person=person, seen_at=None).update(seen_at=now)


def add_way(person: Person, name: str, address: str, now: datetime) -> NoticeRoute:
    """As `notice_routes.add`, and the person is told on the ways that they had before: somebody else may have done it."""
    fit = notice_routes.checked(person, name, address)
    with transaction.atomic():
        queue(
            [person],
            topic=f"person:{person.pk}",
            subject="Your notices go one more way from now on",
            body=f"{fit.name} was added to your ways for notices. Was it not you? Remove it, and call an administrator.",
            path="/profile/notices/",
            now=now,
        )
        return notice_routes.write(person, fit, now)


def remove_way(person: Person, route_id: UUID, now: datetime) -> None:
    """As `notice_routes.remove`; what only that way would have brought takes another."""
    with transaction.atomic():
        route = notice_routes.own(person, route_id)
        waiting = Notice.objects.filter(sent_at=None, seen_at=None, deliveries__route=route)
        for notice in waiting.filter(created_at__gt=now - GIVE_UP).select_related("person"):
            if not notice.deliveries.exclude(route=route).exists():
                _another_way(notice, now, but=route)
        notice_routes.remove(person, route_id, now)


def _own_routes(people: dict[object, Person]) -> dict[object, list[NoticeRoute | None]]:
    found: dict[object, list[NoticeRoute | None]] = {}
    for route in NoticeRoute.objects.filter(person__in=list(people.values()), enabled=True):
        found.setdefault(route.person_id, []).append(route)
    return found


def _claim(row: NoticeDelivery, now: datetime) -> bool:
    mine = NoticeDelivery.objects.filter(pk=row.pk, sent_at=None, next_try_at=row.next_try_at)
    return bool(mine.update(next_try_at=now + CLAIM))


def _send_mails(rows: Iterable[NoticeDelivery], now: datetime) -> _Done:
    """One after the other, until this pass has had its time: a mail server that is slow leaves the rest to the next."""
    began = clock.monotonic()
    tried = sent = 0
    for row in rows:
        passed = clock.monotonic() - began
        if passed > PASS:
            break
        # A claim lasts from when it is made, however late in the pass.
        if _claim(row, now + timedelta(seconds=passed)):
            tried += 1
            sent += _written_down(row, _send(row.notice), now)
    return _Done(tried, sent)


def _written_down(row: NoticeDelivery, problem: str, now: datetime) -> bool:
    """What came of a delivery; True when it went."""
    if not problem:
        NoticeDelivery.objects.filter(pk=row.pk).update(sent_at=now, problem="", next_try_at=None)
        Notice.objects.filter(pk=row.notice_id, sent_at=None).update(sent_at=now)
        if row.route_id:
            NoticeRoute.objects.filter(pk=row.route_id).exclude(problem="").update(problem="")
        return True
    row.tries += 1
    row.problem = one_line(problem, 300)
    row.next_try_at = now + min(LONGEST_PAUSE, timedelta(seconds=10 * 2 ** min(row.tries, 10)))
    with transaction.atomic():
        row.save(update_fields=("tries", "problem", "next_try_at"))
        if row.route_id:
            NoticeRoute.objects.filter(pk=row.route_id).update(problem=row.problem)
        if row.tries == 1:
            data = {"problem": row.problem, "way": way_of(row)}
            audit.append(AuditTag.NOTICE_FAILED, actor=None, subject=row.notice, now=now, data=data)
        if row.tries == FAILURES_UNTIL_ANOTHER_WAY and not _told(row.notice):
            _another_way(row.notice, now)
        _ring(row.notice)
    return False


def _told(notice: Notice) -> bool:
    return Notice.objects.filter(pk=notice.pk, sent_at__isnull=False).exists()


def _another_way(notice: Notice, now: datetime, but: NoticeRoute | None = None) -> bool:
    """Begin the next best way that this notice hasn't taken; False where there is none left."""
    taken = set(notice.deliveries.values_list("route_id", flat=True))
    if but is not None:
        taken.add(but.pk)
    for route in _ways_left(notice, now):
        if (route.pk if route else None) not in taken:
            # Another pass may have begun it meanwhile: then it is under way.
            NoticeDelivery.objects.get_or_create(notice=notice, route=route, defaults={"next_try_at": now})
            later.ask("breakglass.send_notices", expires=10)
            return True
    return False


def _ways_left(notice: Notice, now: datetime) -> Iterable[NoticeRoute | None]:
    """Best first: their mail, their own ways, then the house's, in the order of the settings."""
    if notice.person is not None:
        if notice.person.email:
            yield None
        yield from NoticeRoute.objects.filter(person=notice.person, enabled=True)
    yield from notice_routes.house(notice_routes.house_names(), now)


def _ring(notice: Notice) -> None:
    """The pages that show what couldn't be told."""
    doorbell.ring(notice.topic)
    doorbell.ring("inbox")


def way_of(row: NoticeDelivery) -> str:
    """The way in words, as in "couldn't be told by mail"."""
    return row.route.name if row.route else "mail"


def _letter(key: str, row: NoticeDelivery) -> Letter | None:
    """The notice as it goes into a chat or to a pager: nothing in it acts there."""
    notice, route = row.notice, row.route
    assert route
    text = harmless(notice.body, MOST_SAID)
    if route.person_id is None and notice.person is not None:
        text = f"For {harmless_line(notice.person.get_full_name(), 80)}, who couldn't be told any other way. Pass it on.\n{text}"
    link = f"{settings.BREAKGLASS.public_url}{notice.path}"
    title = f"[Breakglass] {harmless_line(notice.subject, 160)}"
    return notice_routes.letter_for(route, key, title, f"{text}\n\n{link}\n{DOES_NOTHING}")


def _send(notice: Notice) -> str:
    """Why the mail could not be sent; empty when it was."""
    assert notice.person
    if not notice.person.email:
        return "no address"
    link = f"{settings.BREAKGLASS.public_url}{notice.path}"
    text = f"{visible(notice.body)}\n\n{link}\n\n{DOES_NOTHING}\n"
    try:
        EmailMessage(f"[Breakglass] {visible(notice.subject)}", text, to=[notice.person.email]).send()
    except (OSError, smtplib.SMTPException, ValueError) as error:
        # ValueError: an address or a header that can't be written. One such notice holds up no other.
        return str(error) or type(error).__name__
    return ""
