"""How much waits for an approver, for the badge of any page that is open."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from breakglass import clock
from breakglass.services import override
from breakglass.web import reads
from breakglass.web.who import groups_of, person_of


@require_safe
def waiting(request: HttpRequest) -> JsonResponse:
    """`waiting` requests, and of the newest its id and who asks for what. Nothing for who approves nothing."""
    person = person_of(request)
    asks = override.waits_for(person, clock.now()) if reads.approves_anything(groups_of(person)) else []
    newest = max(asks, key=lambda ask: ask.number, default=None)
    return JsonResponse(
        {
            "waiting": len(asks),
            "newest": str(newest.pk) if newest else "",
            "says": f"{newest.requester.get_full_name()}: {newest.title}" if newest else "",
        }
    )
