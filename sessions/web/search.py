"""Searching in everything that was recorded, as one types. The same page without script: a form and its answer.

A search is asked by POST, with the token of the page: what it shows of other people's sessions is on record, and nobody's
name gets there by a link. An address with a question in it fills the form; the page then asks by itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from breakglass import clock
from breakglass import queries as control
from breakglass.domain.text import one_line
from breakglass.models import Asset, Person
from breakglass.web.who import person_of
from sessions.services import reading, searching
from sessions.services.searching import Found, Hit, Wanted

WORDS = {
    "command": "commands",
    "output": "what was shown",
    "screen": "full-screen programs",
    "file": "files",
    "person": "people",
    "asset": "assets",
    "reason": "reasons",
    "chat": "chat",
    "note": "review notes",
    "finding": "findings",
}
LABELS = {
    "command": "command", "output": "shown", "screen": "on screen", "file": "file", "person": "person", "asset": "asset",
    "reason": "reason", "chat": "chat", "note": "review", "finding": "finding",
}  # fmt: skip


class SearchForm(forms.Form):
    """What to look for, and where; each empty field means any."""

    q = forms.CharField(
        label="Search",
        required=False,
        max_length=200,
        widget=forms.TextInput(
            attrs={
                "type": "search",
                "autofocus": True,
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
                "placeholder": "systemctl, /etc/ssh, a person, “a phrase”",
                "aria-describedby": "search-hint",
            }
        ),
    )
    kind = forms.ChoiceField(label="In", required=False, choices=[("", "everything"), *WORDS.items()])
    person = forms.CharField(label="Person", required=False, max_length=31)
    asset = forms.ChoiceField(label="Asset", required=False)
    playbook = forms.ChoiceField(label="Playbook", required=False)
    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        names = Asset.objects.values_list("name", flat=True)
        self.fields["asset"].choices = [("", "any"), *((name, name) for name in names)]  # type: ignore[attr-defined]
        playbooks = [(version.slug, version.title) for version in control.current_playbooks()]
        self.fields["playbook"].choices = [("", "any"), *playbooks]  # type: ignore[attr-defined]

    def wanted(self) -> Wanted:
        data = self.cleaned_data
        until = _midnight(data["until"])
        return Wanted(
            text=one_line(data["q"], 200),
            person=data["person"].strip().lower(),
            asset=data["asset"],
            playbook=data["playbook"],
            kind=data["kind"],
            since=_midnight(data["since"]),
            until=until + timedelta(days=1) if until else None,
        )

    def address(self) -> str:
        """Where this question can be asked again."""
        said = {name: self[name].value() for name in self.fields if self[name].value()}
        return reverse("search") + (f"?{urlencode(said)}" if said else "")

    @property
    def narrowed(self) -> bool:
        return any(self[name].value() for name in ("kind", "person", "asset", "playbook", "since", "until"))


@require_http_methods(["GET", "HEAD", "POST"])
def search(request: HttpRequest) -> HttpResponse:
    """The page; to a POST what was found, alone where the page itself asks."""
    form = SearchForm(request.POST if request.method == "POST" else request.GET)
    wanted = form.wanted() if form.is_valid() else Wanted("")
    context = {"form": form, "asked": wanted.text}
    if request.method == "POST":
        context |= _answer(person_of(request), wanted)
    only = request.method == "POST" and request.headers.get("HX-Request") == "true"
    page = "gateway/parts/search_results.html" if only else "gateway/search.html"
    response = render(request, page, context)
    if only:
        response["HX-Replace-Url"] = form.address()
    response["Cache-Control"] = "no-store, private"
    response["Vary"] = "HX-Request, Cookie"
    return response


def _answer(person: Person, wanted: Wanted) -> dict[str, Any]:
    results = searching.search(person, wanted, clock.now())
    return {
        "answered": True,
        "enough": results.enough,
        "more": results.more,
        "found": [_shown(one, person) for one in results.found],
        "count": results.hits,
    }


def _shown(one: Found, person: Person) -> dict[str, Any]:
    session = one.session
    return {
        "session": session,
        "own": session.person_id == person.pk,
        "more": one.more,
        "hits": [_hit(hit, session.pk) for hit in one.hits],
    }


def _hit(hit: Hit, session_id: Any) -> dict[str, Any]:
    replays = hit.kind in (*searching.SHOWN, "finding") and hit.at is not None
    url = reverse("session_replay" if replays else "session", args=[session_id])
    return {
        "kind": LABELS[hit.kind],
        "parts": hit.parts,
        "mono": hit.kind in searching.SHOWN,
        "face": reading.face(hit.at) if replays and hit.at is not None else "",
        "url": f"{url}?t={int(hit.at)}" if replays and hit.at is not None else url,
    }


def _midnight(day: Any) -> datetime | None:
    return datetime.combine(day, time.min, UTC) if day else None
