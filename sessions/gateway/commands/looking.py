"""Commands that look: what is mine, what may be asked for, what waits, who was where."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from django.conf import settings

from breakglass import clock, queries, shapes
from breakglass.domain.grants import GrantState, state_at
from breakglass.domain.requests import RequestState
from breakglass.models import AccessRequest, Grant, Person, PlaybookVersion
from sessions import queries as session_queries
from sessions import shapes as session_shapes
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.commands.talk import Answer, Command, Talk, Words
from sessions.gateway.hostkey import public_line
from sessions.gateway.relay import printable
from sessions.models import SSHSession
from sessions.queries import SessionFilter

MOST = 20


def status(talk: Talk, said: argparse.Namespace) -> Answer:
    now, url = clock.now(), settings.BREAKGLASS.public_url
    with borrowed_db():
        person = talk.person()
        held, asked, waiting = mine(person, now)
        lines = []
        for grant in held:
            lines.append(grant_line(grant, now))
            lines += [f"  {command}" for command in shapes.grant(grant, person, now)["ssh"]]
        lines += [f"{row.label} waits for approval{number_line(row)}: {row.title}" for row in asked]
        lines += [f"{row.label} waits for you: {plea_line(row)}" for row in waiting]
        data = {
            "person": person.username,
            "now": now,
            "url": f"{url}/",
            "grants": [shapes.grant(grant, person, now) for grant in held],
            "requests": [shapes.own_request(row, now) for row in asked],
            "waiting": [shapes.request(row, now) for row in waiting],
        }
    text = "\n".join(lines or [f"You hold no live grant. Request access here or at {url}/"])
    return Answer(f"{text}\n", data)


def mine(person: Person, now: datetime) -> tuple[list[Grant], list[AccessRequest], list[AccessRequest]]:
    """The person's live grants, their pending requests, and what waits for their decision."""
    pending = queries.requests_of(person).filter(state=RequestState.PENDING, lapses_at__gt=now)
    return (
        list(queries.live_grants(person, now)),
        list(pending.order_by("number")[:MOST]),
        queries.inbox_of(person, now)[:MOST],
    )


def grant_line(grant: Grant, now: datetime) -> str:
    """A grant in one line: what, for what, how long."""
    names = ", ".join(sorted(asset.name for asset in grant.assets.all()))
    if state_at(grant.term, now) is GrantState.ARMED or grant.ends_at is None:
        left = f"its {grant.minutes} min begin with the first login"
    else:
        left = f"{span(grant.ends_at, now)} left, until {grant.ends_at:%H:%M:%S} UTC"
    return f"{grant.playbook.title}: {names}, {grant.incident.label}, {left}"


def number_line(row: AccessRequest) -> str:
    """What its requester tells the approver, so that both mean the same request."""
    return f" (its number is {row.match_number})" if row.match_number is not None else ""


def plea_line(row: AccessRequest) -> str:
    """A request in one line, as an approver reads it."""
    much = f"{row.minutes} min more" if row.extends_id else f"{row.minutes} min"
    who = printable(row.requester.get_full_name())
    return f"{who}, {row.title}, {much}, {row.incident.label}: {printable(row.reason)}"


def span(until: datetime, now: datetime) -> str:
    """4:09, or 1:04:09."""
    whole = max(0, int((until - now).total_seconds()))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def playbooks(talk: Talk, said: argparse.Namespace) -> Answer:
    with borrowed_db():
        found = queries.playbooks_for(talk.person())
        rows = [playbook_shape(version) for version in found]
    lines = [f"{row['slug']:32} {row['title']}: {', '.join(row['assets'])}" for row in rows]
    text = "\n".join(lines or ["There is no playbook that you may request."])
    return Answer(f"{text}\n", {"playbooks": rows})


def playbook_shape(version: PlaybookVersion) -> dict[str, Any]:
    spec = queries.spec_of(version)
    return {
        "slug": version.slug,
        "version": version.version,
        "digest": version.digest,
        "title": version.title,
        "purpose": spec.purpose,
        "assets": list(spec.assets),
        "logins": list(spec.logins),
        "default_minutes": spec.duration.default_minutes,
        "max_minutes": spec.duration.max_minutes,
        "approver_groups": sorted(spec.approvers.groups),
        "approvals_needed": spec.approvers.count,
    }


def sessions(talk: Talk, said: argparse.Namespace) -> Answer:
    with borrowed_db():
        wanted = SessionFilter(open_only=said.open)
        rows = list(session_queries.sessions_for(talk.person(), wanted)[:MOST])
        lines = [
            f"{row.label:8} {row.opened_at:%Y-%m-%d %H:%M} {row.person.username} {row.login}@{row.asset.name} "
            f"{_standing(row)} {printable(row.end_reason)}".rstrip()
            for row in rows
        ]
        data = {"sessions": [session_shapes.session(row) for row in rows]}
    text = "\n".join(lines or ["There are no sessions."])
    return Answer(f"{text}\n", data)


def _standing(row: SSHSession) -> str:
    return "frozen" if row.frozen_at and not row.end_reason else row.state


def known_hosts(talk: Talk, said: argparse.Namespace) -> Answer:
    """The gateway's line, and one for each asset that the person holds, as `ssh -J` sees it."""
    config = settings.BREAKGLASS
    with borrowed_db():
        held = queries.live_grants(talk.person(), clock.now())
        names = sorted({asset.name for grant in held for asset in grant.assets.all()})
    lines = [f"[{config.gateway_host}]:{config.gateway_port} {public_line()}"]
    lines += [f"{name} {public_line(name)}" for name in names]
    return Answer("\n".join(lines) + "\n", {"known_hosts": lines})


def _sessions_words() -> Words:
    words = Words("sessions", "sessions that you may see, newest first", "sessions --open")
    words.add_argument("--open", action="store_true", help="only those that live now")
    return words


STATUS = Command(Words("status", "what you hold, what you asked for, what waits for you"), status)
PLAYBOOKS = Command(Words("playbooks", "what you may request"), playbooks)
SESSIONS = Command(_sessions_words(), sessions)
KNOWN_HOSTS = Command(
    Words("known-hosts", "the lines for your known_hosts file, those for `ssh -J` too"), known_hosts
)
