"""How fast sessions end: for each cause the time from when it was asked for to when it was true."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from breakglass import clock
from breakglass.domain.permissions import Verb
from breakglass.web.who import demand, person_of
from sessions.end_figures import end_figures
from sessions.states import EndReason

DAYS = 30
# Completes "counted from TIME, when ..."
ASKED = {
    EndReason.EXPIRED: "the time of the grant was over",
    EndReason.REVOKED: "the access was revoked",
    EndReason.RELEASED: "the grant was released",
    EndReason.KILLED: "its end was asked for",
    EndReason.LOCKED: "a lock was placed",
    EndReason.NOT_AUTHORIZED: "the person lost the right",
    EndReason.CLIENT_CLOSED: "the person closed it",
}


def asked(cause: str) -> str:
    """Why time is counted from where it is."""
    return ASKED.get(EndReason(cause), "the gateway noticed")


@require_safe
def ends(request: HttpRequest) -> HttpResponse:
    demand(person_of(request), Verb.SEE_ENDS)
    figures = end_figures(clock.now() - timedelta(days=DAYS))
    context = {"days": DAYS, "figures": figures}
    return render(request, "gateway/ends.html", context)
