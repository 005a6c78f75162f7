"""Replay: the page with the player, and what the player asks for while it plays."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST, require_safe

from breakglass import clock
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, Refused
from breakglass.models import Person
from breakglass.queries import spec_of
from breakglass.web import markdown
from breakglass.web.who import can, demand, person_of
from sessions import queries
from sessions.models import SSHSession
from sessions.services import coverage, replaying
from sessions.services.recordings import replayable
from sessions.services.replaying import MOST_AT_ONCE, Viewing
from sessions.services.timeline import timeline
from sessions.states import ReviewState
from sessions.streaming import stream
from sessions.web.finding import CATEGORIES, SEVERITIES

NOTHING_TO_PLAY = frozenset(
    {RefusalCode.RECORDING_OPEN, RefusalCode.RECORDING_DELETED, RefusalCode.RECORDING_DAMAGED}
)
TICKET = "X-Viewing"
RECEIPT = "X-Served"


@require_safe
def replay_page(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """The player's page. Nothing of what was recorded is in it: that begins with `viewing`."""
    person = person_of(request)
    session = queries.session_for(person, session_id)
    thing = queries.thing_of_session(session)
    demand(person, Verb.REPLAY_SESSION, thing)
    try:
        recording = replayable(session_id, person)
    except Refused as no:
        if no.refusal.code not in NOTHING_TO_PLAY:
            raise
        context = {"session": session, "refusal": no.refusal}
        return render(request, "gateway/replay_not.html", context, status=no.refusal.status)
    spec = spec_of(session.grant.playbook)
    context = {
        "session": session,
        "recording": recording,
        "runbook": markdown.render(spec.runbook),
        "playbook": session.grant.playbook,
        "measured": coverage.measures(person, session),
        "csrf": get_token(request),
        "categories": CATEGORIES,
        "severities": SEVERITIES,
        "at_once": MOST_AT_ONCE,
        **_ways(session, person),
    }
    return render(request, "gateway/replay.html", context)


@require_POST
def viewing(request: HttpRequest, session_id: UUID) -> JsonResponse:
    """Begin to view: the whole seal is checked, the viewing audited, and the player told where which second stands."""
    try:
        begun = replaying.begin(session_id, person_of(request), clock.now())
    except Refused as no:
        return JsonResponse(no.refusal.as_dict(), status=no.refusal.status)
    return JsonResponse(_index(begun))


@require_GET
def chunks(
    request: HttpRequest, session_id: UUID, first: int, last: int
) -> HttpResponse | StreamingHttpResponse:
    """Chunks of the recording, each as its length and gzip, for whoever holds the ticket of a viewing (X-Viewing)."""
    ticket = request.headers.get(TICKET, "")
    try:
        served = replaying.parts(session_id, person_of(request), ticket, first, last, clock.now())
    except Refused as no:
        return JsonResponse(no.refusal.as_dict(), status=no.refusal.status)
    response = stream(request, served.pieces, "application/octet-stream")
    response[RECEIPT] = served.receipt
    response["Cache-Control"] = "no-store, private"
    response["X-Content-Type-Options"] = "nosniff"
    return response


@require_GET
def timeline_json(request: HttpRequest, session_id: UUID) -> JsonResponse:
    """What happened when, for the timeline below the player."""
    person, now = person_of(request), clock.now()
    try:
        found = timeline(session_id, person, now, ticket=request.headers.get(TICKET, ""))
    except Refused as no:
        return JsonResponse(no.refusal.as_dict(), status=no.refusal.status)
    return JsonResponse(found)


def _index(begun: Viewing) -> dict[str, Any]:
    tape, recording = begun.tape, begun.recording
    began: datetime = recording.session.opened_at
    return {
        "ticket": begun.ticket,
        "seconds": tape.seconds,
        "bytes": tape.size,
        "began_ms": int(began.timestamp() * 1000),
        "cols": tape.cols,
        "rows": tape.rows,
        "firsts": tape.firsts,
        "starts": tape.starts,
        "screens": tape.screens,
        "channels": tape.channels,
        "leaps": tape.leaps,
        "activity": tape.activity,
    }


def _ways(session: SSHSession, person: Person) -> dict[str, Any]:
    """Where the page leads: to the transcript, and to where findings are written; that is empty for who writes none."""
    review = getattr(session.grant, "review", None)
    may_note = (
        review is not None
        and review.state == ReviewState.DUE
        and review.reviewer_id != person.pk
        and can(person, Verb.SIGN_REVIEW, queries.thing_of_session(session))
    )
    return {
        "transcript_url": reverse("session_transcript", args=[session.id]),
        "coverage_url": reverse("session_coverage", args=[session.id]),
        "review": review if can(person, Verb.LIST_REVIEWS) else None,
        "note_url": reverse("finding_new", args=[review.pk]) if review is not None and may_note else "",
    }
