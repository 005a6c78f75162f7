"""Everything on record about one grant, as plain values with stable keys: what the files of a bundle hold.

Times stay `datetime` here, in UTC; `as_json` spells them. Nothing here decides who may see it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from breakglass.domain import grants
from breakglass.domain.grants import GrantState
from breakglass.models import AccessRequest, Approval, AssetHostKey, Grant, Person
from breakglass.queries import spec_of
from playbooks.digest import canonical_bytes
from playbooks.schema import PlaybookSpec
from sessions import queries
from sessions.evidence.judgement import judgement_of
from sessions.models import Channel, FileOperation, Receipt, Recording, Review, SSHSession, Watch

Facts = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One grant with all that belongs to it. `sessions` come in order, each with its channels, files and receipt."""

    at: datetime
    grant: Facts
    request: Facts
    extensions: list[Facts]
    incident: Facts
    assets: list[Facts]
    approvals: list[Facts]
    sessions: list[Facts]
    review: Facts | None
    spec: PlaybookSpec
    playbook_bytes: bytes
    rows: tuple[SSHSession, ...] = ()

    @property
    def label(self) -> str:
        """How people call it: its request's label."""
        return str(self.request["label"])

    @property
    def channels(self) -> list[Facts]:
        return [{"session": one["label"], **channel} for one in self.sessions for channel in one["channels"]]

    @property
    def files(self) -> list[Facts]:
        return [{"session": one["label"], **file} for one in self.sessions for file in one["files"]]

    @property
    def receipts(self) -> list[Facts]:
        return [{"session": one["label"], **one["receipt"]} for one in self.sessions if one["receipt"]]


def case_of(grant_id: UUID, now: datetime) -> Case:
    """Raises Grant.DoesNotExist; ValueError if the stored playbook isn't the one that its digest names."""
    related = ("person", "playbook", "incident", "request", "request__requester", "ended_by")
    grant = Grant.objects.select_related(*related, "incident__opened_by", "incident__closed_by").get(
        pk=grant_id
    )
    extensions = list(
        AccessRequest.objects.select_related("requester", "playbook").filter(extends=grant).order_by("number")
    )
    rows = tuple(queries.sessions_of_grant(grant).order_by("number"))
    spec = spec_of(grant.playbook)
    return Case(
        at=now,
        grant=_grant(grant, now),
        request=_request(grant.request),
        extensions=[_request(plea) for plea in extensions],
        incident=_incident(grant),
        assets=[_asset(asset) for asset in grant.assets.order_by("name")],
        approvals=_approvals([grant.request, *extensions]),
        sessions=[_session(row) for row in rows],
        review=judgement_of(
            Review.objects.select_related("reviewer", "second_reviewer").filter(grant=grant).first(), now
        ),
        spec=spec,
        playbook_bytes=canonical_bytes(spec),
        rows=rows,
    )


def as_json(value: Any) -> bytes:
    """Readable JSON in printable ASCII: no text in it can do anything to whoever prints it."""
    return json.dumps(value, indent=2, ensure_ascii=True, default=_spelled).encode() + b"\n"


def _spelled(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value)} has no spelling in JSON")


def who(person: Person | None) -> Facts | None:
    return (
        None
        if person is None
        else {"id": person.pk, "username": person.username, "name": person.get_full_name()}
    )


def factor_kind(factor: str) -> str:
    """The second factor in words; its device and time step stay in `factor`."""
    words = {
        "totp": "authenticator app",
        "passkey": "passkey with its PIN, finger or face",
        "recovery": "recovery code",
        "fido": "security key with its PIN",
        "certificate": "certificate, given for a fresh code",
    }
    return words.get(factor.partition(":")[0], factor)


def _fields(row: Any, names: Iterable[str]) -> Facts:
    return {name: getattr(row, name) for name in names}


def _grant(grant: Grant, now: datetime) -> Facts:
    version = grant.playbook
    return {
        "id": grant.pk,
        "request": grant.request.label,
        "state": str(grants.state_at(grant.term, now)),
        "state_written": grant.state,
        "person": who(grant.person),
        "incident": grant.incident.label,
        "playbook": {
            "id": version.pk,
            "slug": version.slug,
            "version": version.version,
            "digest": version.digest,
            "title": version.title,
            "published_at": version.published_at,
        },
        "assets": sorted(grant.assets.values_list("name", flat=True)),
        **_fields(grant, ("logins", "minutes", "issued_at", "use_by", "starts_at", "ends_at", "ended_at")),
        "ended_by": who(grant.ended_by),
        "end_note": grant.end_note,
    }


def over_at(case: Case) -> datetime | None:
    """When the access was over; None while it runs."""
    state = GrantState(case.grant["state"])
    if state in grants.LIVE:
        return None
    moment = case.grant["ends_at"] if state is GrantState.EXPIRED else case.grant["ended_at"]
    found: datetime | None = moment or case.grant["use_by"] or case.grant["ended_at"]
    return found


def _request(row: AccessRequest) -> Facts:
    names = (
        "state",
        "login",
        "minutes",
        "reason",
        "submitted_at",
        "escalates_at",
        "escalated_at",
        "lapses_at",
    )
    return {
        "id": row.pk,
        "label": row.label,
        "extends": row.extends_id,
        "override": row.is_override,
        "requester": who(row.requester),
        **_fields(row, (*names, "decided_at")),
        "assets": sorted(row.assets.values_list("name", flat=True)),
        "playbook": row.playbook.slug,
        "digest": row.playbook.digest,
    }


def _incident(grant: Grant) -> Facts:
    row = grant.incident
    closed = {"closed_by": who(row.closed_by), "closed_at": row.closed_at}
    opened = {"opened_by": who(row.opened_by), "opened_at": row.opened_at}
    return {"id": row.pk, "label": row.label, "title": row.title, **opened, **closed}


def _asset(asset: Any) -> Facts:
    keys = AssetHostKey.objects.filter(asset=asset).values_list("type", "fingerprint")
    pinned = [{"type": kind, "fingerprint": fingerprint} for kind, fingerprint in keys]
    return {"id": asset.pk, **_fields(asset, ("name", "title", "kind", "owner", "legacy_algorithms"))} | {
        "host_keys": pinned
    }


def _approvals(requests: list[AccessRequest]) -> list[Facts]:
    rows = (
        Approval.objects.filter(request__in=requests)
        .select_related("person", "request")
        .order_by("decided_at")
    )
    return [
        {
            "request": row.request.label,
            "person": who(row.person),
            **_fields(row, ("verdict", "comment", "factor", "decided_at")),
            "factor_kind": factor_kind(row.factor),
        }
        for row in rows
    ]


def _session(row: SSHSession) -> Facts:
    recording: Recording | None = getattr(row, "recording", None)
    receipt = Receipt.objects.select_related("asked_by").filter(session=row).first()
    names = (
        "login",
        "decision_id",
        "factor",
        "client_address",
        "client_version",
        "gateway_id",
        "asset_address",
    )
    times = ("opened_at", "renewed_at", "ended_at", "kill_requested_at", "frozen_at")
    return {
        "id": row.pk,
        "label": row.label,
        "state": row.state,
        "end_reason": row.end_reason,
        "person": who(row.person),
        "asset": row.asset.name,
        **_fields(row, (*names, "upstream_host_key", *times, "bytes_in", "bytes_out", "freeze_reason")),
        "kill_requested_by": who(row.kill_requested_by),
        "frozen_by": who(row.frozen_by),
        "recording": None if recording is None else _recording(recording),
        "receipt": None if receipt is None else _receipt(receipt),
        "channels": [_channel(channel) for channel in Channel.objects.filter(session=row).order_by("number")],
        "files": [_file(operation) for operation in queries.file_operations(row)],
        "escort_needed": row.escort_needed,
        "watches": [_watch(watch) for watch in row.watches.select_related("person", "kiosk")],
        "chat": [
            {"at": said.at, "person": who(said.person), "text": said.text}
            for said in row.chat.select_related("person")
        ],
    }


def _watch(row: Watch) -> Facts:
    return {
        "person": who(row.person),
        "wallboard": row.kiosk.name if row.kiosk else None,
        "escort": row.escort,
        "began_at": row.began_at,
        "ended_at": row.ended_at,
    }


def _recording(row: Recording) -> Facts:
    names = (
        "state",
        "sha256",
        "bytes",
        "seconds",
        "sealed_at",
        "recovered",
        "problem",
        "keep_until",
        "held_at",
    )
    return _fields(row, (*names, "hold_reason", "deleted_at"))


def _receipt(row: Receipt) -> Facts:
    names = ("cause", "asked_at", "cut_at", "last_byte_at", "client_gone_at", "target_gone_at", "estimated")
    spans = ("cut_ms", "last_byte_ms", "client_gone_ms", "target_gone_ms")
    return {**_fields(row, names), "asked_by": who(row.asked_by), **_fields(row, spans)}


def _channel(row: Channel) -> Facts:
    names = ("number", "kind", "command", "destination", "refusal", "opened_at", "closed_at", "exit_status")
    return _fields(row, (*names, "exit_signal", "bytes_in", "bytes_out", "bytes_err")) | _fields(
        row, ("sha256_in", "sha256_out", "sha256_err")
    )


def _file(row: FileOperation) -> Facts:
    names = (
        "label",
        "verb",
        "path",
        "target",
        "direction",
        "bytes",
        "sha256",
        "outcome",
        "started_at",
        "ended_at",
    )
    return {**_fields(row, names), "copy_kept": bool(row.kept)}
