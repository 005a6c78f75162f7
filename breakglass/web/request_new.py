"""Asking for access under a playbook. Errors stand beside their fields; nothing typed is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from breakglass import clock, queries
from breakglass.domain.policy import LEAST_REASON
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refuse
from breakglass.models import AccessRequest, Incident, Person
from breakglass.services import incidents, requests
from breakglass.services.requests import SubmitForm
from breakglass.web.cards import Card, card_of, for_groups
from breakglass.web.playbook import current_version
from breakglass.web.tags import minutes
from breakglass.web.who import groups_of, person_of

NEW = "new"
STEPS = (5, 10, 15, 30, 45, 60, 90, 120, 180, 240)

# Which field a refusal is about; all others stand on top of the form.
FIELD_OF = {
    RefusalCode.REASON_MISSING: "reason",
    RefusalCode.DURATION_OUT_OF_BOUNDS: "minutes",
    RefusalCode.ASSET_OUTSIDE_PLAYBOOK: "assets",
    RefusalCode.UNKNOWN_ASSET: "assets",
    RefusalCode.LOGIN_NOT_IN_GRANT: "login",
    RefusalCode.INCIDENT_CLOSED: "incident",
}


TOO_SHORT = dict.fromkeys(("required", "min_length"), f"Say it in {LEAST_REASON} characters or more.")


@dataclass(frozen=True)
class Known:
    """What is filled in before anybody types. A reason only where its own author asked for the same again."""

    label: str = ""
    incident: str = ""
    assets: tuple[str, ...] = ()
    login: str = ""
    minutes: int = 0
    reason: str = ""

    def assets_of(self, card: Card) -> list[str]:
        return [name for name in card.assets if name in self.assets] or list(card.assets)


class RequestForm(forms.Form):
    """Only what there is to choose is asked: one asset or one login is no question."""

    incident = forms.ChoiceField(label="Which incident?")
    incident_title = forms.CharField(
        label="What happened, in a line",
        required=False,
        max_length=160,
        help_text="Only for a new incident.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": ""}),
    )
    reason = forms.CharField(
        label="What is broken, and what will you do?",
        help_text="The approvers decide on this, and it stays on record.",
        widget=forms.Textarea(attrs={"rows": 3}),
        min_length=LEAST_REASON,
        max_length=2000,
        error_messages=TOO_SHORT,
    )
    assets = forms.MultipleChoiceField(
        label="Which machines?",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Pick at least one machine."},
    )
    login = forms.ChoiceField(label="As which login?", required=False, widget=forms.RadioSelect)
    minutes = forms.TypedChoiceField(label="For how long?", coerce=int, widget=forms.RadioSelect)

    def __init__(self, card: Card, data: Any = None, known: Known | None = None) -> None:
        super().__init__(data)
        self.card, known = card, known or Known()
        choices = [(str(i.id), f"{i.label}: {i.title}") for i in queries.open_incidents()[:50]]
        first = known.incident if known.incident in dict(choices) else choices[0][0] if choices else NEW
        self._choose("incident", [*choices, (NEW, "A new incident")], first)
        self._choose("assets", [(name, name) for name in card.assets], known.assets_of(card))
        login = known.login if known.login in card.logins else ""
        self._choose("login", [("", "any of them"), *((login, login) for login in card.logins)], login)
        lengths = sorted(
            {*(step for step in STEPS if step <= card.max_minutes), card.default_minutes, card.max_minutes}
        )
        length = known.minutes if known.minutes in lengths else card.default_minutes
        self._choose("minutes", [(str(m), minutes(m)) for m in lengths], str(length))
        self.fields["reason"].initial = known.reason
        # What there is to type comes first under the fingers; what is filled in needs no visit.
        if data is None:
            self.fields["incident_title" if first == NEW else "reason"].widget.attrs["autofocus"] = True
        if len(card.assets) == 1:
            del self.fields["assets"]
        if len(card.logins) == 1:
            del self.fields["login"]

    def _choose(self, name: str, choices: list[tuple[str, str]], first: Any) -> None:
        self.fields[name].choices = choices  # type: ignore[attr-defined]
        self.fields[name].initial = first

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("incident") == NEW and not cleaned.get("incident_title", "").strip():
            self.add_error("incident_title", "Name the new incident, so that others find it.")
        return cleaned

    def pick(self, opened: Incident) -> str:
        """The incident was opened on the way: should the request be refused, the form comes back with it picked."""
        self.data = {**self.data.dict(), "incident": str(opened.id), "assets": self.data.getlist("assets")}  # type: ignore[attr-defined]
        self._choose(
            "incident", [(str(opened.id), f"{opened.label}: {opened.title}"), (NEW, "A new incident")], NEW
        )
        return str(opened.id)

    @property
    def asset_names(self) -> list[str]:
        return self.cleaned_data["assets"] if "assets" in self.fields else list(self.card.assets)


@require_http_methods(["GET", "POST"])
def request_new(request: HttpRequest, slug: str) -> HttpResponse:
    person = person_of(request)
    card = for_groups(card_of(current_version(slug)), groups_of(person))
    if not card.may_ask:
        raise refuse(
            RefusalCode.NOT_ALLOWED, verb="ask for this playbook", who=f"somebody of {card.requesters}"
        )
    known = _known(request, person)
    form = RequestForm(card, request.POST if request.method == "POST" else None, known)
    refused: Refusal | None = None
    if request.method == "POST" and form.is_valid():
        try:
            return redirect("request", _submit(request, form).id)
        except Refused as no:
            refused = _beside_its_field(form, no.refusal)
    wrong = request.method == "POST"
    status = refused.status if refused else 422 if wrong else 200
    return render(
        request,
        "breakglass/request_new.html",
        {"card": card, "form": form, "refusal": refused, "known": known},
        status=status,
    )


def _known(request: HttpRequest, person: Person) -> Known:
    """Out of the address: `again`, a request of one's own; `asset`; `incident`. What isn't fitting is left out."""
    again = _own_request(person, request.GET.get("again", ""))
    if again is not None:
        names = tuple(asset.name for asset in again.assets.all())
        return Known(again.label, str(again.incident_id), names, again.login, again.minutes, again.reason)
    return Known(incident=request.GET.get("incident", ""), assets=(request.GET.get("asset", ""),))


def _own_request(person: Person, request_id: str) -> AccessRequest | None:
    try:
        return queries.requests_of(person).filter(pk=UUID(request_id)).first()
    except ValueError:
        return None


def _submit(request: HttpRequest, form: RequestForm) -> Any:
    person, now, cleaned = person_of(request), clock.now(), form.cleaned_data
    incident_id = cleaned["incident"]
    if incident_id == NEW:
        opened = incidents.open_incident(person, cleaned["incident_title"], now)
        incident_id = form.pick(opened)
    plea = SubmitForm(
        playbook=form.card.slug,
        incident_id=UUID(incident_id),
        assets=tuple(form.asset_names),
        login=cleaned.get("login") or None,
        minutes=cleaned["minutes"],
        reason=cleaned["reason"],
    )
    return requests.submit(person, plea, now)


def _beside_its_field(form: RequestForm, refusal: Refusal) -> Refusal | None:
    """Puts the refusal at the field that it is about; returns it where it is about none."""
    field = FIELD_OF.get(refusal.code, "")
    if field not in form.fields:
        return refusal
    form.add_error(field, f"{refusal.message} {refusal.help}")
    return None
