"""Freeze, unfreeze and kill: from the session's page, and by one key each from the page that watches it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from breakglass import clock
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import Refusal, Refused
from breakglass.models import Person
from breakglass.web.code_form import ABOUT_THE_CODE, put_beside
from breakglass.web.step_up import StepUpForm
from breakglass.web.who import can, demand, person_of
from sessions import queries, services
from sessions.models import SSHSession
from sessions.states import OPEN_STATES

KILL = "kill"


def _why() -> forms.CharField:
    return forms.CharField(
        label="Why?",
        max_length=300,
        help_text="On record. The person is told only that their access was withdrawn.",
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Say why."},
    )


class KillForm(forms.Form):
    """Where the playbook asks for no second factor."""

    reason = _why()


class ProvenKillForm(StepUpForm):
    """Where it does (`kill_needs_factor`)."""

    reason = _why()
    field_order = ("reason", "code", "assertion")


class FreezeForm(forms.Form):
    reason = forms.CharField(
        label="Why?",
        max_length=300,
        required=False,
        help_text="On record, and told to the person. It may stay empty where every second counts.",
        widget=forms.TextInput(attrs={"autofocus": True}),
    )


def kill_form(session: SSHSession, person: Person, data: Any = None) -> forms.Form:
    """The form that ends this session, with a second factor where its playbook asks for one."""
    if queries.kill_needs_factor(session):
        return ProvenKillForm(data, person=person, action=KILL, subject=session.pk)
    return KillForm(data)


def may_stop(session: SSHSession, person: Person) -> dict[str, Any]:
    """Whether it is frozen, and what this person may do about that, or to end it."""
    thing = queries.thing_of_session(session)
    goes_on = session.state in OPEN_STATES and session.kill_requested_at is None
    frozen = goes_on and session.frozen_at is not None
    return {
        "frozen": frozen,
        "may_freeze": goes_on and not frozen and can(person, Verb.FREEZE_SESSION, thing),
        "may_unfreeze": frozen and can(person, Verb.UNFREEZE_SESSION, thing),
        "may_kill": goes_on and can(person, Verb.KILL_SESSION, thing),
    }


@sensitive_post_parameters("code", "assertion")
@require_http_methods(["GET", "POST"])
def session_kill(request: HttpRequest, session_id: UUID) -> HttpResponse:
    person = person_of(request)
    session = queries.session_for(person, session_id)
    demand(person, Verb.KILL_SESSION, queries.thing_of_session(session))
    form = kill_form(session, person, request.POST if request.method == "POST" else None)
    refused: Refusal | None = None
    if request.method == "POST" and form.is_valid():
        answer = form.answer if isinstance(form, ProvenKillForm) else ""
        try:
            services.kill(session.id, person, form.cleaned_data["reason"], clock.now(), answer)
        except Refused as no:
            if no.refusal.code in ABOUT_THE_CODE and "code" in form.fields:
                put_beside(form, no.refusal)
            else:
                refused = no.refusal
        else:
            messages.success(
                request, f"{session.label} is being ended; its grant lives on until it is revoked."
            )
            return redirect("session", session.id)
    context = {"session": session, "form": form, "refusal": refused, "open": session.state in OPEN_STATES}
    status = refused.status if refused else 422 if form.errors else 200
    return render(request, "gateway/kill.html", context, status=status)


@require_http_methods(["GET", "POST"])
def session_freeze(request: HttpRequest, session_id: UUID) -> HttpResponse:
    person = person_of(request)
    session = queries.session_for(person, session_id)
    demand(person, Verb.FREEZE_SESSION, queries.thing_of_session(session))
    form = FreezeForm(request.POST if request.method == "POST" else None)
    refused: Refusal | None = None
    if request.method == "POST" and form.is_valid():
        try:
            services.freeze(session.id, person, form.cleaned_data["reason"], clock.now())
        except Refused as no:
            refused = no.refusal
        else:
            return _done(request, session)
    context = {"session": session, "form": form, "refusal": refused, "open": session.state in OPEN_STATES}
    status = refused.status if refused else 422 if form.errors else 200
    return render(request, "gateway/freeze.html", context, status=status)


@require_POST
def session_unfreeze(request: HttpRequest, session_id: UUID) -> HttpResponse:
    person = person_of(request)
    session = queries.session_for(person, session_id)
    demand(person, Verb.UNFREEZE_SESSION, queries.thing_of_session(session))
    services.unfreeze(session.id, person, clock.now())
    return _done(request, session)


def _done(request: HttpRequest, session: SSHSession) -> HttpResponse:
    """Who watches goes on watching: their page hears of it by itself."""
    if getattr(request, "htmx", False):
        return HttpResponse(status=204, headers={"HX-Trigger": "wake"})
    return redirect("session", session.id)
