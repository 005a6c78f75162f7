"""Requests and grants as plain values with stable keys: what the API answers and what `ssh GATEWAY COMMAND --json` prints."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import prefetch_related_objects

from breakglass import queries
from breakglass.domain import grants, requests
from breakglass.domain.grants import LIVE, GrantState
from breakglass.domain.requests import RequestState
from breakglass.models import AccessRequest, Grant, Person
from breakglass.services import extensions

RECEIPTS = "ssh_sessions__receipt__asked_by"


def request_state(row: AccessRequest, now: datetime) -> str:
    """Lapsing is a fact of the clock."""
    return str(requests.state_at(RequestState(row.state), row.lapses_at, now))


def own_request(row: AccessRequest, now: datetime) -> dict[str, Any]:
    """A request as its requester sees it: with the two digits that an approver asks for."""
    return request(row, now) | {"match_number": row.match_number}


def request(row: AccessRequest, now: datetime) -> dict[str, Any]:
    """A request as it is now."""
    rule = queries.rule_of(row.playbook)
    return {
        "id": row.pk,
        "label": row.label,
        "state": request_state(row, now),
        "requester": row.requester.username,
        "playbook": row.playbook.slug,
        "playbook_version": row.playbook.version,
        "digest": row.playbook.digest,
        "incident": {"id": row.incident.pk, "label": row.incident.label, "title": row.incident.title},
        "assets": sorted(asset.name for asset in row.assets.all()),
        "login": row.login or None,
        "minutes": row.minutes,
        "reason": row.reason,
        "submitted_at": row.submitted_at,
        "escalates_at": row.escalates_at,
        "lapses_at": row.lapses_at,
        "decided_at": row.decided_at,
        "approver_groups": sorted(rule.groups),
        "approvals_needed": rule.count,
        "approvals": [
            {
                "person": approval.person.username,
                "verdict": approval.verdict,
                "comment": approval.comment,
                "decided_at": approval.decided_at,
            }
            for approval in row.approvals.all()
        ],
        "grant": row.grant.pk if hasattr(row, "grant") else None,
        "extends": row.extends_id,
        "override": row.is_override,
    }


def grant(row: Grant, person: Person, now: datetime) -> dict[str, Any]:
    """A grant as it is now. `ssh` is the way in, for its holder while it lives."""
    state = grants.state_at(row.term, now)
    assets = sorted(asset.name for asset in row.assets.all())
    holds = row.person_id == person.pk and state in LIVE
    return {
        "id": row.pk,
        "request": row.request.label,
        "request_id": row.request_id,
        "state": str(state),
        "person": row.person.username,
        "playbook": row.playbook.slug,
        "digest": row.playbook.digest,
        "incident": row.incident.label,
        "assets": assets,
        "logins": row.logins,
        "channels": [str(kind) for kind in queries.spec_of(row.playbook).channels],
        "minutes": row.minutes,
        "issued_at": row.issued_at,
        "use_by": row.use_by,
        "starts_at": row.starts_at,
        "ends_at": row.ends_at,
        "ended_at": row.ended_at,
        "end_note": row.end_note,
        "longest_extension": extensions.longest(row, now) if state is GrantState.ACTIVE else 0,
        "ssh": [way_in(row, login, asset) for asset in assets for login in row.logins] if holds else [],
        "receipts": receipts(row),
    }


def receipts(row: Grant) -> list[dict[str, Any]]:
    """Of the ends of its sessions, which are the data plane's: it joins here by name."""
    prefetch_related_objects([row], RECEIPTS)
    ended = [session.receipt.facts for session in row.ssh_sessions.all() if hasattr(session, "receipt")]
    return sorted(ended, key=lambda facts: facts["asked_at"])


def way_in(row: Grant, login: str, asset: str) -> str:
    """The command that leads in."""
    config = settings.BREAKGLASS
    return f"ssh -p {config.gateway_port} {row.person.username}+{login}@{asset}@{config.gateway_host}"
