"""The notice on every page while an override runs: whoever looks after the house sees it, wherever they are in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Exists, OuterRef, Q
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from breakglass import clock, queries
from breakglass.domain.permissions import ADMINISTRATORS, AUDITORS, REVIEWERS, SUPERVISORS, Thing, Verb
from breakglass.models import AccessRequest, Grant, Person
from breakglass.web import live, reads
from breakglass.web.who import can, groups_of, person_of

TEMPLATE = "breakglass/parts/alarms_rows.html"
MOST = 20
OVERSEE = frozenset({SUPERVISORS, REVIEWERS, AUDITORS, ADMINISTRATORS})


@dataclass(frozen=True)
class Alarm:
    """An override that runs: who got in, where, by whose word, how long still, and whether they are logged in now."""

    grant: Grant
    decided_by: str
    assets: str
    sessions: int


def oversees(person: Person) -> bool:
    """Whether overrides are this person's business at all: what the page asks before it asks for any."""
    groups = groups_of(person)
    return bool(groups & OVERSEE) or reads.approves_anything(groups)


def running(person: Person, now: datetime) -> list[Alarm]:
    """The overrides that run now and that this person may see, but for their own; the first to end first."""
    alone = Q(pk=OuterRef("request_id")) | Q(extends=OuterRef("pk"))
    found = (
        Grant.objects.filter(
            queries.live_at(now), Exists(AccessRequest.objects.filter(alone, is_override=True))
        )
        .exclude(person=person)
        .select_related("person", "playbook", "request", "incident")
        .defer("playbook__spec")
        .prefetch_related("assets", "request__approvals__person", "extensions__approvals__person")
        .annotate(logged_in=Count("ssh_sessions", filter=~Q(ssh_sessions__state="ended"), distinct=True))
        .order_by("ends_at", "issued_at")[:MOST]
    )
    return [
        Alarm(
            grant=grant,
            decided_by=_decided_by(grant),
            assets=", ".join(sorted(asset.name for asset in grant.assets.all())),
            sessions=grant.logged_in,
        )
        for grant in found
        if can(person, Verb.SEE_REQUEST, _thing(grant))
    ]


@require_safe
def alarms(request: HttpRequest) -> HttpResponse:
    """The rows for a page that asks again; 204 when it has seen them."""
    person = person_of(request)
    rows = running(person, clock.now()) if oversees(person) else []
    html, mark = live.block(request, TEMPLATE, {"alarms": rows, "now": clock.now()})
    return HttpResponse(status=204) if request.GET.get("seen") == mark else HttpResponse(html)


def shown(request: HttpRequest, person: Person, now: datetime) -> str:
    """The rows as they stand, for the page itself."""
    html, _ = live.block(request, TEMPLATE, {"alarms": running(person, now), "now": now})
    return html


def _thing(grant: Grant) -> Thing:
    """As `queries.thing_of_request` of its request, without asking for the playbook once a row."""
    return Thing(owner_id=grant.person_id, approver_groups=queries.rule_of(grant.playbook).groups)


def _decided_by(grant: Grant) -> str:
    alone = [ask for ask in (grant.request, *grant.extensions.all()) if ask.is_override]
    decisions = [row for ask in alone for row in ask.approvals.all()]
    last = max(decisions, key=lambda row: row.decided_at, default=None)
    return last.person.get_full_name() if last else ""
