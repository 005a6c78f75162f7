"""Beside a session: who watches it, and the chat. A part for any page, alive by itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from breakglass import clock
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import Refusal, Refused
from breakglass.models import Person
from breakglass.web import live
from breakglass.web.who import can, person_of
from sessions import queries
from sessions.models import SSHSession
from sessions.services import chat, escort, watching
from sessions.states import OPEN_STATES

WATCHERS = "gateway/parts/watchers.html"
CHAT = "gateway/parts/chat.html"
SHOWN = 100


def besides(session: SSHSession, person: Person) -> dict[str, Any]:
    """What `gateway/parts/beside.html` needs; empty where this person is no part of it."""
    is_open = session.state in OPEN_STATES
    may_chat = can(person, Verb.CHAT_SESSION, queries.thing_of_session(session))
    return {"session": session, "is_open": is_open, "may_chat": is_open and may_chat}


@require_safe
def session_beside(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """The whole part, for a page that learns only later which session it is about."""
    person = person_of(request)
    session = queries.session_for(person, session_id)
    return render(request, "gateway/parts/beside.html", besides(session, person))


@require_safe
def session_watchers(request: HttpRequest, session_id: UUID) -> HttpResponse:
    person = person_of(request)
    session = queries.session_for(person, session_id)
    return live.answer(request, WATCHERS, _watchers(session, person, clock.now()))


@require_safe
def session_chat(request: HttpRequest, session_id: UUID) -> HttpResponse:
    person = person_of(request)
    session = queries.session_for(person, session_id)
    return live.answer(request, CHAT, _chat(session, person))


@require_POST
def session_say(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """Answers with the chat as it stands, and why not where a message was refused: what was typed stays in its field."""
    person = person_of(request)
    session = queries.session_for(person, session_id)
    refusal: Refusal | None = None
    try:
        chat.say(session.pk, person, request.POST.get("text", ""), clock.now())
    except Refused as no:
        refusal = no.refusal
    if not getattr(request, "htmx", False):
        return redirect("session", session.pk)
    html, _ = live.block(request, CHAT, {**_chat(session, person), "refusal": refusal})
    return HttpResponse(html, headers={} if refusal else {"HX-Trigger": "chat-sent"})


def _watchers(session: SSHSession, person: Person, now: datetime) -> dict[str, Any]:
    found = watching.watchers(session, now)
    return {
        "session": session,
        "watchers": found,
        "names": ", ".join(_name(watch) for watch in found),
        "me": person,
        "is_open": session.state in OPEN_STATES,
        "escorts": escort.who(session.grant.playbook) if session.escort_needed else "",
    }


def _name(watch: Any) -> str:
    return watch.person.get_full_name() if watch.person else f"wallboard {watch.kiosk.name}"


def _chat(session: SSHSession, person: Person) -> dict[str, Any]:
    rows = chat.messages(session)
    count = rows.count()
    shown = list(rows[max(0, count - SHOWN) :])
    last = shown[-1] if shown else None
    says = (
        f"{last.person.get_full_name()} writes: {last.text}" if last and last.person_id != person.pk else ""
    )
    return {"session": session, "rows": shown, "earlier": count - len(shown), "me": person, "says": says}
