"""The queue of reviews: what is due and for how long still, whose it is, and what was signed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from breakglass import clock
from breakglass.domain.permissions import REVIEWERS, Verb
from breakglass.models import Person
from breakglass.web.tags import span
from breakglass.web.who import demand, groups_of, person_of
from sessions import queries_reviews
from sessions.models import Review
from sessions.services import claims
from sessions.states import ReviewState, review_state_at
from sessions.web.review import VERDICTS

PAGE = 25
TABS = (("mine", "Yours to sign"), ("due", "All open"), ("signed", "Signed"))


@require_safe
def reviews(request: HttpRequest) -> HttpResponse:
    person, now = person_of(request), clock.now()
    demand(person, Verb.LIST_REVIEWS)
    reviewer = REVIEWERS in groups_of(person)
    tabs = [tab for tab in TABS if reviewer or tab[0] != "mine"]
    which = request.GET.get("show", "")
    which = which if which in dict(tabs) else tabs[0][0]
    page = Paginator(queries_reviews.queue(person, which), PAGE).get_page(request.GET.get("page"))
    due = queries_reviews.queue(person, "due")
    context = {
        "tabs": tabs,
        "which": which,
        "page": page,
        "query": f"show={which}",
        "rows": rows_of(list(page), person, now),
        "open": due.count(),
        "overdue": due.filter(due_at__lte=now).count(),
    }
    return render(request, "gateway/reviews.html", context)


def rows_of(reviews: list[Review], person: Person, now: datetime) -> list[dict[str, Any]]:
    """The rows of one page, with as many queries for many as for one."""
    begun = queries_reviews.begun_by(reviews)
    overrides = queries_reviews.overrides_of([review.grant_id for review in reviews])
    barred = queries_reviews.deciders(reviews)
    assets = queries_reviews.assets_of([review.grant_id for review in reviews])
    return [
        {
            "review": review,
            "state": review_state_at(ReviewState(review.state), review.due_at, now),
            "left": span(review.due_at - now),
            "late": review.due_at <= now,
            "override": review.grant_id in overrides,
            "assets": assets.get(review.grant_id, []),
            "whose": _whose(review, begun.get(review.pk, []), person, barred=person.pk in barred[review.pk]),
            "claim": _claim(review, person, now),
            "verdict_says": dict(VERDICTS).get(review.second_verdict or review.verdict, ""),
        }
        for review in reviews
    ]


def _claim(review: Review, person: Person, now: datetime) -> dict[str, Any] | None:
    """Who has claimed it, and for how long still; None where it is anybody's."""
    claim = claims.of(review, now)
    if claim is None:
        return None
    mine = claim.person.pk == person.pk
    who = "You have it" if mine else f"{claim.person.get_full_name()} has it"
    return {"who": who, "mine": mine, "left": span(claim.until - now)}


def _whose(review: Review, begun: list[Person], person: Person, *, barred: bool) -> str:
    """Whose work it is, in words."""
    if barred:
        return "Not yours: you asked or decided"
    if review.reviewer and review.state == ReviewState.DUE:
        first = "You" if review.reviewer_id == person.pk else review.reviewer.get_full_name()
        return f"{first} signed first; a second reviewer is needed"
    if any(who.pk == person.pk for who in begun):
        return "You have begun"
    names = [who.get_full_name() for who in begun]
    return f"{', '.join(names[:2])} has begun" if names else "Nobody has begun"
