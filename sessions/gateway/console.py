"""What `ssh PERSON@GATEWAY [COMMAND]` offers: the same services as the page, in lines of text."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from django.conf import settings

from breakglass import clock, queries
from breakglass.domain.refusals import Refused
from breakglass.models import Person
from sessions import queries as session_queries
from sessions.gateway.authn import Identity
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.hostkey import public_line
from sessions.gateway.local import LocalChannel
from sessions.gateway.relay import printable
from sessions.queries import SessionFilter

HELP = """\
Commands:
  status      your live grants and pending requests, with the ssh command to use
  playbooks   what you may request
  sessions    sessions you may see, newest first
  known-hosts the line for your known_hosts file
  help        this text
  exit        leave

Ask for access, approve and release at {url}
"""


def serve(channel: LocalChannel, identity: Identity, command: str | None) -> int:
    """One command, or a menu until the person leaves. Returns the exit status."""
    if command is not None:
        return _run(channel, identity, command)
    channel.write(f"Breakglass. You are {identity.username}; no machine is reached from here.\n\n")
    _run(channel, identity, "status")
    channel.write("\n" + HELP.format(url=settings.BREAKGLASS.public_url))
    while True:
        line = channel.ask("\nbreakglass> ").strip()
        if line in {"exit", "quit", "logout"}:
            return 0
        if line:
            _run(channel, identity, line)


def _run(channel: LocalChannel, identity: Identity, line: str) -> int:
    try:
        words = shlex.split(line)
    except ValueError:
        words = []
    act = COMMANDS.get(words[0] if words else "")
    if act is None:
        channel.write(f"There is no command {printable(line)[:60]}. Try help.\n", error=True)
        return 2
    try:
        with borrowed_db():
            person = Person.objects.get(pk=identity.person_id)
            text = act(person)
    except Refused as refused:
        channel.write(f"Breakglass: {refused.refusal}\n", error=True)
        return 1
    channel.write(text)
    return 0


def _help(person: Person) -> str:
    return HELP.format(url=settings.BREAKGLASS.public_url)


def _status(person: Person) -> str:
    now, config = clock.now(), settings.BREAKGLASS
    lines = []
    for grant in queries.live_grants(person, now):
        end = grant.ends_at
        until = (
            f"until {end:%H:%M:%S} UTC ({int((end - now).total_seconds()) // 60} min)" if end else "not begun"
        )
        lines.append(f"{grant.playbook.title}, {grant.incident.label}, {until}")
        for asset in grant.assets.all():
            for login in grant.logins:
                lines.append(
                    f"  ssh -p {config.gateway_port} {person.username}+{login}@{asset.name}@{config.gateway_host}"
                )
    pending = [request for request in queries.requests_of(person)[:20] if request.state == "pending"]
    lines += [f"{request.label} waits for approval: {request.playbook.title}" for request in pending]
    waiting = queries.inbox_of(person, now)
    if waiting:
        lines.append(f"{len(waiting)} requests wait for your decision: {config.public_url}/")
    if not lines:
        lines.append(f"You hold no live grant. Request access at {config.public_url}/")
    return "\n".join(lines) + "\n"


def _playbooks(person: Person) -> str:
    lines = [f"{version.slug:28} {version.title}" for version in queries.playbooks_for(person)]
    return "\n".join(lines or ["There is no playbook that you may request."]) + "\n"


def _sessions(person: Person) -> str:
    rows = session_queries.sessions_for(person, SessionFilter())[:20]
    lines = [
        f"{row.label:8} {row.opened_at:%Y-%m-%d %H:%M} {row.person.username} {row.login}@{row.asset.name} "
        f"{row.state} {row.end_reason}".rstrip()
        for row in rows
    ]
    return "\n".join(lines or ["There are no sessions."]) + "\n"


def _known_hosts(person: Person) -> str:
    config = settings.BREAKGLASS
    return f"[{config.gateway_host}]:{config.gateway_port} {public_line()}\n"


COMMANDS: dict[str, Callable[[Person], str]] = {
    "help": _help,
    "status": _status,
    "playbooks": _playbooks,
    "sessions": _sessions,
    "known-hosts": _known_hosts,
}
