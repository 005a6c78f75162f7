"""The alarm at use: who got in by an override is at a machine now, and everybody who could end it is told."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Max, Q

from breakglass.domain.permissions import ADMINISTRATORS, AUDITORS, SUPERVISORS
from breakglass.domain.text import one_line
from breakglass.models import AccessRequest
from breakglass.queries import approvers_of, people_in, spec_of
from breakglass.services import notices
from sessions.models import SSHSession


def at_use(session: SSHSession, now: datetime) -> None:
    """In the transaction that opens it: the first session on each asset under an override is told to all approvers,
    administrators, auditors and supervisors, and on the playbook's ways. The rest of them stand on the grant's page. Who
    had consent before, and goes on by an override, is told of at their first login after it."""
    grant, ask = session.grant, session.grant.request
    alone = AccessRequest.objects.filter(Q(pk=grant.request_id) | Q(extends=grant), is_override=True)
    since = alone.aggregate(last=Max("decided_at"))["last"]
    if since is None:
        return
    same = SSHSession.objects.filter(grant=grant, asset=session.asset, opened_at__gte=since)
    if same.exclude(pk=session.pk).exists():
        return
    told = {one.pk: one for one in [*approvers_of(ask), *people_in([ADMINISTRATORS, AUDITORS, SUPERVISORS])]}
    told.pop(grant.person_id, None)
    name = one_line(grant.person.get_full_name(), 80)
    notices.queue(
        told.values(),
        topic=f"session:{session.pk}",
        subject=f"Override in use: {name} is on {session.asset.name}",
        body=f"{session.label}, as {session.login}, under {grant.playbook.title}, {ask.label}, {grant.incident}. "
        "A supervisor decided alone on it. The session is recorded; whoever may can watch, freeze or end it on its page.",
        path=f"/sessions/{session.pk}/",
        now=now,
        ways=spec_of(grant.playbook).notify,
    )
