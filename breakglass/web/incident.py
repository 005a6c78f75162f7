"""Incidents: what happened, and everything that was asked for it."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from breakglass import clock, queries
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refuse
from breakglass.models import Incident
from breakglass.services import incidents as service
from breakglass.web import reads
from breakglass.web.who import can, demand, person_of

SHOWN = 100


class IncidentForm(forms.Form):
    title = forms.CharField(
        label="What happened, in a line",
        max_length=160,
        help_text="Where and what, so that somebody else finds it: Historian in line 2 answers nobody.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Say what happened."},
    )


@require_safe
def incidents(request: HttpRequest) -> HttpResponse:
    person = person_of(request)
    demand(person, Verb.SEE_INCIDENTS)
    rows = Incident.objects.select_related("opened_by", "closed_by")
    context = {
        "opened": rows.filter(closed_at=None),
        "closed": rows.exclude(closed_at=None)[:SHOWN],
        "may_open": can(person, Verb.OPEN_INCIDENT),
    }
    return render(request, "breakglass/incidents.html", context)


@require_http_methods(["GET", "POST"])
def incident_open(request: HttpRequest) -> HttpResponse:
    person = person_of(request)
    demand(person, Verb.OPEN_INCIDENT)
    form = IncidentForm(request.POST if request.method == "POST" else None)
    refused: Refusal | None = None
    if request.method == "POST" and form.is_valid():
        try:
            opened = service.open_incident(person, form.cleaned_data["title"], clock.now())
        except Refused as no:
            refused = no.refusal
        else:
            return redirect("incident", opened.id)
    context = {"form": form, "refusal": refused}
    return render(
        request, "breakglass/incident_open.html", context, status=refused.status if refused else 200
    )


@require_safe
def incident(request: HttpRequest, incident_id: UUID) -> HttpResponse:
    person, now = person_of(request), clock.now()
    demand(person, Verb.SEE_INCIDENTS)
    subject = _incident(incident_id)
    asks = reads.requests_of_incident(subject)
    rows = [
        {
            "ask": ask,
            "state": reads.standing(ask, now),
            "assets": [asset.name for asset in ask.assets.all()],
            "mine_to_see": can(person, Verb.SEE_REQUEST, queries.thing_of_request(ask)),
        }
        for ask in asks
    ]
    may_close = subject.is_open and can(person, Verb.CLOSE_INCIDENT, queries.thing_of_incident(subject))
    return render(
        request, "breakglass/incident.html", {"incident": subject, "rows": rows, "may_close": may_close}
    )


@require_POST
def incident_close(request: HttpRequest, incident_id: UUID) -> HttpResponse:
    person = person_of(request)
    subject = _incident(incident_id)
    demand(person, Verb.CLOSE_INCIDENT, queries.thing_of_incident(subject))
    service.close(subject.id, person, clock.now())
    messages.success(request, f"{subject.label} is closed.")
    return redirect("incident", subject.id)


def _incident(incident_id: UUID) -> Incident:
    found = Incident.objects.select_related("opened_by", "closed_by").filter(id=incident_id).first()
    if found is None:
        raise refuse(RefusalCode.NOT_FOUND, what="incident")
    return found
