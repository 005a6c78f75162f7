"""Incidents: opened when something happened, closed when nothing of it is left open."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Max, Q

from breakglass import doorbell
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import one_line
from breakglass.models import AuditHead, Incident, Person
from breakglass.queries import refuse_unless, thing_of_incident
from breakglass.services import audit, grants, requests

LEAST_TITLE = 5


def open_incident(person: Person, title: str, now: datetime) -> Incident:
    """A new incident. Raises Refused `bad_input` for a title that says nothing."""
    refuse_unless(person, Verb.OPEN_INCIDENT)
    title = one_line(title, 161)
    if not LEAST_TITLE <= len(title) <= 160:
        raise refuse(
            RefusalCode.BAD_INPUT,
            problem="Say in 5 to 160 characters what happened.",
            needs=("incident_title",),
        )
    with transaction.atomic():
        AuditHead.objects.select_for_update().get(id=1)
        latest = Incident.objects.aggregate(latest=Max("number"))["latest"] or 0
        incident = Incident.objects.create(number=latest + 1, title=title, opened_by=person, opened_at=now)
        data = {"incident": incident.label, "title": title}
        audit.append(AuditTag.INCIDENT_OPENED, actor=person, subject=incident, now=now, data=data)
    return incident


def close(incident_id: UUID, person: Person, now: datetime) -> Incident:
    """End the incident: pending requests are withdrawn, live grants revoked.

    Raises Refused `incident_busy` while a review of one of its ended grants is not signed (E12). All row locks are
    taken before the trail's: incident, requests, grants, as everybody else does.
    """
    with transaction.atomic():
        incident = Incident.objects.select_for_update(no_key=True).filter(pk=incident_id).first()
        if incident is None:
            raise refuse(RefusalCode.NOT_FOUND, what="incident")
        refuse_unless(person, Verb.CLOSE_INCIDENT, thing_of_incident(incident))
        if not incident.is_open:
            raise refuse(RefusalCode.INCIDENT_CLOSED, incident=incident.label)
        requests.lock_pending(incident.pk)
        grants.lock_live(incident.pk)
        _refuse_unreviewed(incident, now)
        incident.closed_at, incident.closed_by = now, person
        incident.save(update_fields=("closed_at", "closed_by"))
        withdrawn = requests.withdraw_for_incident(incident.pk, person, now)
        revoked = grants.revoke_for_incident(incident.pk, person, now)
        data = {"incident": incident.label, "withdrawn": withdrawn, "revoked": revoked}
        audit.append(AuditTag.INCIDENT_CLOSED, actor=person, subject=incident, now=now, data=data)
        doorbell.ring("sessions", incident=str(incident.pk))
    return incident


def _refuse_unreviewed(incident: Incident, now: datetime) -> None:
    ended = Q(ended_at__isnull=False) | grants.over(now)
    unsigned = incident.grants.filter(ended, reviewed_at=None).count()
    if unsigned:
        raise refuse(
            RefusalCode.INCIDENT_BUSY, incident=incident.label, what=f"{unsigned} review(s) not signed"
        )
