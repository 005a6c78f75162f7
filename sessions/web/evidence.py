"""The evidence of a grant: what it is, whose key signs it, and the button that makes it."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from breakglass import clock, queries
from breakglass.domain.permissions import Verb
from breakglass.web.who import can, demand, person_of
from sessions.models import Review
from sessions.queries import sessions_of_grant
from sessions.services import evidence
from sessions.states import ReviewState
from sessions.streaming import download


@require_http_methods(["GET", "POST"])
def grant_evidence(request: HttpRequest, grant_id: UUID) -> HttpResponse | StreamingHttpResponse:
    person = person_of(request)
    grant = queries.grant_for(person, grant_id)
    thing = queries.thing_of_grant(grant)
    demand(person, Verb.EXPORT_EVIDENCE, thing)
    if request.method == "POST":
        made = evidence.export(grant.pk, person, clock.now(), with_files="files" in request.POST)
        return download(request, made.pieces(), made.name, made.size, "application/zip", made.sha256)
    rules = queries.spec_of(grant.playbook).files
    review = Review.objects.filter(grant=grant).first()
    context = {
        "grant": grant,
        "sessions": sessions_of_grant(grant).count(),
        "unsigned": review is None or review.state != ReviewState.SIGNED,
        "may_replay": can(person, Verb.REPLAY_SESSION, thing),
        "keeps_copies": rules is not None and rules.keep_contents,
        "fingerprint": evidence.fingerprint(),
        "signer": evidence.public_key(),
    }
    return render(request, "gateway/evidence.html", context)
