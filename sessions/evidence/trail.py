"""The audit rows of a grant, each with the proof that the signed trail holds it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q

from breakglass.domain.audit import AuditTag
from breakglass.models import AuditEvent
from breakglass.services import audit
from sessions.evidence.case import Case


@dataclass(frozen=True)
class Row:
    """`proof`: the RFC 6962 audit path to the checkpoint's root; None where the row is younger than that."""

    seq: int
    body: str
    previous: str
    hash: str
    tag: str
    actor: str
    proof: tuple[str, ...] | None = None

    @property
    def at(self) -> str:
        return str(json.loads(self.body)["at"])

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["data"]
        return found

    def as_dict(self) -> dict[str, object]:
        plain = {"seq": self.seq, "previous": self.previous, "hash": self.hash, "body": self.body}
        return plain | ({"proof": list(self.proof)} if self.proof is not None else {})


@dataclass(frozen=True)
class Trail:
    """The rows in order; `checkpoint` is a C2SP signed note over the first `size` rows, empty where there is none."""

    rows: tuple[Row, ...]
    checkpoint: str = ""
    size: int = 0
    notary_key: str = ""
    younger: tuple[int, ...] = field(default=())


def row_of(event: AuditEvent, proof: list[bytes] | None = None) -> Row:
    """The row as it goes out."""
    path = None if proof is None else tuple(node.hex() for node in proof)
    body = event.body.decode()
    return Row(
        event.seq, body, event.previous_hash, event.hash, event.tag, event.actor_name or event.actor, path
    )


def rows_about(case: Case, marked: Iterable[int]) -> list[AuditEvent]:
    """Whatever the trail says of the grant, its requests, sessions, review, playbook and incident, and of the credentials
    that it used. `marked`: the rows that tell how far a recording had come."""
    subjects = [
        f"accessrequest:{case.request['id']}",
        f"grant:{case.grant['id']}",
        f"incident:{case.incident['id']}",
    ]
    subjects += [f"accessrequest:{plea['id']}" for plea in case.extensions]
    subjects += [audit.name_of(row) for row in case.rows] + [
        f"playbookversion:{case.grant['playbook']['id']}"
    ]
    if case.review:
        subjects += [
            f"review:{case.review['id']}",
            *(f"finding:{one['id']}" for one in case.review["findings"]),
        ]
    found = {row.seq: row for row in AuditEvent.objects.filter(subject__in=subjects)}
    found |= {row.seq: row for row in _used_credentials(case)}
    found |= {row.seq: row for row in AuditEvent.objects.filter(seq__in=list(marked))}
    return [found[seq] for seq in sorted(found)]


def _used_credentials(case: Case) -> Iterable[AuditEvent]:
    assets = [f"asset:{asset['id']}" for asset in case.assets]
    used = Q(tag=AuditTag.CREDENTIAL_USED, subject__in=assets, at__gte=case.grant["issued_at"])
    grant = str(case.grant["id"])
    return [row for row in AuditEvent.objects.filter(used) if row.data.get("grant") == grant]
