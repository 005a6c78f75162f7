"""Asking for more time under a grant that runs: the same approvers, one short form."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from breakglass import clock, queries
from breakglass.domain.policy import LEAST_REASON
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refuse
from breakglass.services import extensions
from breakglass.services.extensions import ExtendForm
from breakglass.web.cards import card_of
from breakglass.web.request_new import STEPS, TOO_SHORT
from breakglass.web.tags import minutes
from breakglass.web.who import person_of

FIELD_OF = {RefusalCode.REASON_MISSING: "reason", RefusalCode.DURATION_OUT_OF_BOUNDS: "minutes"}


class MoreTimeForm(forms.Form):
    reason = forms.CharField(
        label="What is still to do?",
        help_text="The approvers decide on this, and it stays on record.",
        widget=forms.Textarea(attrs={"rows": 3}),
        min_length=LEAST_REASON,
        max_length=2000,
        error_messages=TOO_SHORT,
    )
    minutes = forms.TypedChoiceField(label="How much more?", coerce=int, widget=forms.RadioSelect)

    def __init__(self, longest: int, usual: int, data: Any = None) -> None:
        super().__init__(data)
        usual = min(usual, longest)
        lengths = sorted({*(step for step in STEPS if step <= longest), usual, longest})
        self.fields["minutes"].choices = [(str(m), minutes(m)) for m in lengths]  # type: ignore[attr-defined]
        self.fields["minutes"].initial = str(usual)


@require_http_methods(["GET", "POST"])
def grant_extend(request: HttpRequest, grant_id: UUID) -> HttpResponse:
    person, now = person_of(request), clock.now()
    grant = queries.grant_for(person, grant_id)
    if grant.person_id != person.pk:
        raise refuse(RefusalCode.GRANT_FOREIGN)
    longest, card = extensions.longest(grant, now), card_of(grant.playbook)
    posted = request.POST if request.method == "POST" else None
    form = MoreTimeForm(longest, card.default_minutes, posted)
    refused: Refusal | None = None
    if not longest:
        # Nothing can be asked for: the service says why, in the same words everywhere.
        refused = extensions.objection(grant, 1, now)
    elif posted is not None and form.is_valid():
        plea = ExtendForm(grant.pk, form.cleaned_data["reason"], form.cleaned_data["minutes"])
        try:
            return redirect("request", extensions.ask(person, plea, now).pk)
        except Refused as no:
            refused = _beside_its_field(form, no.refusal)
    context = {"grant": grant, "card": card, "form": form, "refusal": refused, "open": bool(longest)}
    status = refused.status if refused else 422 if form.errors else 200
    return render(request, "breakglass/extend.html", context, status=status)


def _beside_its_field(form: MoreTimeForm, no: Refusal) -> Refusal | None:
    field = FIELD_OF.get(no.code)
    if field is None:
        return no
    form.add_error(field, f"{no.message} {no.help}")
    return None
