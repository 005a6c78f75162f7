"""Assets: their pinned host keys, and which playbooks lead to them. Never a secret; addresses for administrators only."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from breakglass import clock, queries
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refuse
from breakglass.models import Asset, Person
from breakglass.services import assets as service
from breakglass.web.code_form import ABOUT_THE_CODE, put_beside
from breakglass.web.step_up import StepUpForm
from breakglass.web.who import can, demand, person_of


@require_safe
def assets(request: HttpRequest) -> HttpResponse:
    person = person_of(request)
    demand(person, Verb.SEE_ASSETS)
    rows = Asset.objects.prefetch_related("host_keys", "logins")
    return render(
        request, "breakglass/assets.html", {"assets": rows, "addresses": can(person, Verb.MANAGE_ASSETS)}
    )


@sensitive_post_parameters("code")
@require_http_methods(["GET", "HEAD", "POST"])
def asset(request: HttpRequest, name: str) -> HttpResponse:
    """What it is; for administrators also the switch for old algorithms, which POST turns."""
    person = person_of(request)
    demand(person, Verb.SEE_ASSETS)
    found = Asset.objects.prefetch_related("host_keys", "logins").filter(name=name).first()
    if found is None:
        raise refuse(RefusalCode.UNKNOWN_ASSET, asset=name[:63])
    form, refused = None, None
    if can(person, Verb.MANAGE_ASSETS):
        form = StepUpForm(
            request.POST if request.method == "POST" else None,
            person=person,
            action="allow old algorithms",
            subject=found.name,
        )
    if request.method == "POST":
        demand(person, Verb.MANAGE_ASSETS)
        assert form is not None
        refused = _switch(found, person, form, request.POST.get("allowed"))
        if not refused and not form.errors:
            messages.success(request, f"Old algorithms are {_word(found)} for {found.name}.")
            return redirect("asset", found.name)
    leading = [version for version in queries.current_playbooks() if name in queries.spec_of(version).assets]
    context = {"asset": found, "playbooks": leading, "addresses": can(person, Verb.MANAGE_ASSETS)}
    context |= {"form": form, "refusal": refused}
    status = refused.status if refused else 422 if form and form.errors else 200
    return render(request, "breakglass/asset.html", context, status=status)


def _switch(found: Asset, person: Person, form: StepUpForm, wanted: str | None) -> Refusal | None:
    """The refusal to stand on top; what is about the code stands beside it."""
    if not form.is_valid():
        return None
    try:
        if wanted not in {"yes", "no"}:
            raise refuse(RefusalCode.BAD_INPUT, problem="Press Allow or Forbid.")
        service.allow_old_algorithms(found, wanted == "yes", by=person, code=form.answer, now=clock.now())
    except Refused as no:
        if no.refusal.code not in ABOUT_THE_CODE:
            return no.refusal
        put_beside(form, no.refusal)
    return None


def _word(found: Asset) -> str:
    return "allowed" if found.legacy_algorithms else "forbidden"
