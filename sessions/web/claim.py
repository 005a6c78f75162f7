"""Who has a review: claimed, released or taken over, from its page."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from breakglass import clock
from breakglass.domain.refusals import RefusalCode, Refused
from breakglass.web.who import person_of
from sessions import queries
from sessions.services import claims


@require_POST
def review_claim(request: HttpRequest, review_id: int) -> HttpResponse:
    """`act`: release, over (take it from whoever has it); claim without."""
    person, now, act = person_of(request), clock.now(), request.POST.get("act", "")
    subject = queries.review_for(person, review_id)
    if act == "release":
        claims.release(subject.pk, person, now)
        messages.success(request, "Released: it is anybody's again.")
        return redirect("review", subject.pk)
    try:
        claims.claim(subject.pk, person, now, over=act == "over")
    except Refused as no:
        if no.refusal.code is not RefusalCode.REVIEW_CLAIMED:
            raise
        messages.error(request, f"{no.refusal.message} {no.refusal.help}")
    else:
        messages.success(request, "It is yours. Release it when you don't get to it.")
    return redirect("review", subject.pk)
