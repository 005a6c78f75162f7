"""A terminal in the browser: where to, a second factor where none was given of late, and then the terminal itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from breakglass import clock, queries
from breakglass.domain.refusals import Refusal, Refused
from breakglass.models import Grant, Person
from breakglass.queries import spec_of
from breakglass.services import grants, step_up
from breakglass.web import freshness
from breakglass.web.code_form import ABOUT_THE_CODE, put_beside
from breakglass.web.sockets import our_origin
from breakglass.web.step_up import StepUpForm
from breakglass.web.who import person_of
from sessions.services import terminals
from sessions.services.terminals import WebLogin

ACTION = "terminal"


def _places(grant: Grant) -> list[tuple[str, str]]:
    """LOGIN@ASSET for each pair, and how people say it."""
    return [
        (f"{login}@{asset.name}", f"{asset.name} as {login}")
        for asset in grant.assets.all()
        for login in grant.logins
    ]


class _Where:
    """The field of both forms."""

    fields: dict[str, forms.Field]

    def put_places(self, places: list[tuple[str, str]], wanted: str) -> None:
        field = forms.ChoiceField(label="Where to?", choices=places, widget=forms.RadioSelect)
        field.initial = wanted or places[0][0]
        if len(places) == 1:
            field.widget = forms.HiddenInput()
        self.fields = {"place": field, **self.fields}


class PlaceForm(_Where, forms.Form):
    """Where to; the second factor was given on this web login minutes ago."""


class ProvenPlaceForm(_Where, StepUpForm):
    """Where to, and a second factor."""


@sensitive_post_parameters("code", "assertion")
@sensitive_variables("ticket")
@require_http_methods(["GET", "POST"])
def terminal(request: HttpRequest, grant_id: UUID) -> HttpResponse:
    """The way to a terminal, and the terminal: a POST that is in order opens one."""
    person, now = person_of(request), clock.now()
    grant = queries.grant_for(person, grant_id)
    grants.held(grant.id, person, now)
    places = _places(grant)
    given = freshness.factor_given(request, now)
    form = _form(request, person, grant, places, proven=bool(given))
    refused: Refusal | None = None
    if form.is_bound and form.is_valid():
        place = form.cleaned_data["place"]
        try:
            given = given or _prove(request, person, grant, form, now)
            ticket = _ticket(request, person, grant, place, given, now)
        except Refused as no:
            if no.refusal.code in ABOUT_THE_CODE:
                put_beside(form, no.refusal)
            else:
                refused = no.refusal
        else:
            return render(request, "gateway/terminal.html", _open(grant, place, ticket))
    context = {"grant": grant, "form": form, "places": places, "refusal": refused, "proven": bool(given)}
    status = refused.status if refused else 422 if form.errors else 200
    return render(request, "gateway/terminal_ask.html", {**context, **_uses(grant)}, status=status)


def _form(
    request: HttpRequest, person: Person, grant: Grant, places: list[tuple[str, str]], *, proven: bool
) -> PlaceForm | ProvenPlaceForm:
    """Bound where enough was sent: a button elsewhere, or "open another", sends no code and knows of none."""
    sent = request.POST if request.method == "POST" else {}
    only = places[0][0] if len(places) == 1 else ""
    wanted = sent.get("place") or only
    data: Any = sent if {"code", "assertion"} & set(sent) else None
    if data is None and proven and request.method == "POST" and wanted:
        data = {"place": wanted}
    form: PlaceForm | ProvenPlaceForm
    if proven:
        form = PlaceForm(data)
    else:
        form = ProvenPlaceForm(data, person=person, action=ACTION, subject=grant.id)
    form.put_places(places, wanted)
    return form


def _prove(
    request: HttpRequest,
    person: Person,
    grant: Grant,
    form: PlaceForm | ProvenPlaceForm,
    now: datetime,
) -> str:
    assert isinstance(form, ProvenPlaceForm)
    proof = step_up.verify(person, ACTION, grant.id, form.answer, now)
    freshness.note(request, proof.name, now)
    return proof.name


def _ticket(request: HttpRequest, person: Person, grant: Grant, place: str, given: str, now: datetime) -> str:
    login, _, asset = place.partition("@")
    address = request.META.get("REMOTE_ADDR") or "127.0.0.1"
    web_login = WebLogin(person, request.session.session_key or "", address)
    return terminals.mint(web_login, grant.id, asset, login, given, now)


def _uses(grant: Grant) -> dict[str, Any]:
    kinds = {str(kind) for kind in spec_of(grant.playbook).channels}
    return {"has_shell": "shell" in kinds, "has_files": "sftp" in kinds}


def _open(grant: Grant, place: str, ticket: str) -> dict[str, Any]:
    login, _, asset = place.partition("@")
    return {
        "grant": grant,
        "place": place,
        "asset": asset,
        "login": login,
        "ticket": ticket,
        "origin": our_origin(),
        **_uses(grant),
    }
