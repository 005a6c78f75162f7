"""The console's commands: each calls one service, as the page does. Nothing here holds a database while somebody types."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn
from uuid import UUID

from django.conf import settings

from breakglass import clock, queries
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import AccessRequest, Incident, Person
from breakglass.services import approvals, grants, requests
from sessions import queries as session_queries
from sessions import services
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.hostkey import public_line
from sessions.gateway.local import LocalChannel
from sessions.gateway.relay import printable
from sessions.models import SSHSession
from sessions.queries import SessionFilter

HELP = """\
Commands:
  status                what you hold, what you asked for, and the ssh command to use
  playbooks             what you may request
  request PLAYBOOK --incident INC-1 --reason "..." [--asset NAME ...] [--login NAME] [--for MINUTES]
  approve REQ-1, deny REQ-1  decide on a request; asks for a one-time code
  end                   release your grants: you are done
  sessions              sessions you may see, newest first
  kill S-1 --reason "..."  end a session at once
  known-hosts           the lines for your known_hosts file, those for `ssh -J` too
  help, exit

The page, with everything else: {url}
"""


class Wrong(Exception):
    """The words of a command don't fit; the message says how they should."""


class _Words(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Wrong(f"{message}\n{self.format_usage()}")


class Talk:
    """One person at one console channel."""

    def __init__(self, channel: LocalChannel, person_id: UUID) -> None:
        self.channel = channel
        self._person_id = person_id

    def person(self) -> Person:
        """The person as they are now: whoever was disabled meanwhile can do nothing here."""
        person = Person.objects.get(pk=self._person_id)
        if not person.is_active:
            raise refuse(RefusalCode.PERSON_INACTIVE, person=person.username)
        return person

    def ask(self, question: str) -> str:
        return self.channel.ask(question).strip()


Command = Callable[[Talk, list[str]], str]


def help_(talk: Talk, words: list[str]) -> str:
    return HELP.format(url=settings.BREAKGLASS.public_url)


def status(talk: Talk, words: list[str]) -> str:
    now, config = clock.now(), settings.BREAKGLASS
    lines = []
    with borrowed_db():
        person = talk.person()
        for grant in queries.live_grants(person, now):
            end = grant.ends_at
            until = (
                f"until {end:%H:%M:%S} UTC ({int((end - now).total_seconds()) // 60} min)"
                if end
                else "not begun"
            )
            lines.append(f"{grant.playbook.title}, {grant.incident.label}, {until}")
            lines += [
                f"  ssh -p {config.gateway_port} {person.username}+{login}@{asset.name}@{config.gateway_host}"
                for asset in grant.assets.all()
                for login in grant.logins
            ]
        pending = [request for request in queries.requests_of(person)[:20] if request.state == "pending"]
        lines += [f"{request.label} waits for approval: {request.playbook.title}" for request in pending]
        for request in queries.inbox_of(person, now):
            lines.append(
                f"{request.label} waits for you: {request.requester.get_full_name()}, {request.playbook.title}, "
                f"{request.incident.label}: {printable(request.reason)}"
            )
    if not lines:
        lines.append(f"You hold no live grant. Request access here or at {config.public_url}/")
    return "\n".join(lines) + "\n"


def playbooks(talk: Talk, words: list[str]) -> str:
    with borrowed_db():
        found = queries.playbooks_for(talk.person())
        lines = [f"{version.slug:32} {version.title}" for version in found]
    return "\n".join(lines or ["There is no playbook that you may request."]) + "\n"


def sessions(talk: Talk, words: list[str]) -> str:
    with borrowed_db():
        rows = session_queries.sessions_for(talk.person(), SessionFilter())[:20]
        lines = [
            f"{row.label:8} {row.opened_at:%Y-%m-%d %H:%M} {row.person.username} {row.login}@{row.asset.name} "
            f"{row.state} {row.end_reason}".rstrip()
            for row in rows
        ]
    return "\n".join(lines or ["There are no sessions."]) + "\n"


def known_hosts(talk: Talk, words: list[str]) -> str:
    """The gateway's line, and one for each asset that the person holds, as `ssh -J` sees it."""
    config = settings.BREAKGLASS
    with borrowed_db():
        held = queries.live_grants(talk.person(), clock.now())
        names = sorted({asset.name for grant in held for asset in grant.assets.all()})
    lines = [f"[{config.gateway_host}]:{config.gateway_port} {public_line()}"]
    return "\n".join(lines + [f"{name} {public_line(name)}" for name in names]) + "\n"


def request(talk: Talk, words: list[str]) -> str:
    parser = _Words(prog="request", add_help=False)
    parser.add_argument("playbook")
    parser.add_argument("--incident", required=True)
    parser.add_argument("--reason", required=True)
    parser.add_argument("--asset", action="append", default=[])
    parser.add_argument("--login")
    parser.add_argument("--for", dest="minutes")
    said = parser.parse_args(words)
    with borrowed_db():
        version = queries.current_playbook(said.playbook)
        assets = tuple(said.asset) or (tuple(queries.spec_of(version).assets) if version else ())
        form = requests.SubmitForm(
            playbook=said.playbook,
            incident_id=_incident(said.incident).pk,
            assets=assets,
            reason=said.reason,
            login=said.login,
            minutes=_minutes(said.minutes),
        )
        sent = requests.submit(talk.person(), form, clock.now())
        return f"{sent.label} is sent. `status` says when it is approved.\n"


def approve(talk: Talk, words: list[str]) -> str:
    return _decide(talk, words, "approve")


def deny(talk: Talk, words: list[str]) -> str:
    return _decide(talk, words, "deny")


def _decide(talk: Talk, words: list[str], verb: str) -> str:
    parser = _Words(prog=verb, add_help=False)
    parser.add_argument("request")
    parser.add_argument("--comment", default="")
    said = parser.parse_args(words)
    with borrowed_db():
        wanted = _request(talk.person(), said.request)
        asked_by, title = wanted.requester.get_full_name(), wanted.playbook.title
    talk.channel.write(f"{wanted.label}: {asked_by}, {title}: {printable(wanted.reason)}\n")
    comment = said.comment or talk.ask("Comment: ")
    code = talk.ask(f"One-time code to {verb} {wanted.label}: ")
    act = approvals.approve if verb == "approve" else approvals.deny
    with borrowed_db():
        decided = act(wanted.pk, talk.person(), code, comment, clock.now())
        return f"{decided.label} is {decided.state}.\n"


def end(talk: Talk, words: list[str]) -> str:
    with borrowed_db():
        person, now = talk.person(), clock.now()
        held = list(queries.live_grants(person, now))
        for grant in held:
            grants.release(grant.pk, person, now)
    return f"{len(held)} released; a review follows.\n" if held else "You hold no live grant.\n"


def kill(talk: Talk, words: list[str]) -> str:
    parser = _Words(prog="kill", add_help=False)
    parser.add_argument("session")
    parser.add_argument("--reason", required=True)
    said = parser.parse_args(words)
    with borrowed_db():
        found = SSHSession.objects.filter(number=_number(said.session, "S-")).first()
        if found is None:
            raise refuse(RefusalCode.NOT_FOUND, what="session")
        services.kill(found.pk, talk.person(), said.reason, clock.now())
        return f"{found.label} is being ended.\n"


def _request(person: Person, label: str) -> AccessRequest:
    found = AccessRequest.objects.filter(number=_number(label, "REQ-")).first()
    if found is None:
        raise refuse(RefusalCode.NOT_FOUND, what="request")
    return queries.request_for(person, found.pk)


def _incident(label: str) -> Incident:
    found = Incident.objects.filter(number=_number(label, "INC-")).first()
    if found is None:
        raise refuse(RefusalCode.NOT_FOUND, what="incident")
    return found


def _number(label: str, prefix: str) -> int:
    """The number of a label, with or without its letters. What isn't one names nothing."""
    digits = label.upper().removeprefix(prefix)
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 9 else -1


def _minutes(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.removesuffix("m")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 5):
        raise Wrong("--for takes minutes, as in --for 45m")
    return int(digits)


COMMANDS: dict[str, Command] = {
    "help": help_,
    "status": status,
    "playbooks": playbooks,
    "request": request,
    "approve": approve,
    "deny": deny,
    "end": end,
    "sessions": sessions,
    "kill": kill,
    "known-hosts": known_hosts,
}
