"""How long a recording is kept, as the session's page says it; and the page where an auditor holds it, or lifts that."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from breakglass import clock
from breakglass.domain.permissions import ADMINISTRATORS, Verb
from breakglass.domain.refusals import Refusal, Refused
from breakglass.models import Person
from breakglass.web.who import can, demand, groups_of, person_of
from sessions import queries, services
from sessions.models import Recording, SSHSession
from sessions.services import retention
from sessions.states import RecordingState


class HoldForm(forms.Form):
    reason = forms.CharField(
        label="Why?",
        max_length=300,
        help_text="On record, with your name.",
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Say why."},
    )


def keeping(session: SSHSession, person: Person) -> dict[str, Any]:
    """What the session's page shows of it: more to those who look after recordings than to those in them."""
    recording: Recording | None = getattr(session, "recording", None)
    deleted = recording is not None and recording.state == RecordingState.DELETED
    looks_after = can(person, Verb.LIST_SESSIONS) or ADMINISTRATORS in groups_of(person)
    may_hold = recording is not None and can(person, Verb.HOLD_RECORDING, queries.thing_of_session(session))
    row = retention.deletion_row(recording) if recording is not None and deleted else None
    return {
        "deleted": deleted,
        "deletion_row": row.seq if row else None,
        "looks_after": looks_after,
        "may_hold": may_hold and not deleted,
    }


@require_http_methods(["GET", "POST"])
def session_hold(request: HttpRequest, session_id: UUID) -> HttpResponse:
    return _page(request, session_id, lift=False)


@require_http_methods(["GET", "POST"])
def session_unhold(request: HttpRequest, session_id: UUID) -> HttpResponse:
    return _page(request, session_id, lift=True)


def _page(request: HttpRequest, session_id: UUID, *, lift: bool) -> HttpResponse:
    person = person_of(request)
    session = queries.session_for(person, session_id)
    demand(person, Verb.HOLD_RECORDING, queries.thing_of_session(session))
    form = HoldForm(request.POST if request.method == "POST" else None)
    refused: Refusal | None = None
    if request.method == "POST" and form.is_valid():
        change = services.unhold if lift else services.hold
        try:
            change(session.id, person, form.cleaned_data["reason"], clock.now())
        except Refused as no:
            refused = no.refusal
        else:
            messages.success(
                request, f"The hold on {session.label} is lifted." if lift else f"{session.label} is held."
            )
            return redirect("session", session.id)
    context = {"session": session, "form": form, "refusal": refused, "lift": lift}
    status = refused.status if refused else 422 if form.errors else 200
    return render(request, "gateway/hold.html", context, status=status)
