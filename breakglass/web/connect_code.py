"""A one-time connect code: the password for one login, from a machine that has no key of yours."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from breakglass import clock, queries
from breakglass.domain.refusals import Refused
from breakglass.services import connect_codes, grants
from breakglass.services.connect_codes import IssuedCode
from breakglass.web.cards import card_of
from breakglass.web.code_form import put_beside
from breakglass.web.step_up import StepUpForm
from breakglass.web.way_in import ways_in
from breakglass.web.who import person_of


@sensitive_post_parameters("code")
@sensitive_variables("issued")
@require_http_methods(["GET", "POST"])
def connect_code(request: HttpRequest, grant_id: UUID) -> HttpResponse:
    person, now = person_of(request), clock.now()
    grant = queries.grant_for(person, grant_id)
    grants.held(grant.id, person, now)
    form = StepUpForm(
        request.POST if request.method == "POST" else None,
        person=person,
        action="connect code",
        subject=grant.id,
    )
    issued: IssuedCode | None = None
    if request.method == "POST" and form.is_valid():
        try:
            issued = connect_codes.issue(person, grant.id, form.answer, now)
        except Refused as no:
            put_beside(form, no.refusal)
    context = {
        "grant": grant,
        "form": form,
        "issued": issued,
        "ways": ways_in(grant, person, card_of(grant.playbook)),
    }
    return render(request, "breakglass/connect_code.html", context, status=422 if form.errors else 200)
