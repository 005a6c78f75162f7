"""Commands that decide on a request: yes or no, each with a one-time code given for it."""

from __future__ import annotations

import argparse

from django.conf import settings

from breakglass import clock, queries, shapes
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import AccessRequest
from breakglass.services import approvals, override
from breakglass.unusual import unusual_facts
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.commands.asking import find_request
from sessions.gateway.commands.looking import plea_line
from sessions.gateway.commands.talk import Answer, Command, Talk, Words


def approve(talk: Talk, said: argparse.Namespace) -> Answer:
    return _decide(talk, said, "approve")


def deny(talk: Talk, said: argparse.Namespace) -> Answer:
    return _decide(talk, said, "deny")


def _decide(talk: Talk, said: argparse.Namespace, verb: str) -> Answer:
    with borrowed_db():
        wanted = find_request(talk.person(), said.request)
        talk_lines = [f"{wanted.label}: {plea_line(wanted)}"]
        if verb == "approve" and wanted.match_number is not None:
            talk_lines.append(f"  the requester sees the number {wanted.match_number}: let them say it first")
        talk_lines += [f"  unusual: {fact}" for fact in unusual_facts(wanted)]
    talk.say("\n".join(talk_lines))
    if verb == "approve":
        _refuse_override(talk, wanted)
    comment = said.comment
    if comment is None:
        comment = "" if talk.quiet else talk.ask("Comment: ")
    code = talk.ask(f"One-time code to {verb} {wanted.label}: ", hidden=True)
    act = approvals.approve if verb == "approve" else approvals.deny
    with borrowed_db():
        person, now = talk.person(), clock.now()
        act(wanted.pk, person, code.replace(" ", ""), comment, now)
        decided = queries.request_for(person, wanted.pk)
        waits = " and waits for another approver" if decided.state == "pending" else ""
        said_so = "Your yes is counted: " if waits else ""
        return Answer(f"{said_so}{decided.label} is {decided.state}{waits}.\n", shapes.request(decided, now))


def _refuse_override(talk: Talk, wanted: AccessRequest) -> None:
    """A supervisor for whom only the override is left decides on its page: it is loud, and says so there first."""
    with borrowed_db():
        person, now = talk.person(), clock.now()
        approver = bool(queries.groups_of(person) & queries.rule_of(wanted.playbook).groups)
        if approver or override.objection(wanted, person, now) is not None:
            return
    page = f"{settings.BREAKGLASS.public_url}/requests/{wanted.pk}/override/"
    words = f"You may decide alone, because nobody has answered. That is an override: read what it means at {page}"
    raise refuse(RefusalCode.NOT_OFFERED, what="Approving as a supervisor", help=words)


def _words(verb: str, summary: str) -> Words:
    words = Words(verb, summary, f"{verb} REQ-4 --comment 'as on the phone'")
    words.add_argument("request", help="such as REQ-4")
    words.add_argument("--comment", help="the requester reads it; needed to deny")
    return words


APPROVE = Command(_words("approve", "say yes to a request; asks for a one-time code"), approve)
DENY = Command(_words("deny", "say no to a request; asks for a one-time code"), deny)
