"""What the player says was watched: `POST /sessions/<id>/coverage/`."""

from __future__ import annotations

import json
from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from breakglass import clock
from breakglass.domain.refusals import Refused
from breakglass.web.who import person_of
from sessions.services import coverage

MOST_BYTES = 64 * 1024


@require_POST
def session_coverage(request: HttpRequest, session_id: UUID) -> JsonResponse:
    """`{"ranges": [[from, to], ...]}` as JSON with the header X-CSRFToken; or, as `navigator.sendBeacon` can, a form with the
    fields `csrfmiddlewaretoken` and `ranges` (the same list as JSON). Answers what that adds up to."""
    person = person_of(request)
    try:
        seen = coverage.add(session_id, person, _ranges(request), clock.now())
    except Refused as no:
        return JsonResponse(no.refusal.as_dict(), status=no.refusal.status)
    return JsonResponse({"percent": seen.percent, "ranges": seen.spans, "seconds": seen.seconds})


def _ranges(request: HttpRequest) -> object:
    """Whatever was sent, as plain data; None where it can't be read: the service refuses that."""
    try:
        if request.content_type == "application/json":
            if int(request.headers.get("Content-Length") or 0) > MOST_BYTES:
                return None
            body = json.loads(request.body)
            return body.get("ranges") if isinstance(body, dict) else None
        text = request.POST.get("ranges", "")
        return json.loads(text) if len(text) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        return None
