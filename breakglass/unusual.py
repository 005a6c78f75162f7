"""What an approver should notice about a request, in words. Reads only; as many queries for many requests as for one."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Min

from breakglass.domain.requests import RequestState
from breakglass.models import AccessRequest

USUAL_HOURS = range(6, 19)


def unusual_facts(request: AccessRequest) -> list[str]:
    """What is unusual about this one."""
    return unusual_facts_of([request])[request.pk]


def unusual_facts_of(requests: Collection[AccessRequest]) -> dict[UUID, list[str]]:
    """What is unusual about each, by the request's id; empty lists included."""
    past = _Past(requests)
    return {request.pk: past.of(request) for request in requests}


class _Past:
    """What these requesters asked for before."""

    def __init__(self, requests: Collection[AccessRequest]) -> None:
        theirs = AccessRequest.objects.filter(requester__in={r.requester_id for r in requests}).order_by()
        self._first_use = {
            (person, slug): first
            for person, slug, first in theirs.values_list("requester", "playbook__slug").annotate(
                first=Min("submitted_at")
            )
        }
        incidents = {request.incident_id for request in requests}
        denied = theirs.filter(state=RequestState.DENIED, incident__in=incidents)
        self._denied = {
            (person, incident): first
            for person, incident, first in denied.values_list("requester", "incident").annotate(
                first=Min("submitted_at")
            )
        }
        self._asked: dict[UUID, list[datetime]] = {}
        if requests:
            since = min(_midnight(request) for request in requests)
            lately = theirs.filter(submitted_at__gte=since).values_list("requester", "submitted_at")
            for person, at in lately:
                self._asked.setdefault(person, []).append(at)

    def of(self, request: AccessRequest) -> list[str]:
        found = []
        person, at = request.requester_id, request.submitted_at
        if self._first_use.get((person, request.playbook.slug), at) >= at:
            found.append("First use of this playbook by this person")
        local = _local(request)
        if local.hour not in USUAL_HOURS or local.weekday() >= 5:
            found.append(f"Outside usual hours ({local:%a %H:%M} {settings.BREAKGLASS.time_zone})")
        today = sum(_midnight(request) <= other < at for other in self._asked.get(person, ()))
        if today:
            found.append(f"Request number {today + 1} by this person today")
        if self._denied.get((person, request.incident_id), at) < at:
            found.append("An earlier request for this incident was denied")
        old = sorted(asset.name for asset in request.assets.all() if asset.legacy_algorithms)
        if old:
            found.append(
                f"{', '.join(old)}: reached with old, weak SSH algorithms, as an administrator allowed"
            )
        return found


def _local(request: AccessRequest) -> datetime:
    return request.submitted_at.astimezone(ZoneInfo(settings.BREAKGLASS.time_zone))


def _midnight(request: AccessRequest) -> datetime:
    return _local(request).replace(hour=0, minute=0, second=0, microsecond=0)
