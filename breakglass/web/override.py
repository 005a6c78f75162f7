"""The override's own page: a supervisor decides alone, and reads first how loud that is."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from breakglass import clock, queries
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import Refusal, RefusalCode, Refused
from breakglass.models import AccessRequest, Person
from breakglass.services import matching, override
from breakglass.web.cards import card_of
from breakglass.web.inbox import number_field
from breakglass.web.step_up import StepUpForm
from breakglass.web.who import demand, person_of


class OverrideForm(StepUpForm):
    reason = forms.CharField(
        label="Why do you decide alone?",
        max_length=override.MOST_REASON,
        help_text="All approvers, administrators and auditors read it now; two reviewers afterwards.",
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": "Say why nobody else decides, in a sentence."},
    )

    def __init__(self, data: Any, person: Person, ask: AccessRequest) -> None:
        super().__init__(data, person=person, action=override.ACTION, subject=ask.pk)
        self.wants_number = ask.match_number is not None
        if self.wants_number:
            self.fields["number"] = number_field(ask, matching.choices(ask, person))


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def request_override(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """GET shows, POST decides: opening the link changes nothing."""
    person, now = person_of(request), clock.now()
    ask = queries.request_for(person, request_id)
    demand(person, Verb.OVERRIDE_REQUEST, queries.thing_of_request(ask))
    closed = override.objection(ask, person, now)
    sent = request.POST if request.method == "POST" else None
    form = OverrideForm(sent, person, ask)
    refused: Refusal | None = None
    if sent is not None and form.is_valid():
        try:
            said = form.cleaned_data
            number = int(said["number"]) if said.get("number") else None
            done = override.decide(ask.id, person, form.answer, said["reason"], now, number=number)
        except Refused as no:
            if no.refusal.code is RefusalCode.MATCH_NUMBER_WRONG:
                # From now on it is typed: the form that comes back offers nothing to pick from.
                form = OverrideForm(sent, person, ask)
                form.is_valid()
            refused = _beside_its_field(form, no.refusal)
        else:
            name = ask.requester.get_full_name()
            messages.success(
                request, f"{done.label} is approved by your override. {name} and everybody else were told."
            )
            return redirect("request", ask.id)
    context = {
        "ask": ask,
        "card": card_of(ask.playbook),
        "asset_names": sorted(asset.name for asset in ask.assets.all()),
        "old_assets": {asset.name for asset in ask.assets.all() if asset.legacy_algorithms},
        "asked_people": [one.get_full_name() for one in queries.approvers_of(ask)],
        "form": form,
        "refusal": refused,
        "closed": closed,
        "opens_at": override.opens_at(ask)
        if closed and closed.code is RefusalCode.OVERRIDE_TOO_EARLY
        else None,
    }
    status = refused.status if refused else 422 if form.errors else 200
    return render(request, "breakglass/override.html", context, status=status)


def _beside_its_field(form: OverrideForm, no: Refusal) -> Refusal | None:
    code = "otp" in no.needs or no.code is RefusalCode.THROTTLED
    about = "code" if code else next((name for name in ("reason", "number") if name in no.needs), "")
    if not about:
        return no
    form.add_error(about, f"{no.message} {no.help}".strip())
    return None
