"""Commands that end: one's own grants, somebody's session."""

from __future__ import annotations

import argparse

from breakglass import clock, queries, shapes
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.services import grants
from sessions import queries as session_queries
from sessions import services
from sessions import shapes as session_shapes
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.commands.asking import one_grant
from sessions.gateway.commands.talk import Answer, Command, Talk, Words, number
from sessions.models import SSHSession


def end(talk: Talk, said: argparse.Namespace) -> Answer:
    with borrowed_db():
        person, now = talk.person(), clock.now()
        held = [one_grant(person, said.grant)] if said.grant else list(queries.live_grants(person, now))
        for grant in held:
            grants.release(grant.pk, person, now)
        done = [queries.grant_for(person, grant.pk) for grant in held]
        data = {"released": [shapes.grant(grant, person, now) for grant in done]}
    text = f"{len(held)} released; a review follows.\n" if held else "You hold no live grant.\n"
    return Answer(text, data)


def kill(talk: Talk, said: argparse.Namespace) -> Answer:
    with borrowed_db():
        person, found = talk.person(), _named(said.session)
        asks = session_queries.kill_needs_factor(session_queries.session_for(person, found.pk))
    code = talk.ask(f"One-time code to end {found.label}: ", hidden=True) if asks else ""
    with borrowed_db():
        person = talk.person()
        services.kill(found.pk, person, said.reason, clock.now(), code.replace(" ", ""))
        row = session_queries.session_for(person, found.pk)
        return Answer(f"{found.label} is being ended.\n", session_shapes.session(row))


def freeze(talk: Talk, said: argparse.Namespace) -> Answer:
    with borrowed_db():
        person, found = talk.person(), _named(said.session)
        services.freeze(found.pk, person, said.reason, clock.now())
        row = session_queries.session_for(person, found.pk)
        return Answer(f"{found.label} is being frozen.\n", session_shapes.session(row))


def unfreeze(talk: Talk, said: argparse.Namespace) -> Answer:
    with borrowed_db():
        person, found = talk.person(), _named(said.session)
        services.unfreeze(found.pk, person, clock.now())
        row = session_queries.session_for(person, found.pk)
        return Answer(f"{found.label} goes on.\n", session_shapes.session(row))


def _named(label: str) -> SSHSession:
    found = SSHSession.objects.filter(number=number(label, "S-")).first()
    if found is None:
        raise refuse(RefusalCode.NOT_FOUND, what="session")
    return found


def _end_words() -> Words:
    words = Words("end", "you are done: release your grants, or one of them", "end REQ-4")
    words.add_argument("grant", nargs="?", help="the request that it came of, such as REQ-4; all without")
    return words


def _kill_words() -> Words:
    words = Words(
        "kill", "end a session at once; may ask for a one-time code", "kill S-7 --reason 'wrong machine'"
    )
    words.add_argument("session", help="such as S-7")
    words.add_argument("--reason", required=True, help="on record; the person is not told it")
    return words


def _freeze_words() -> Words:
    words = Words(
        "freeze",
        "hold what the person of a session sends",
        "freeze S-7 --reason 'is this the right machine?'",
    )
    words.add_argument("session", help="such as S-7")
    words.add_argument("--reason", default="", help="on record, and told to the person")
    return words


def _unfreeze_words() -> Words:
    words = Words("unfreeze", "let a frozen session go on", "unfreeze S-7")
    words.add_argument("session", help="such as S-7")
    return words


END = Command(_end_words(), end)
KILL = Command(_kill_words(), kill)
FREEZE = Command(_freeze_words(), freeze)
UNFREEZE = Command(_unfreeze_words(), unfreeze)
