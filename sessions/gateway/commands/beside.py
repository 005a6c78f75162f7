"""Commands beside a session and after it: saying something to who is in one, and what waits for a reviewer."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from django.conf import settings

from breakglass import clock
from breakglass.domain import permissions
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.queries import actor_of
from sessions import queries, queries_reviews
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.commands.looking import MOST, span
from sessions.gateway.commands.talk import Answer, Command, Talk, Words, number
from sessions.gateway.relay import printable
from sessions.models import Review, SSHSession
from sessions.services import chat, claims


def say(talk: Talk, said: argparse.Namespace) -> Answer:
    with borrowed_db():
        person = talk.person()
        found = SSHSession.objects.filter(number=number(said.session, "S-")).first()
        if found is None:
            raise refuse(RefusalCode.NOT_FOUND, what="session")
        row = chat.say(found.pk, person, " ".join(said.text), clock.now())
        data = {"id": row.pk, "session": found.label, "at": row.at, "text": row.text}
        return Answer(f"Said beside {found.label}.\n", data)


def reviews(talk: Talk, said: argparse.Namespace) -> Answer:
    """What this person could sign, the earliest due first, and the findings that nobody has closed."""
    url, now = settings.BREAKGLASS.public_url, clock.now()
    with borrowed_db():
        person = talk.person()
        rows = list(queries.reviews_to_sign(person)[:MOST])
        lists = permissions.may(actor_of(person), Verb.LIST_REVIEWS)
        late = queries_reviews.findings(state="open", late_at=now)[:MOST] if lists else []
        shown = [_review(row, person.username, now) for row in rows]
        open_findings: list[dict[str, Any]] = [
            {
                "id": row.pk,
                "severity": row.severity,
                "text": row.text,
                "due_at": row.due_at,
                "owner": row.owner,
            }
            for row in late
        ]
    lines = [
        f"{row['request']:8} {printable(row['name'])}, {row['playbook']}: {_left(row, now)}{_standing(row)}  {row['url']}"
        for row in shown
    ]
    lines += [
        f"finding {row['id']} ({row['severity']}) is overdue: {printable(row['text'][:60])}  {url}/findings/{row['id']}/"
        for row in open_findings
    ]
    data = {"reviews": shown, "findings": open_findings}
    return Answer("\n".join(lines or ["No review waits for you."]) + "\n", data)


def _review(row: Review, me: str, now: datetime) -> dict[str, Any]:
    claim = claims.of(row, now)
    whose = ""
    if claim is not None:
        whose = ", you have it" if claim.person.username == me else f", {claim.person.get_full_name()} has it"
    if row.needs_second:
        whose = f", of an override{', the second signature' if row.reviewer_id else ', two sign'}{whose}"
    return {
        "id": row.pk,
        "request": row.grant.request.label,
        "name": row.grant.person.get_full_name(),
        "person": row.grant.person.username,
        "playbook": row.grant.playbook.slug,
        "due_at": row.due_at,
        "needs_second": row.needs_second,
        "claimed_by": claim.person.username if claim else None,
        "standing": printable(whose.removeprefix(", ")),
        "url": f"{settings.BREAKGLASS.public_url}/reviews/{row.pk}/",
    }


def _left(row: dict[str, Any], now: datetime) -> str:
    late = row["due_at"] <= now
    return f"overdue by {span(now, row['due_at'])}" if late else f"due in {span(row['due_at'], now)}"


def _standing(row: dict[str, Any]) -> str:
    return f", {row['standing']}" if row["standing"] else ""


def _say_words() -> Words:
    words = Words(
        "say", "write beside a session that runs; its person reads it", "say S-7 is that the right disk?"
    )
    words.add_argument("session", help="such as S-7")
    words.add_argument("text", nargs="+", help="what you say; part of the record")
    return words


SAY = Command(_say_words(), say)
REVIEWS = Command(Words("reviews", "the reviews that wait for you, and findings that are overdue"), reviews)
