"""Which machine is it? Typing finds it, and the playbooks that lead there which this person may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from breakglass import queries
from breakglass.domain.permissions import Verb
from breakglass.domain.text import one_line
from breakglass.models import Asset
from breakglass.web.cards import Card, card_of, for_groups
from breakglass.web.who import demand, groups_of, person_of

MOST = 8
LONGEST = 64


@dataclass(frozen=True)
class Found:
    """One line: a machine with a playbook that leads there, or with why none does."""

    asset: str
    title: str
    playbook: str = ""
    url: str = ""
    says: str = ""


@require_safe
def find(request: HttpRequest) -> HttpResponse:
    """The list for the field on the start page; a page of its own for a browser without scripts."""
    person = person_of(request)
    demand(person, Verb.SEE_ASSETS)
    words = one_line(request.GET.get("q", ""), LONGEST)
    context: dict[str, Any] = {"words": words, "found": _found(words, groups_of(person)) if words else []}
    whole = not getattr(request, "htmx", False)
    return render(request, "breakglass/find.html" if whole else "breakglass/parts/found.html", context)


def ask_url(slug: str, **more: str) -> str:
    """Where this playbook is asked for, with what is known filled in."""
    known = {name: value for name, value in more.items() if value}
    return reverse("request_new", args=[slug]) + (f"?{urlencode(known)}" if known else "")


def _found(words: str, groups: frozenset[str]) -> list[Found]:
    matching = Q()
    for word in words.split():
        matching &= Q(name__icontains=word) | Q(title__icontains=word) | Q(owner__icontains=word)
    assets = list(Asset.objects.filter(matching, active=True).order_by("name")[:MOST])
    cards = (
        [for_groups(card_of(version), groups) for version in queries.current_playbooks()] if assets else []
    )
    return [
        line
        for asset in assets
        for line in _lines(asset, [card for card in cards if asset.name in card.assets])
    ]


def _lines(asset: Asset, leading: list[Card]) -> list[Found]:
    askable = [card for card in leading if card.may_ask]
    if askable:
        return [
            Found(
                asset.name,
                asset.title,
                card.title,
                ask_url(card.slug, asset=asset.name),
                f"approved by {card.approvers}",
            )
            for card in askable
        ]
    others = sorted({card.requesters for card in leading if not card.template})
    why = f"Only {' or '.join(others)} can ask for it." if others else "No playbook leads there."
    return [Found(asset.name, asset.title, says=why)]
