"""Which parts of a recording a reviewer has watched: told by the player, kept merged and bounded, one row a person.

What is told counts only within a viewing: of what this person was given of the recording, and no more of it than can have
been watched since the viewing began.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from breakglass.domain import permissions
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Person
from breakglass.queries import actor_of
from sessions import spans
from sessions.models import Coverage, Recording, SSHSession
from sessions.queries import session_for, thing_of_session
from sessions.services import replaying
from sessions.spans import Span
from sessions.states import RecordingState

MOST_AT_ONCE = 500
FASTEST = 16
"""Nobody watches faster than the player plays. What counts is slower, so that a late message is no lie."""
_ROUNDED = 0.1


@dataclass(frozen=True)
class Proof:
    """What a player shows for what it tells: the ticket of its viewing and the receipts of the chunks that it was given."""

    ticket: str = ""
    receipts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What one person has watched of one recording, in seconds."""

    session_id: UUID
    spans: tuple[Span, ...]
    seconds: float

    @property
    def percent(self) -> int:
        return spans.percent(self.spans, self.seconds)

    @property
    def unseen(self) -> list[Span]:
        return spans.missing(self.spans, self.seconds)


def measures(person: Person, session: SSHSession) -> bool:
    """Whether what this person watches of this session is measured: they may replay it and could judge it."""
    actor, thing = actor_of(person), thing_of_session(session)
    return permissions.may(actor, Verb.REPLAY_SESSION, thing) and permissions.may(
        actor, Verb.SIGN_REVIEW, thing
    )


def tell(session_id: UUID, person: Person, ranges: object, proof: Proof, now: datetime) -> Seen:
    """These parts were played to this person, in a viewing of theirs.

    Raises Refused as `add`; `not_allowed` without the ticket of a viewing of one's own; `bad_input` for a part that this
    person wasn't given, or for more than can have been watched since, at 16 times the speed with every pause cut.
    """
    session, recording = _counted(session_id, person)
    fresh = _read(ranges, recording.seconds)
    begun = replaying.begun(recording, person, proof.ticket)
    tape = replaying.tape_of(recording, person, now)
    given = [
        (span[0] - _ROUNDED, span[1] + _ROUNDED)
        for span in replaying.served(recording, person, proof.receipts, tape)
    ]
    if any(not any(begin <= one[0] and one[1] <= end for begin, end in given) for one in fresh):
        raise refuse(RefusalCode.BAD_INPUT, problem="Only what this replay was given can have been watched.")
    most = begun.busy + FASTEST * max(0.0, now.timestamp() - begun.at)

    def check(whole: Sequence[Span]) -> None:
        if spans.busy(whole, tape.seconds, tape.activity, replaying.PAUSE_SECONDS) > most:
            raise refuse(
                RefusalCode.BAD_INPUT,
                problem="Nobody can have watched that much since this replay was opened.",
            )

    return _add(session, person, fresh, now, check)


def add(session_id: UUID, person: Person, ranges: object, now: datetime) -> Seen:
    """These parts, `[[from, to], ...]` in seconds of the recording, count as played to this person; added to what they had seen.

    Raises Refused `not_found`; `not_allowed` for who doesn't review it; `recording_open` while its length isn't known;
    `bad_input` for anything but up to 500 pairs of finite numbers. Nothing outside the recording counts.
    """
    session, recording = _counted(session_id, person)
    return _add(session, person, _read(ranges, recording.seconds), now)


def _counted(session_id: UUID, person: Person) -> tuple[SSHSession, Recording]:
    session = session_for(person, session_id)
    if not measures(person, session):
        who = permissions.WHO_CAN[Verb.SIGN_REVIEW]
        raise refuse(RefusalCode.NOT_ALLOWED, verb="have counted what you watch of this session", who=who)
    if session.recording.state == RecordingState.OPEN:
        raise refuse(RefusalCode.RECORDING_OPEN)
    return session, session.recording


def _add(
    session: SSHSession,
    person: Person,
    fresh: list[Span],
    now: datetime,
    check: Callable[[Sequence[Span]], None] = lambda whole: None,
) -> Seen:
    with transaction.atomic():
        Coverage.objects.get_or_create(session=session, person=person, defaults={"updated_at": now})
        row = Coverage.objects.select_for_update(no_key=True).get(session=session, person=person)
        whole = spans.merged([*row.ranges, *fresh], session.recording.seconds)
        check(whole)
        row.ranges = [list(span) for span in whole]
        row.updated_at = now
        row.save(update_fields=("ranges", "updated_at"))
    return _seen(row, session)


def of(person: Person, sessions: Sequence[SSHSession]) -> dict[UUID, Seen]:
    """What this person has watched of each of these sessions, in one query."""
    rows = Coverage.objects.filter(person=person, session__in=sessions)
    known = {row.session_id: row for row in rows}
    return {session.pk: _seen(known.get(session.pk), session) for session in sessions}


def _read(ranges: object, length: float) -> list[Span]:
    if not isinstance(ranges, list) or len(ranges) > MOST_AT_ONCE:
        raise refuse(RefusalCode.BAD_INPUT, problem=f"Send a list of at most {MOST_AT_ONCE} [from, to].")
    try:
        return spans.merged(ranges, length)
    except ValueError as error:
        raise refuse(RefusalCode.BAD_INPUT, problem=f"Send [from, to] in seconds: {error}.") from error


def _seen(row: Coverage | None, session: SSHSession) -> Seen:
    recording = getattr(session, "recording", None)
    length = recording.seconds if recording is not None else 0.0
    return Seen(session.pk, tuple(spans.merged(row.ranges if row else [], length)), length)
