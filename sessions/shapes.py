"""Sessions as plain values with stable keys: what the API answers and what `ssh GATEWAY sessions --json` prints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.queries import escorts_of
from sessions import queries
from sessions.models import SSHSession


def session(row: SSHSession) -> dict[str, Any]:
    """A session as it is now."""
    grant = row.grant
    return {
        "id": row.pk,
        "label": row.label,
        "state": row.state,
        "end_reason": row.end_reason,
        "person": row.person.username,
        "asset": row.asset.name,
        "login": row.login,
        "playbook": grant.playbook.slug,
        "digest": grant.playbook.digest,
        "incident": grant.incident.label,
        "request": grant.request.label,
        "grant": grant.pk,
        "decision_id": row.decision_id,
        "factor": row.factor,
        "client_address": row.client_address,
        "asset_address": row.asset_address,
        "upstream_host_key": row.upstream_host_key,
        "channel_kinds": list(queries.channel_kinds(row)),
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
        "opened_at": row.opened_at,
        "kill_requested_at": row.kill_requested_at,
        "frozen_at": row.frozen_at,
        "frozen_by": row.frozen_by.username if row.frozen_by else None,
        "freeze_reason": row.freeze_reason,
        "escort_needed": row.escort_needed,
        "escort_groups": sorted(escorts_of(grant.playbook)) if row.escort_needed else [],
        "escort_missing_at": row.escort_missing_at if row.end_reason == "" else None,
        "chat_messages": getattr(row, "chat_messages", 0),
        "ended_at": row.ended_at,
        "recording": row.recording.state,
        "recording_sha256": row.recording.sha256,
        "recording_seconds": row.recording.seconds,
        "approved_by": [
            approval.person.username
            for approval in grant.request.approvals.all()
            if approval.verdict == "approved"
        ],
        "receipt": row.receipt.facts if hasattr(row, "receipt") else None,
    }


def aware(at: datetime | None) -> datetime | None:
    """A time in UTC. Raises Refused `bad_input` for one without a zone."""
    if at is None:
        return None
    try:
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except OverflowError:
        pass
    raise refuse(RefusalCode.BAD_INPUT, problem="Give times with their zone, such as 2026-11-21T20:00:00Z.")
