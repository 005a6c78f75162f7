"""What was typed and shown in a session, as text: each line leads to its second in the replay."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from breakglass import clock
from breakglass.domain.refusals import RefusalCode, Refused
from breakglass.web.who import person_of
from sessions import queries
from sessions.models import TranscriptEntry
from sessions.services import reading
from sessions.streaming import stream

ENTRIES = 30
LINES = 120
NOT_YET = frozenset(
    {RefusalCode.RECORDING_OPEN, RefusalCode.RECORDING_DELETED, RefusalCode.RECORDING_DAMAGED}
)


@require_safe
def transcript_page(request: HttpRequest, session_id: UUID) -> HttpResponse:
    person = person_of(request)
    try:
        opened = reading.open_transcript(session_id, person, clock.now())
    except Refused as no:
        if no.refusal.code not in NOT_YET:
            raise
        context = {"session": queries.session_for(person, session_id), "refusal": no.refusal}
        return render(request, "gateway/transcript.html", context, status=no.refusal.status)
    page = Paginator(opened.entries, ENTRIES).get_page(request.GET.get("page"))
    context = {
        "session": opened.session,
        "transcript": opened.transcript,
        "page": page,
        "entries": [_shown(entry) for entry in page],
    }
    return render(request, "gateway/transcript.html", context)


@require_safe
def transcript_text(request: HttpRequest, session_id: UUID) -> StreamingHttpResponse | HttpResponse:
    """The same as a file."""
    opened = reading.open_transcript(session_id, person_of(request), clock.now(), download=True)
    if opened.transcript is None:
        return HttpResponse(
            "This recording is still being rendered.\n", content_type="text/plain", status=409
        )
    lines = reading.as_text(opened.session, opened.transcript, list(opened.entries))
    response = stream(request, (line.encode() for line in lines), "text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{opened.session.label}.txt"'
    response["Cache-Control"] = "no-store, private"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _shown(entry: TranscriptEntry) -> dict[str, Any]:
    lines = entry.lines
    return {
        "entry": entry,
        "second": int(entry.began),
        "face": reading.face(entry.began),
        "took": entry.ended - entry.began if entry.ended is not None else None,
        "until": reading.face(entry.ended) if entry.ended is not None else "",
        "inside": reading.INSIDE if reading.is_windows(entry) else "",
        "lines": [(int(time), reading.face(time), text) for time, text in lines[:LINES]],
        "more": max(0, len(lines) - LINES),
    }
