"""Challenges for passkeys. Asking for one changes nothing: it counts for one act of the person who asks, for 60 s."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from breakglass import clock
from breakglass.domain.refusals import Refused
from breakglass.services import step_up
from breakglass.web.who import person_of


@require_POST
def passkey_challenge(request: HttpRequest) -> HttpResponse:
    """For a fresh second factor: the act and its object are part of what the passkey signs."""
    person = person_of(request)
    action, subject = request.POST.get("action", ""), request.POST.get("subject", "")
    try:
        return JsonResponse(step_up.challenge(person, action, subject, clock.now()))
    except Refused as no:
        return JsonResponse(no.refusal.as_dict(), status=no.refusal.status)
