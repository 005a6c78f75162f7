"""The escort: where the playbook asks for one, input passes only while one of these people watches.

The books say it here; each gateway reads for itself whether an escort's watch is fresh (gateway/company.py), and holds
the session when it isn't: nothing here has to run for that.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import QuerySet

from breakglass.domain.audit import AuditTag
from breakglass.domain.text import one_line
from breakglass.models import Person, PlaybookVersion
from breakglass.queries import escorts_of, groups_of, people_in, person_lock
from breakglass.services import audit, notices
from sessions.models import SSHSession, Watch
from sessions.states import OPEN_STATES

FRESH: Final = timedelta(seconds=6)
"""An escort whose page gave no sign of life for so long isn't there."""


def may_be(person: Person, session: SSHSession) -> bool:
    """Whether this person's watching is what the session waits for: of the playbook's groups, one of our own, not locked
    out, and not who is watched."""
    return _could_be(person, session) and person_lock(person) is None


def _could_be(person: Person, session: SSHSession) -> bool:
    if (
        not session.escort_needed
        or not person.is_active
        or person.is_vendor
        or person.pk == session.person_id
    ):
        return False
    return bool(groups_of(person) & escorts_of(session.grant.playbook))


def waiting_for(person: Person) -> list[SSHSession]:
    """The sessions that are held until an escort watches, and that this person could escort: the oldest first."""
    if person_lock(person) is not None:
        return []
    rows = SSHSession.objects.filter(
        state__in=OPEN_STATES, kill_requested_at=None, escort_needed=True, escort_missing_at__isnull=False
    ).select_related("person", "asset", "grant", "grant__playbook", "grant__incident")
    return [row for row in rows.order_by("escort_missing_at") if _could_be(person, row)]


def who(version: PlaybookVersion) -> str:
    """The groups in words: "plant-staff or ot-leads"."""
    return " or ".join(sorted(escorts_of(version)))


def call(session: SSHSession, now: datetime) -> None:
    """In the transaction that opens it: everybody who could be its escort is told, with the way to watch."""
    person, version = session.person, session.grant.playbook
    name = one_line(person.get_full_name(), 80)
    notices.queue(
        [one for one in people_in(escorts_of(version)) if one.pk != person.pk and not one.is_vendor],
        topic=f"session:{session.pk}",
        subject=f"{name} needs an escort on {session.asset.name}",
        body=(
            f"{session.label} under {version.title} is held until one of {who(version)} watches it live. "
            f"It is held again whenever no escort watches. Open: {settings.BREAKGLASS.public_url}/sessions/{session.pk}/watch/"
        ),
        path=f"/sessions/{session.pk}/watch/",
        now=now,
    )


def came(session: SSHSession, person: Person, now: datetime) -> None:
    """In the transaction of their watch, with the session's row locked."""
    missing = SSHSession.objects.filter(pk=session.pk, escort_missing_at__isnull=False)
    if missing.update(escort_missing_at=None):
        data = {"session": session.label}
        audit.append(AuditTag.ESCORT_CAME, actor=person, subject=session, now=now, data=data)


def went(session: SSHSession, now: datetime) -> None:
    """In the transaction that ended an escort's watch, with the session's row locked: was it the last one?"""
    there: QuerySet[Watch] = Watch.objects.filter(session=session, escort=True, ended_at=None)
    if there.filter(seen_at__gte=now - FRESH).exists():
        return
    running = SSHSession.objects.filter(pk=session.pk, state__in=OPEN_STATES, escort_missing_at=None)
    if running.update(escort_missing_at=now):
        data = {"session": session.label}
        audit.append(AuditTag.ESCORT_LEFT, actor=None, subject=session, now=now, data=data)
