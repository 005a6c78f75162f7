"""Watching a session live: the page, its stream, and the signs of life that say who watches.

The stream is read from the recording, not from the gateway: what is shown was recorded before the person saw it, and
who watches costs them nothing. Each stream belongs to a watch (services/watching.py) that its page began.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST, require_safe

from breakglass import clock
from breakglass.domain import permissions
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import Refused
from breakglass.models import Person
from breakglass.queries import actor_of
from breakglass.web import live
from breakglass.web.sockets import Standing, login_of
from breakglass.web.who import can, demand, person_of
from sessions import queries
from sessions.live import stream
from sessions.live.pulse import Pulse
from sessions.live.stream import Wish
from sessions.models import SSHSession, Watch
from sessions.services import escort, watching
from sessions.services.recordings import store
from sessions.states import OPEN_STATES
from sessions.web.beside import besides
from sessions.web.stopping import kill_form, may_stop

LIVE = "gateway/parts/watch_live.html"
MOST_OFFSET = 19


@require_safe
def watch_page(request: HttpRequest, session_id: UUID) -> HttpResponse:
    person = person_of(request)
    session = queries.session_for(person, session_id)
    demand(person, Verb.WATCH_SESSION, queries.thing_of_session(session))
    context = _context(session, person)
    html, _ = live.block(request, LIVE, context)
    form = kill_form(session, person) if context["may_kill"] else None
    whole = {**context, **besides(session, person), "live": html, "form": form}
    return render(request, "gateway/watch.html", whole)


@require_safe
def watch_live(request: HttpRequest, session_id: UUID) -> HttpResponse:
    person = person_of(request)
    session = queries.session_for(person, session_id)
    demand(person, Verb.WATCH_SESSION, queries.thing_of_session(session))
    return live.answer(request, LIVE, _context(session, person))


@require_POST
def watch_begin(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """The page says that it watches from now on; it gets the watch that its stream belongs to."""
    try:
        watch = watching.begin(session_id, person_of(request), clock.now())
    except Refused as no:
        return JsonResponse(no.refusal.as_dict(), status=no.refusal.status)
    return JsonResponse({"watch": str(watch.pk), "escort": watch.escort})


@require_POST
def watch_beat(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """An escort's page gives a sign of life. 410 where that watch is over."""
    watch = _watch_of(person_of(request), session_id, request.POST.get("watch", ""))
    goes_on = watch is not None and watching.seen([watch.pk], clock.now())
    return HttpResponse(status=204 if goes_on else 410)


@require_POST
def watch_leave(request: HttpRequest, session_id: UUID) -> HttpResponse:
    person = person_of(request)
    watch = _watch_of(person, session_id, request.POST.get("watch", ""))
    if watch is not None:
        watching.leave(watch.pk, person, clock.now())
    return HttpResponse(status=204)


@require_GET
def watch_stream(request: HttpRequest, session_id: UUID) -> HttpResponseBase:
    """The events of stream.py, from the offset that the page has seen. 204, for which browsers don't come again, where
    the watch is over."""
    person = person_of(request)
    session = queries.session_for(person, session_id)
    demand(person, Verb.WATCH_SESSION, queries.thing_of_session(session))
    watch = _watch_of(person, session_id, request.GET.get("watch", ""))
    if watch is None or not watching.seen([watch.pk], clock.now()):
        return HttpResponse(status=204)
    response = StreamingHttpResponse(_streamed(request, watch), content_type="text/event-stream")
    response["Cache-Control"] = "no-store, private"
    response["X-Accel-Buffering"] = "no"
    return response


async def _streamed(request: HttpRequest, watch: Watch) -> AsyncIterator[bytes]:
    pulse = Pulse.here()
    pulse.begin(watch.pk, alone=watch.escort)
    why = watching.LOST
    wish = Wish(
        path=store().open_path(watch.session_id),
        seen=_offset(request.headers.get("Last-Event-ID") or request.GET.get("seen", "")),
        still_there=lambda: pulse.beat(watch.pk),
        may_go_on=Standing(lambda: _may_go_on(request, watch)),
    )
    try:
        async for piece in stream.events(wish):
            if piece.startswith(stream.OVER):
                why = watching.OVER
            yield piece
    finally:
        pulse.end(watch.pk, why)


def _may_go_on(request: HttpRequest, watch: Watch) -> bool:
    """Whether the login that opened the stream lives, its person may still watch, and the session goes on."""
    if isinstance(request, ASGIRequest):
        login = login_of(dict(request.scope))
        if login is None or login.person.pk != watch.person_id:
            return False
    session = SSHSession.objects.select_related("grant", "grant__playbook").get(pk=watch.session_id)
    person = watch.person and Person.objects.filter(pk=watch.person.pk).first()
    thing = queries.thing_of_session(session)
    if person is None or not permissions.may(actor_of(person), Verb.WATCH_SESSION, thing):
        return False
    return session.state in OPEN_STATES and Watch.objects.filter(pk=watch.pk, ended_at=None).exists()


def _watch_of(person: Person, session_id: UUID, text: str) -> Watch | None:
    """That watch, where it is this person's own, of this session."""
    try:
        watch_id = UUID(text)
    except ValueError:
        return None
    return Watch.objects.filter(pk=watch_id, session_id=session_id, person=person).first()


def _offset(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < MOST_OFFSET else None


def _context(session: SSHSession, person: Person) -> dict[str, Any]:
    is_open = session.state in OPEN_STATES
    return {
        "session": session,
        "is_open": is_open and session.kill_requested_at is None,
        "state": _state(session),
        "ends_at": session.grant.ends_at if is_open else None,
        "may_replay": can(person, Verb.REPLAY_SESSION, queries.thing_of_session(session)),
        **may_stop(session, person),
        "is_escort": escort.may_be(person, session),
        "escorts": escort.who(session.grant.playbook) if session.escort_needed else "",
        "waits": is_open and session.escort_needed and session.escort_missing_at is not None,
    }


def _state(session: SSHSession) -> str:
    if session.state not in OPEN_STATES:
        return "ended"
    if session.kill_requested_at:
        return "ending"
    return "frozen" if session.frozen_at or session.escort_missing_at else session.state
