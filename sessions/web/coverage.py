"""What the player says was watched: `POST /sessions/<id>/coverage/`."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from breakglass import clock
from breakglass.domain.refusals import Refused
from breakglass.web.who import person_of
from sessions.services import coverage
from sessions.services.coverage import Proof

MOST_BYTES = 128 * 1024
MOST_RECEIPTS = 200


@require_POST
def session_coverage(request: HttpRequest, session_id: UUID) -> JsonResponse:
    """`{"ranges": [[from, to], ...], "viewing": TICKET, "served": [RECEIPT, ...]}` as JSON with the header X-CSRFToken; or, as
    `navigator.sendBeacon` can, a form with `csrfmiddlewaretoken` and `told`, the same JSON. Answers what that adds up to."""
    person, told = person_of(request), _told(request)
    try:
        seen = coverage.tell(session_id, person, told.get("ranges"), _proof(told), clock.now())
    except Refused as no:
        return JsonResponse(no.refusal.as_dict(), status=no.refusal.status)
    return JsonResponse({"percent": seen.percent, "ranges": seen.spans, "seconds": seen.seconds})


def _told(request: HttpRequest) -> dict[str, Any]:
    """Whatever was sent, as plain data; nothing where it can't be read: the service refuses that."""
    try:
        if request.content_type == "application/json":
            if int(request.headers.get("Content-Length") or 0) > MOST_BYTES:
                return {}
            body = json.loads(request.body)
        else:
            text = request.POST.get("told", "")
            body = json.loads(text) if len(text) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _proof(told: dict[str, Any]) -> Proof:
    ticket, receipts = told.get("viewing"), told.get("served")
    kept = receipts if isinstance(receipts, list) else []
    return Proof(
        ticket if isinstance(ticket, str) else "",
        tuple(one for one in kept[:MOST_RECEIPTS] if isinstance(one, str)),
    )
