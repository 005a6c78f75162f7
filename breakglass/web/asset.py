"""Assets: their pinned host keys, and which playbooks lead to them. Never a secret; addresses for administrators only."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from breakglass import queries
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Asset
from breakglass.web.who import can, demand, person_of


@require_safe
def assets(request: HttpRequest) -> HttpResponse:
    person = person_of(request)
    demand(person, Verb.SEE_ASSETS)
    rows = Asset.objects.prefetch_related("host_keys", "logins")
    return render(
        request, "breakglass/assets.html", {"assets": rows, "addresses": can(person, Verb.MANAGE_ASSETS)}
    )


@require_safe
def asset(request: HttpRequest, name: str) -> HttpResponse:
    person = person_of(request)
    demand(person, Verb.SEE_ASSETS)
    found = Asset.objects.prefetch_related("host_keys", "logins").filter(name=name).first()
    if found is None:
        raise refuse(RefusalCode.UNKNOWN_ASSET, asset=name[:63])
    leading = [version for version in queries.current_playbooks() if name in queries.spec_of(version).assets]
    context = {"asset": found, "playbooks": leading, "addresses": can(person, Verb.MANAGE_ASSETS)}
    return render(request, "breakglass/asset.html", context)
