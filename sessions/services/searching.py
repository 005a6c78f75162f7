"""Searching across all recordings that one may see. Who may see what is part of the query itself: nothing else is counted.

What a recording shows needs the right to replay it; whose session it was, where and why, and what was said beside it, the right
to see it; what reviewers wrote, the right to list reviews. The newest sessions come first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import Max, Min

from breakglass.domain import permissions
from breakglass.domain.permissions import Actor, Verb
from breakglass.models import Asset, Grant, Person, PlaybookVersion
from breakglass.queries import actor_of, rule_of
from sessions.models import SSHSession
from sessions.services import looks
from sessions.services.search_index import SHIFT, tag
from sessions.services.search_words import Term, is_enough, snippet, terms_of

SHOWN: Final = ("command", "output", "screen", "file")
"""What needs the right to replay."""
KNOWN: Final = ("person", "asset", "reason", "chat")
"""What needs the right to see the session."""
JUDGED: Final = ("note", "finding")
"""What needs the right to list reviews."""
KINDS: Final = (*SHOWN, *KNOWN, *JUDGED)

SESSIONS: Final = 20
HITS: Final = 4
_ROUND: Final = 120
_ROUNDS: Final = 12
_NEWEST: Final = 300


@dataclass(frozen=True)
class Wanted:
    """What is looked for; empty means any. `since` and `until` bound the opening of the session."""

    text: str
    person: str = ""
    asset: str = ""
    playbook: str = ""
    kind: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Hit:
    """A text that holds what was looked for: `parts` of its best line, each with whether it is a hit itself."""

    kind: str
    at: float | None
    parts: list[tuple[str, bool]]

    @property
    def text(self) -> str:
        return "".join(part for part, _ in self.parts)


@dataclass
class Found:
    """A session with hits, the earliest of its second first; `more` if there are others in it."""

    session: SSHSession
    hits: list[Hit] = field(default_factory=list)
    more: bool = False


@dataclass
class Results:
    """`enough`: whether enough was given to look for anything; `more`: older sessions have hits, too."""

    found: list[Found]
    enough: bool = True
    more: bool = False

    @property
    def hits(self) -> int:
        return sum(len(one.hits) for one in self.found)


@dataclass(frozen=True)
class _Part:
    """Kinds of texts that somebody may read: of their own sessions, of those under some playbooks, or of all."""

    kinds: tuple[str, ...]
    owner: UUID | None = None
    playbooks: tuple[Any, ...] | None = None


def search(person: Person, wanted: Wanted, now: datetime) -> Results:
    """The newest sessions in which it is found. What shows something of other people's sessions is noted for the audit
    trail first: reading what was recorded is viewing it."""
    terms = terms_of(wanted.text)
    if not is_enough(terms):
        return Results([], enough=False)
    results = _search(_parts(actor_of(person)), wanted, terms)
    others = [one.session.label for one in results.found if one.session.person_id != person.pk]
    if others:
        filters = {name: str(value) for name, value in vars(wanted).items() if value and name != "text"}
        looks.note(person, wanted.text, filters, others, now)
    return results


def _parts(actor: Actor) -> list[_Part]:
    """`permissions.may` as conditions. A test compares the two."""
    if not actor.active:
        return []
    if permissions.may(actor, Verb.LIST_SESSIONS) and permissions.may(actor, Verb.LIST_REVIEWS):
        return [_Part(KINDS)]
    parts = [_Part((*SHOWN, *KNOWN), owner=actor.id)]
    if permissions.ADMINISTRATORS in actor.groups:
        return [*parts, _Part(KNOWN)]
    approved = tuple(v.pk for v in PlaybookVersion.objects.all() if rule_of(v).groups & actor.groups)
    return [*parts, _Part(KNOWN, playbooks=approved)] if approved else parts


def _search(parts: list[_Part], wanted: Wanted, terms: list[Term]) -> Results:
    low, high = _numbers(wanted)
    tags = _tags(parts, wanted)
    results = Results([])
    if tags is None or not parts or low > high:
        return results
    hits: dict[UUID, list[tuple[str, float | None, str]]] = {}
    for first, last in _windows(low, high):
        results.more = _look(hits, parts, wanted, terms, tags, first, last)
        if len(hits) > SESSIONS:
            break
    results.more |= len(hits) > SESSIONS
    shown = list(hits.items())[:SESSIONS]
    sessions = SSHSession.objects.select_related(
        "person", "asset", "grant__playbook", "grant__incident", "recording"
    ).in_bulk([session_id for session_id, _ in shown])
    for session_id, texts in shown:
        results.found.append(_found(sessions[session_id], texts, terms))
    return results


def _windows(low: int, high: int) -> list[tuple[int, int]]:
    """Which sessions are looked at together. PostgreSQL either walks from the newest on, which is right for common words, or
    asks the index of words, which is right for rare ones, and guesses badly which they are: so the newest sessions come first, where
    nothing is slow, and what isn't often in these isn't common."""
    if connection.vendor != "postgresql" or high - low < _NEWEST:
        return [(low, high)]
    return [(high - _NEWEST + 1, high), (low, high - _NEWEST)]


def _look(
    hits: dict[UUID, list[tuple[str, float | None, str]]], parts: list[_Part], wanted: Wanted, terms: list[Term],
    tags: list[list[str]], first: int, last: int,
) -> bool:  # fmt: skip
    """Gather hits from the sessions of these numbers, the newest first. True where it gave up before the last of them."""
    top = (last + 1) << SHIFT
    for _ in range(_ROUNDS):
        rows = _rows(parts, wanted, terms, tags, first << SHIFT, top)
        for _, session_id, kind, at, text in rows:
            hits.setdefault(session_id, []).append((kind, at, text))
        if len(rows) < _ROUND or len(hits) > SESSIONS:
            return False
        top = (rows[-1][0] >> SHIFT) << SHIFT  # the next older session
    return True


def _found(session: SSHSession, texts: list[tuple[str, float | None, str]], terms: list[Term]) -> Found:
    texts = sorted(texts, key=lambda one: (KINDS.index(one[0]), one[1] or 0.0))
    hits = [Hit(kind, at, snippet(text, terms)) for kind, at, text in texts[:HITS]]
    return Found(session, hits, more=len(texts) > HITS)


def _numbers(wanted: Wanted) -> tuple[int, int]:
    """The numbers that sessions of that time have; they count up as sessions open."""
    sessions = SSHSession.objects.all()
    if wanted.since:
        sessions = sessions.filter(opened_at__gte=wanted.since)
    if wanted.until:
        sessions = sessions.filter(opened_at__lt=wanted.until)
    bounds = sessions.order_by().aggregate(low=Min("number"), high=Max("number"))
    return bounds["low"] or 0, bounds["high"] if bounds["high"] is not None else -1


def _tags(parts: list[_Part], wanted: Wanted) -> list[list[str]] | None:
    """What must be on a row, one of each list; None where nothing can be. It only saves work: `_rows` decides."""
    every: list[list[str]] = []
    for pick in (_whose, _kinds):
        any_of = _any_of(parts, pick)
        if any_of and any_of not in every:
            every.append(any_of)
    if wanted.person:
        people = Person.objects.filter(username=wanted.person).values_list("pk", flat=True)
        every.append([tag("u", pk) for pk in people])
    if wanted.asset:
        every.append(
            [tag("a", pk) for pk in Asset.objects.filter(name=wanted.asset).values_list("pk", flat=True)]
        )
    if wanted.playbook:
        versions = PlaybookVersion.objects.filter(slug=wanted.playbook).values_list("pk", flat=True)
        every.append([tag("v", pk) for pk in versions])
    if wanted.kind:
        every.append([tag("k", wanted.kind)])
    return every if all(every) else None


def _any_of(parts: list[_Part], pick: Callable[[_Part], list[str]]) -> list[str]:
    """The tags of which a row that any part allows has one. Empty where a part asks for none."""
    each = [pick(part) for part in parts]
    return list(dict.fromkeys(chain.from_iterable(each))) if all(each) else []


def _whose(part: _Part) -> list[str]:
    """Of whom a part's rows are: where it is of somebody's own, or under some playbooks; else of what kind they are."""
    if part.owner:
        return [tag("u", part.owner)]
    if part.playbooks is not None:
        return [tag("v", pk) for pk in part.playbooks]
    return _kinds(part)


def _kinds(part: _Part) -> list[str]:
    """Of what kind they are; of what is somebody's own, whose: they may read nearly all of it."""
    if part.owner:
        return [tag("u", part.owner)]
    return [] if part.kinds == KINDS else [tag("k", kind) for kind in part.kinds]


def _rows(
    parts: list[_Part], wanted: Wanted, terms: list[Term], tags: list[list[str]], low: int, high: int
) -> list[tuple[int, UUID, str, float | None, str]]:
    allowed, values = _condition(parts)
    session, grant = SSHSession._meta.db_table, Grant._meta.db_table
    where = [f"({allowed})"]
    for bound, sign in ((wanted.since, ">="), (wanted.until, "<")):
        if bound:
            where.append(f"s.opened_at {sign} %s")
            values.append(_prepared(SSHSession, "opened_at", bound))
    if connection.vendor == "postgresql":
        source = (
            f"gateway_searchrow r JOIN {session} s ON s.id = r.session_id JOIN {grant} g ON g.id = s.grant_id"
        )
        where.append("r.words @@ %s::tsquery AND r.id >= %s AND r.id < %s")
        values += [_tsquery(terms, tags), low, high]
    else:  # CROSS JOIN: in this order, which is the order of the ids
        source = (
            f"gateway_searchwords CROSS JOIN gateway_searchrow r ON r.id = gateway_searchwords.rowid "
            f"CROSS JOIN {session} s ON s.id = r.session_id CROSS JOIN {grant} g ON g.id = s.grant_id"
        )
        where.append(
            "gateway_searchwords MATCH %s AND gateway_searchwords.rowid >= %s AND gateway_searchwords.rowid < %s"
        )
        values += [_match(terms, tags), low, high]
    # A sum, for which there is no index: else every row is walked by, should the words be rarer than it thought.
    whole = high - low > _NEWEST << SHIFT
    in_order = "(r.id + 0)" if whole else "r.id"
    order = in_order if connection.vendor == "postgresql" else "gateway_searchwords.rowid"
    statement = (
        f"SELECT r.id, r.session_id, r.kind, r.at_seconds, r.text FROM {source} "
        f"WHERE {' AND '.join(where)} ORDER BY {order} DESC LIMIT {_ROUND}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        found = cursor.fetchall()
    return [
        (key, session_id if isinstance(session_id, UUID) else UUID(session_id), kind, at, text)
        for key, session_id, kind, at, text in found
    ]


def _condition(parts: list[_Part]) -> tuple[str, list[Any]]:
    said: list[str] = []
    values: list[Any] = []
    for part in parts:
        one = [f"r.kind IN ({', '.join(['%s'] * len(part.kinds))})"]
        values += part.kinds
        if part.owner:
            one.append("s.person_id = %s")
            values.append(_prepared(SSHSession, "person", part.owner))
        if part.playbooks is not None:
            one.append(f"g.playbook_id IN ({', '.join(['%s'] * len(part.playbooks))})")
            values += [_prepared(Grant, "playbook", pk) for pk in part.playbooks]
        said.append(f"({' AND '.join(one)})")
    return " OR ".join(said), values


def _prepared(model: Any, name: str, value: Any) -> Any:
    return model._meta.get_field(name).get_db_prep_value(value, connection)


def _match(terms: list[Term], tags: list[list[str]]) -> str:
    """FTS5's spelling; words and tags are letters and digits alone."""
    said = [f'(words : "{" ".join(term.words)}"{" *" if term.open else ""})' for term in terms]
    said += [f"(tags : ({' OR '.join(any_of)}))" for any_of in tags]
    return " AND ".join(said)


def _tsquery(terms: list[Term], tags: list[list[str]]) -> str:
    """PostgreSQL's spelling of the same."""
    said = []
    for term in terms:
        words = [f"'{word}'" for word in term.words]
        said.append(f"({' <-> '.join(words)}{':*' if term.open else ''})")
    for any_of in tags:
        quoted = [f"'#{one}'" for one in any_of]
        said.append(f"({' | '.join(quoted)})")
    return " & ".join(said)
