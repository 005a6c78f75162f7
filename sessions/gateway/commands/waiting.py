"""Waiting for an answer, with a countdown that one can see.

A ring of the doorbell makes it look at once; without Redis it looks by itself. What counts is what the database says,
and the clock: whoever waits, waits until the request lapses at the longest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import redis
from django.db.models import Count

from breakglass import clock, doorbell, queries
from breakglass.domain.approvals import Verdict
from breakglass.domain.refusals import RefusalCode, Refused
from breakglass.domain.requests import RequestState, state_at
from breakglass.models import AccessRequest
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.commands.looking import span
from sessions.gateway.commands.talk import Talk, ssh_command
from sessions.gateway.local import LocalChannel
from sessions.gateway.relay import printable

TICK = 1.0
LOOK_EVERY = 2.0
TRY_REDIS_AGAIN = 10
PLAIN_EVERY = 60.0
AFTER_LAPSE = 60.0
MOST_NAMES = 4


class Stopped(Exception):
    """The person doesn't wait any longer. The request stays as it is."""


@dataclass(frozen=True)
class Standing:
    """A request, looked at."""

    id: UUID
    label: str
    requester: str
    stored: RequestState
    escalates_at: datetime
    lapses_at: datetime
    escalated: bool
    votes: int
    given: int
    needed: int
    asked: tuple[str, ...]
    says: str
    number: int | None = None

    def state(self, now: datetime) -> RequestState:
        return state_at(self.stored, self.lapses_at, now)

    def line(self, now: datetime) -> str:
        """The countdown."""
        votes = f"{self.given} of {self.needed} said yes; " if self.needed > 1 else ""
        if not self.escalated and now < self.escalates_at:
            woken = f"more people are woken in {span(self.escalates_at, now)}, "
        else:
            woken = "more people were woken, " if self.escalated else ""
        return f"Waiting: {votes}{woken}{self.label} lapses in {span(self.lapses_at, now)}"


def look(request_id: UUID) -> Standing:
    """The request as it is now. Raises Refused when the database is away."""
    with borrowed_db():
        row = queries.all_requests().get(pk=request_id)
        names = tuple(printable(person.get_full_name()) for person in queries.approvers_of(row))
        return Standing(
            id=row.pk,
            label=row.label,
            requester=row.requester.username,
            stored=RequestState(row.state),
            escalates_at=row.escalates_at,
            lapses_at=row.lapses_at,
            escalated=row.escalated_at is not None,
            votes=len(row.approvals.all()),
            given=sum(vote.verdict == Verdict.APPROVED for vote in row.approvals.all()),
            needed=queries.rule_of(row.playbook).count,
            asked=names,
            says=_answer(row),
            number=row.match_number,
        )


def _answer(row: AccessRequest) -> str:
    """Who said what, in words."""
    said = [
        f"{printable(vote.person.get_full_name())} {'said yes' if vote.verdict == Verdict.APPROVED else 'said no'}"
        + (f": {printable(vote.comment)}" if vote.comment else "")
        for vote in row.approvals.all()
    ]
    return "; ".join(said)


def until_decided(talk: Talk, request_id: UUID) -> Standing:
    """Wait, and return how it stands when it waits no more. Raises Stopped at Ctrl-C, EOFError when the person is gone,
    Refused when they may do nothing here any more."""
    standing = look(request_id)
    who = ", ".join(standing.asked[:MOST_NAMES]) + (" and others" if len(standing.asked) > MOST_NAMES else "")
    asked = f"Asked: {who}." if who else "Nobody can approve it now: call an administrator."
    talk.say(f"{asked} Ctrl-C stops the waiting; {standing.label} stays.")
    if standing.number is not None:
        talk.say(f"Your number is {standing.number}: say it to whoever approves.")
    talk.keep((standing.lapses_at - clock.now()).total_seconds() + AFTER_LAPSE)
    with talk.channel.deaf(), contextlib.closing(_rings(f"request:{request_id}", talk.channel)) as rings:
        return _watch(talk, standing, rings)


def _watch(talk: Talk, standing: Standing, rings: Iterator[bool]) -> Standing:
    shown, looked = Countdown(talk.channel), -LOOK_EVERY
    try:
        for rung in rings:
            if talk.channel.interrupted:
                raise Stopped
            if rung or clock.monotonic() - looked >= LOOK_EVERY:
                standing, looked = _look_again(talk, standing), clock.monotonic()
            now = clock.now()
            if standing.state(now) is not RequestState.PENDING:
                return standing
            shown.show(standing.line(now), (standing.given, standing.escalated))
    finally:
        shown.clear()
    return standing


def _look_again(talk: Talk, standing: Standing) -> Standing:
    """Two short questions, for many may wait; the long one only where something has changed."""
    try:
        with borrowed_db():
            talk.person()
            row = AccessRequest.objects.filter(pk=standing.id).annotate(votes=Count("approvals")).get()
            seen = (row.state, row.votes, row.lapses_at, row.escalated_at is not None)
        known = (standing.stored, standing.votes, standing.lapses_at, standing.escalated)
        return standing if seen == known else look(standing.id)
    except Refused as refused:
        if refused.refusal.code is RefusalCode.DATABASE_UNAVAILABLE:
            return standing  # nothing was decided that we could know of; the clock goes on
        raise


def _rings(topic: str, channel: LocalChannel) -> Generator[bool]:
    """True when the doorbell rang, False about each second without. Never ends by itself."""
    while True:
        with (
            contextlib.suppress(redis.RedisError, OSError, ValueError),
            contextlib.closing(doorbell.listen((topic,), timeout=TICK)) as heard,  # type: ignore[type-var]
        ):
            for rung in heard:
                channel.check()
                yield rung is not None
        for _ in range(TRY_REDIS_AGAIN):
            channel.check()
            yield False
            channel.pause(TICK)


class Countdown:
    """One line in place on a terminal; without one a line now and then, and when something happened."""

    def __init__(self, channel: LocalChannel) -> None:
        self._channel = channel
        self._last = ""
        self._fact: object = None
        self._said = 0.0

    def show(self, text: str, fact: object) -> None:
        if self._channel.pty:
            line = text[: max(20, self._channel.cols - 1)]
            if line != self._last:
                self._channel.write(f"\r{line}\x1b[K")
                self._last = line
            return
        now = clock.monotonic()
        if fact != self._fact or now - self._said >= PLAIN_EVERY:
            self._fact, self._said = fact, now
            self._channel.write(f"{text}\n", error=True)

    def clear(self) -> None:
        if self._last:
            self._last = ""
            with contextlib.suppress(EOFError):
                self._channel.write("\r\x1b[K")


def outcome(standing: Standing, now: datetime) -> str:
    """How it ended, in words."""
    match standing.state(now):
        case RequestState.APPROVED:
            return f"{standing.label} is approved: {standing.says}."
        case RequestState.DENIED:
            return f"{standing.label} is denied: {standing.says}."
        case RequestState.LAPSED:
            return f"{standing.label} lapsed: nobody answered. Send it again, or call the approvers."
        case RequestState.WITHDRAWN:
            return f"{standing.label} was withdrawn."
    return still_waits(standing.label, standing.requester)


def still_waits(label: str, person: str) -> str:
    """What who stops waiting should know."""
    return f"{label} still waits for its answer. To withdraw it: {ssh_command(person, f'withdraw {label}')}"
