"""Ending a grant: its holder releases it, an approver or administrator revokes it."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from breakglass import clock, queries
from breakglass.domain import grants as rules
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import Refusal, Refused
from breakglass.services import grants
from breakglass.web.step_up import StepUpForm
from breakglass.web.who import demand, person_of


class RevokeForm(StepUpForm):
    reason = forms.CharField(
        label="Why?",
        max_length=500,
        help_text="On record. The person is told only that their access was withdrawn.",
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Say why."},
    )


@require_POST
def grant_release(request: HttpRequest, grant_id: UUID) -> HttpResponse:
    person = person_of(request)
    grant = queries.grant_for(person, grant_id)
    demand(person, Verb.RELEASE_GRANT, queries.thing_of_grant(grant))
    grants.release(grant.id, person, clock.now())
    messages.success(request, "Released. Open sessions under it were ended. Thank you for closing the door.")
    return redirect("request", grant.request_id)


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def grant_revoke(request: HttpRequest, grant_id: UUID) -> HttpResponse:
    person, now = person_of(request), clock.now()
    grant = queries.grant_for(person, grant_id)
    demand(person, Verb.REVOKE_GRANT, queries.thing_of_grant(grant))
    form = RevokeForm(
        request.POST if request.method == "POST" else None, person=person, action="revoke", subject=grant.id
    )
    refused: Refusal | None = None
    if request.method == "POST" and form.is_valid():
        try:
            grants.revoke(grant.id, person, form.cleaned_data["reason"], form.answer, now)
        except Refused as no:
            refused = no.refusal
        else:
            messages.success(request, "Revoked. Open sessions under it were ended.")
            return redirect("request", grant.request_id)
    context = {"grant": grant, "form": form, "refusal": refused, "live": rules.is_live(grant.term, now)}
    return render(request, "breakglass/revoke.html", context, status=refused.status if refused else 200)
