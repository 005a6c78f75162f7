"""Commands that ask: for access, for more time; and the taking back."""

from __future__ import annotations

import argparse
from uuid import UUID

from breakglass import clock, queries, shapes
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.requests import RequestState
from breakglass.models import AccessRequest, Grant, Incident, Person, PlaybookVersion
from breakglass.services import extensions, incidents, requests
from breakglass.services.extensions import ExtendForm
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.commands import waiting
from sessions.gateway.commands.talk import Answer, Command, Talk, Words, Wrong, minutes, number, ssh_command
from sessions.gateway.relay import printable

NEW = "new:"
MOST_INCIDENTS = 8
REASON = "What is broken, and what will you do? "
MORE = "What is still to do? "
STOPPED = 130


def request(talk: Talk, said: argparse.Namespace) -> Answer:
    length = minutes(said.length)
    with borrowed_db():
        version = _playbook(talk.person(), said.playbook)
        all_assets = tuple(queries.spec_of(version).assets) if version else ()
    _refuse_missing(talk, said, "incident", "reason")
    reason = said.reason or talk.ask(REASON)
    incident_id = incident(talk, said.incident, reason)
    form = requests.SubmitForm(
        playbook=version.slug if version else said.playbook,
        incident_id=incident_id,
        assets=tuple(said.asset) or all_assets,
        reason=reason,
        login=said.login,
        minutes=length,
    )
    with borrowed_db():
        sent = requests.submit(talk.person(), form, clock.now())
    return answer_to(talk, sent, wait=said.wait)


def extend(talk: Talk, said: argparse.Namespace) -> Answer:
    length = minutes(said.length)
    _refuse_missing(talk, said, "reason")
    with borrowed_db():
        grant = one_grant(talk.person(), said.grant)
    reason = said.reason or talk.ask(MORE)
    with borrowed_db():
        sent = extensions.ask(talk.person(), ExtendForm(grant.pk, reason, length), clock.now())
    return answer_to(talk, sent, wait=said.wait)


def withdraw(talk: Talk, said: argparse.Namespace) -> Answer:
    with borrowed_db():
        person, now = talk.person(), clock.now()
        found = find_request(person, said.request)
        requests.withdraw(found.pk, person, now)
        done = queries.request_for(person, found.pk)
        return Answer(f"{done.label} is withdrawn.\n", shapes.own_request(done, now))


def answer_to(talk: Talk, sent: AccessRequest, *, wait: bool) -> Answer:
    """Say that it is sent; and with `wait` how it ended: the status is 0 only where it was approved."""
    status, person = 0, sent.requester.username
    if not wait:
        more = f"`{ssh_command(person, 'status')}` says when it is approved."
        number = f" Your number is {sent.match_number}." if sent.match_number is not None else ""
        text = f"{sent.label} is sent.{number} {more}\n"
    else:
        talk.say(f"{sent.label} is sent.")
        try:
            standing = waiting.until_decided(talk, sent.pk)
            now = clock.now()
            text = f"{waiting.outcome(standing, now)}\n"
            status = 0 if standing.state(now) is RequestState.APPROVED else 1
        except waiting.Stopped:
            text, status = f"{waiting.still_waits(sent.label, person)}\n", STOPPED
    with borrowed_db():
        row, now = queries.all_requests().get(pk=sent.pk), clock.now()
        return Answer(text, shapes.own_request(row, now), status)


def incident(talk: Talk, said: str | None, reason: str) -> UUID:
    """The incident that is meant; `new: TITLE` opens one. Where nothing was said: the person's own, or asked for."""
    with borrowed_db():
        person = talk.person()
        if said is not None and said.lower().startswith(NEW):
            return _open(talk, person, said[len(NEW) :])
        if said is not None:
            return _labelled(said).pk
        own, others = open_incidents(person)
    if len(own) == 1:
        talk.say(f"For {own[0].label}, {printable(own[0].title)}.")
        return own[0].pk
    choices = [*own, *others][:MOST_INCIDENTS]
    title = ""
    if choices:
        names = [f"{case.label} {printable(case.title)}" for case in choices]
        place = talk.pick("For which incident?", [*names, "a new one"], 1 if own else len(choices) + 1)
        if place < len(choices):
            return choices[place].pk
        title = talk.ask("What happened, in a line? Enter takes your reason: ")
    with borrowed_db():
        return _open(talk, talk.person(), title or reason[:160])


def open_incidents(person: Person) -> tuple[list[Incident], list[Incident]]:
    """What is open: the person's own (they opened it, or asked under it), and everybody else's; newest first."""
    rows = list(queries.open_incidents()[:50])
    asked = set(AccessRequest.objects.filter(requester=person).values_list("incident_id", flat=True))
    own = [case for case in rows if case.opened_by_id == person.pk or case.pk in asked]
    return own, [case for case in rows if case not in own]


def one_grant(person: Person, name: str | None) -> Grant:
    """The live grant that is meant, by its request's label or its id; the only one where none was named."""
    held = list(queries.live_grants(person, clock.now()))
    if name:
        wanted = number(name, "REQ-")
        held = [grant for grant in held if grant.request.number == wanted or str(grant.pk) == name.lower()]
    if not held:
        raise refuse(RefusalCode.NOT_FOUND, what="live grant")
    if len(held) > 1:
        names = ", ".join(f"{grant.request.label} ({grant.playbook.title})" for grant in held)
        raise Wrong(f"You hold several grants. Name one: {names}\n")
    return held[0]


def find_request(person: Person, label: str) -> AccessRequest:
    found = AccessRequest.objects.filter(number=number(label, "REQ-")).first()
    if found is None:
        raise refuse(RefusalCode.NOT_FOUND, what="request")
    return queries.request_for(person, found.pk)


def _playbook(person: Person, slug: str) -> PlaybookVersion | None:
    """Also by the beginning of its name, among those that this person may request, where only one begins so."""
    version = queries.current_playbook(slug)
    if version is None and slug:
        begun = [known for known in queries.playbooks_for(person) if known.slug.startswith(slug)]
        version = begun[0] if len(begun) == 1 else None
    return version


def _labelled(label: str) -> Incident:
    found = Incident.objects.filter(number=number(label, "INC-")).first()
    if found is None:
        raise refuse(RefusalCode.NOT_FOUND, what="incident")
    return found


def _open(talk: Talk, person: Person, title: str) -> UUID:
    opened = incidents.open_incident(person, title.strip(), clock.now())
    talk.say(f"{opened.label} is opened: {printable(opened.title)}")
    return opened.pk


def _refuse_missing(talk: Talk, said: argparse.Namespace, *names: str) -> None:
    """Without a terminal nobody is asked: what is missing is named."""
    missing = [f"--{name}" for name in names if not getattr(said, name)]
    if missing and not talk.can_ask:
        raise Wrong(f"{' and '.join(missing)} missing. `help {said.command}` says more.\n")


def _request_words() -> Words:
    words = Words(
        "request",
        "ask for access",
        "request historian-down --incident 'new: No trends' --reason 'restart it' --wait",
    )
    words.add_argument("playbook", help="its name, as `playbooks` lists it; or the beginning of it")
    words.add_argument("--incident", help="an open one, such as INC-3, or 'new: what happened'")
    words.add_argument("--reason", help="what is broken, and what you will do")
    words.add_argument("--asset", action="append", default=[], help="only this asset; may be repeated")
    words.add_argument("--login", help="only this login")
    words.add_argument("--for", dest="length", metavar="45m", help="for how long")
    words.add_argument("--wait", action="store_true", help="wait for the answer; status 0 only when approved")
    return words


def _extend_words() -> Words:
    words = Words(
        "extend", "ask for more time under a grant that runs", "extend REQ-4 --for 30m --reason 'not done'"
    )
    words.add_argument(
        "grant", nargs="?", help="the request that it came of, such as REQ-4; your only one without"
    )
    words.add_argument("--reason", help="what is still to do")
    words.add_argument("--for", dest="length", metavar="30m", help="how much more")
    words.add_argument("--wait", action="store_true", help="wait for the answer; status 0 only when approved")
    return words


def _withdraw_words() -> Words:
    words = Words("withdraw", "take back a request that waits", "withdraw REQ-4")
    words.add_argument("request", help="such as REQ-4")
    return words


REQUEST = Command(_request_words(), request)
EXTEND = Command(_extend_words(), extend)
WITHDRAW = Command(_withdraw_words(), withdraw)
