"""Playbooks: the list with versions and digests, and one with its runbook."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from breakglass import queries
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import PlaybookVersion
from breakglass.web import markdown
from breakglass.web.cards import card_of, for_groups
from breakglass.web.who import demand, groups_of, person_of


def current_version(slug: str) -> PlaybookVersion:
    """The version in use. Raises the refusal `not_found`."""
    version = queries.current_playbook(slug)
    if version is None:
        raise refuse(RefusalCode.NOT_FOUND, what="playbook")
    return version


@require_safe
def playbooks(request: HttpRequest) -> HttpResponse:
    person = person_of(request)
    demand(person, Verb.SEE_PLAYBOOKS)
    cards = [card_of(version) for version in queries.current_playbooks()]
    return render(request, "breakglass/playbooks.html", {"cards": cards})


@require_safe
def playbook(request: HttpRequest, slug: str) -> HttpResponse:
    person = person_of(request)
    demand(person, Verb.SEE_PLAYBOOKS)
    card = for_groups(card_of(current_version(slug)), groups_of(person))
    return render(
        request, "breakglass/playbook.html", {"card": card, "runbook": markdown.render(card.runbook)}
    )
