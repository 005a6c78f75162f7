"""The list of sessions: everybody's for those who look after them, one's own for all others."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from breakglass import queries as control
from breakglass.domain.permissions import ADMINISTRATORS, Verb
from breakglass.models import Asset, Person
from breakglass.web.who import can, groups_of, person_of
from sessions import queries
from sessions.queries import SessionFilter
from sessions.services import escort

PAGE = 40


class FilterForm(forms.Form):
    """What to look for; each empty field means any."""

    person = forms.CharField(label="Person", required=False, max_length=31)
    asset = forms.ChoiceField(label="Asset", required=False)
    playbook = forms.ChoiceField(label="Playbook", required=False)
    incident = forms.CharField(label="Incident", required=False, max_length=20)
    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    still = forms.ChoiceField(label="State", required=False, choices=[("", "any"), ("open", "still open")])

    def __init__(self, data: Any, *, everybody: bool) -> None:
        super().__init__(data)
        names = Asset.objects.values_list("name", flat=True)
        self.fields["asset"].choices = [("", "any"), *((name, name) for name in names)]  # type: ignore[attr-defined]
        playbooks = [(version.slug, version.title) for version in control.current_playbooks()]
        self.fields["playbook"].choices = [("", "any"), *playbooks]  # type: ignore[attr-defined]
        if not everybody:
            del self.fields["person"]

    def wanted(self) -> SessionFilter:
        data = self.cleaned_data
        until = _midnight(data["until"])
        return SessionFilter(
            person=data.get("person", "").strip().lower(),
            asset=data["asset"],
            playbook=data["playbook"],
            incident=data["incident"].strip(),
            since=_midnight(data["since"]),
            until=until + timedelta(days=1) if until else None,
            open_only=data["still"] == "open",
        )


@require_safe
def sessions(request: HttpRequest) -> HttpResponse:
    person = person_of(request)
    everybody = _sees_all(person)
    form = FilterForm(request.GET, everybody=everybody)
    rows = queries.sessions_for(person, form.wanted() if form.is_valid() else SessionFilter())
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    asked = {name: value for name, value in request.GET.items() if value and name != "page"}
    context = {
        "form": form,
        "page": page,
        "query": urlencode(asked),
        "filtered": bool(asked),
        "everybody": everybody,
        "sees_ends": can(person, Verb.SEE_ENDS),
        "waiting": escort.waiting_for(person),
    }
    return render(request, "gateway/sessions.html", context)


def _sees_all(person: Person) -> bool:
    return can(person, Verb.LIST_SESSIONS) or ADMINISTRATORS in groups_of(person)


def _midnight(day: Any) -> datetime | None:
    return datetime.combine(day, time.min, UTC) if day else None
