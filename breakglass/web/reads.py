"""Reads that only pages need; what rules need is in `breakglass.queries`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.urls import reverse

from breakglass import queries
from breakglass.domain import grants, requests
from breakglass.domain.grants import GrantState
from breakglass.domain.permissions import SUPERVISORS
from breakglass.domain.requests import RequestState
from breakglass.models import AccessRequest, Approval, Grant, Incident, Person


def standing(ask: AccessRequest, now: datetime) -> str:
    """The state of the request, or of its grant where there is one, at `now`."""
    grant = getattr(ask, "grant", None)
    if grant is not None:
        return str(grants.state_at(grant.term, now))
    return str(requests.state_at(RequestState(ask.state), ask.lapses_at, now))


def approves_anything(groups: frozenset[str]) -> bool:
    """Whether these groups decide on any playbook in use; supervisors do, where nobody else does."""
    return SUPERVISORS in groups or any(
        groups & queries.rule_of(version).groups for version in queries.current_playbooks()
    )


def open_requests_of(person: Person) -> QuerySet[AccessRequest]:
    """The person's own that may still be pending or live; the clock has the last word."""
    open_grant = Q(grant__state__in=(GrantState.ARMED, GrantState.ACTIVE))
    return queries.requests_of(person).filter(Q(state=RequestState.PENDING) | open_grant)


def last_asked(person: Person, slugs: Collection[str]) -> AccessRequest | None:
    """The newest request of this person for one of these playbooks, as it can be asked for again."""
    return (
        queries.requests_of(person).filter(extends=None, playbook__slug__in=slugs).order_by("-number").first()
    )


def decided_by(person: Person) -> QuerySet[AccessRequest]:
    """What this person has answered, newest first."""
    return queries.all_requests().filter(
        Exists(Approval.objects.filter(request=OuterRef("pk"), person=person))
    )


def requests_of_incident(incident: Incident) -> QuerySet[AccessRequest]:
    return queries.all_requests().filter(incident=incident)


def sessions_under(grant: Grant) -> list[dict[str, Any]]:
    """The ssh sessions of a grant, newest first. They belong to the data plane, which joins here by name."""
    rows = grant.ssh_sessions.select_related("asset", "recording", "receipt")
    return [
        {
            "url": reverse("session", args=[row.id]),
            "label": row.label,
            "state": "frozen" if row.frozen_at and not row.end_reason else row.state,
            "receipt": getattr(row, "receipt", None),
            "asset": row.asset.name,
            "login": row.login,
            "opened_at": row.opened_at,
            "end_reason": row.end_reason,
            "recording": getattr(getattr(row, "recording", None), "state", ""),
        }
        for row in rows
    ]


def overdue_reviews_for(person: Person, now: datetime) -> int:
    """Of those that are due, the ones whose time is over."""
    return _reviews_for(person).filter(review__due_at__lte=now).count()


def reviews_waiting_for(person: Person | None) -> tuple[int, int]:
    """Reviews that are due and that this person may sign, of neither their own nor an approved grant; None: all that are
    due. And how many of these are of overrides."""
    due = _reviews_for(person) if person else Grant.objects.filter(review__state="due")
    found = due.aggregate(due=Count("pk"), overrides=Count("pk", filter=Q(review__needs_second=True)))
    return found["due"], found["overrides"]


def _reviews_for(person: Person) -> QuerySet[Grant]:
    due = Grant.objects.filter(review__state="due").exclude(person=person).exclude(review__reviewer=person)
    decided = Q(request=OuterRef("request")) | Q(request__extends=OuterRef("pk"))
    return due.exclude(Exists(Approval.objects.filter(decided, person=person)))
