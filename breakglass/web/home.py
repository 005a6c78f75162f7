"""The start page: what is mine and open on top, then the playbooks that fit me as cards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from breakglass import clock, queries
from breakglass.domain import grants, requests
from breakglass.domain.grants import GrantState
from breakglass.domain.permissions import ADMINISTRATORS, REVIEWERS, Verb
from breakglass.domain.requests import RequestState
from breakglass.models import AccessRequest, Person
from breakglass.services import notice_gaps, notices, override
from breakglass.web import live, reads
from breakglass.web.cards import card_of, for_groups
from breakglass.web.find import ask_url
from breakglass.web.who import can, groups_of, person_of

NOTICES = 5


@dataclass(frozen=True)
class Mine:
    """One line on top: a grant or a request of mine that is open."""

    url: str
    title: str
    state: str
    word: str
    assets: list[str]
    says: str
    verb: str
    clock: str
    until: datetime | None
    until_says: str


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    person, now = person_of(request), clock.now()
    groups = groups_of(person)
    cards = [for_groups(card_of(version), groups) for version in queries.current_playbooks()]
    fitting = sorted((card for card in cards if card.may_ask), key=lambda card: card.title.casefold())
    asks = bool(fitting) or not (reads.approves_anything(groups) or can(person, Verb.LIST_REVIEWS))
    html, _ = live.block(request, "breakglass/parts/mine.html", _mine(person, now))
    last = reads.last_asked(person, {card.slug for card in fitting})
    context = {
        "cards": fitting,
        "asks": asks,
        "live": html,
        "needs_key": bool(fitting) and not person.ssh_keys.filter(removed_at=None).exists(),
        "work": _work(person, now),
        "again": last,
        "again_url": ask_url(last.playbook.slug) if last else "",
    }
    return render(request, "breakglass/home.html", context)


@require_safe
def home_live(request: HttpRequest) -> HttpResponse:
    return live.answer(request, "breakglass/parts/mine.html", _mine(person_of(request), clock.now()))


@require_safe
def home_events(request: HttpRequest) -> StreamingHttpResponse:
    person = person_of(request)
    mine = [f"request:{ask.id}" for ask in reads.open_requests_of(person)]
    return live.stream(["inbox", *mine])


@require_POST
def notices_seen(request: HttpRequest) -> HttpResponse:
    """All that was told so far is read."""
    notices.mark_seen(person_of(request), clock.now())
    return redirect("home")


def _mine(person: Person, now: datetime) -> dict[str, Any]:
    rows = [row for ask in reads.open_requests_of(person) if (row := _row(ask, now))]
    to_decide = len(override.waits_for(person, now)) if reads.approves_anything(groups_of(person)) else 0
    says = ", ".join(f"{row.title}: {row.word or row.state}" for row in rows) or "nothing of yours is open"
    told = list(queries.unseen_notices(person)[:NOTICES])
    gaps = notice_gaps.everywhere(now) if ADMINISTRATORS in groups_of(person) else []
    return {"mine": rows, "to_decide": to_decide, "notices": told, "says": says, "gaps": gaps}


def _row(ask: AccessRequest, now: datetime) -> Mine | None:
    url = reverse("request", args=[ask.id])
    assets = [asset.name for asset in ask.assets.all()]
    grant = getattr(ask, "grant", None)
    if grant is None:
        if requests.state_at(RequestState(ask.state), ask.lapses_at, now) is not RequestState.PENDING:
            return None
        return Mine(
            url,
            ask.title,
            "pending",
            "",
            assets,
            str(ask.incident),
            "Follow",
            ask.label,
            ask.lapses_at,
            "until it lapses",
        )
    state = grants.state_at(grant.term, now)
    if state is GrantState.ARMED:
        return Mine(
            url,
            ask.playbook.title,
            "armed",
            "",
            assets,
            str(ask.incident),
            "Get in",
            ask.label,
            grant.use_by,
            "to log in",
        )
    if state is GrantState.ACTIVE:
        return Mine(
            url,
            ask.playbook.title,
            "active",
            "",
            assets,
            str(ask.incident),
            "Get in",
            ask.label,
            grant.ends_at,
            "left",
        )
    return None


def _late(overdue: int) -> str:
    """Words beside the number: a colour alone says nothing."""
    if not overdue:
        return "What was done under each grant"
    return f"{overdue} overdue: sign {'it' if overdue == 1 else 'them'} first"


def _work(person: Person, now: datetime) -> list[dict[str, Any]]:
    """What there is to do for those who don't ask for access themselves."""
    groups, items = groups_of(person), []
    if REVIEWERS in groups:
        due, overrides = reads.reviews_waiting_for(person)
        says = _late(reads.overdue_reviews_for(person, now))
        items.append(
            {
                "url": reverse("reviews"),
                "label": "Reviews",
                "says": f"{says}; {overrides} of an override" if overrides else says,
                "count": due,
            }
        )
    if can(person, Verb.LIST_SESSIONS):
        items.append(
            {
                "url": reverse("sessions"),
                "label": "Sessions",
                "says": "Who was where, with the replay",
                "count": 0,
            }
        )
    if can(person, Verb.SEE_AUDIT):
        items.append(
            {
                "url": reverse("audit"),
                "label": "Audit trail",
                "says": "Every decision, each row chained to the one before",
                "count": 0,
            }
        )
    items.append(
        {
            "url": reverse("incidents"),
            "label": "Incidents",
            "says": "What happened, and what was asked for it",
            "count": 0,
        }
    )
    return items
