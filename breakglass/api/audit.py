"""The audit trail, for auditors. Reading it changes nothing; `manage.py verify_audit` checks the chain."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema

from breakglass.api.auth import demand, person_of
from breakglass.api.errors import answers
from breakglass.api.inputs import Filter
from breakglass.api.paging import Page, Paging, page
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import AuditAnchor, AuditCheckpoint, AuditEvent
from breakglass.services import audit_proofs

router = Router(tags=["audit"])


class AuditFilter(Filter):
    """Narrow the trail. `before` is a row number: with it, pages don't shift while rows are added."""

    tag: str | None = Field(default=None, max_length=64)
    actor: str | None = Field(default=None, max_length=64)
    subject: str | None = Field(default=None, max_length=80)
    before: int | None = Field(default=None, ge=1, le=2**62)


class AuditEventOut(Schema):
    seq: int
    at: datetime
    tag: str
    actor: str
    actor_name: str
    subject: str
    data: dict[str, Any]
    body: str = Field(description="what was hashed, byte for byte (UTF-8)")
    previous_hash: str
    hash: str = Field(description="SHA-256(0x00, the 32 bytes of previous_hash, body)")

    @staticmethod
    def resolve_body(event: AuditEvent) -> str:
        return event.body.decode()


class AnchorOut(Schema):
    name: str
    size: int
    sent_at: datetime | None
    problem: str


class CheckpointOut(Schema):
    """`note`: a C2SP signed note of the trail's first `size` rows; `key`: the notary's, by the trail's own word."""

    size: int
    root: str
    note: str
    signed_at: datetime
    key: str
    anchors: list[AnchorOut]


class ProofOut(Schema):
    """The RFC 6962 audit path of leaf `seq - 1` in the tree of `size` rows, hex; leaf hashes are the rows' hashes."""

    seq: int
    size: int
    hash: str
    proof: list[str]


class ConsistencyFilter(Filter):
    old: int = Field(ge=0, le=2**62)
    new: int = Field(ge=0, le=2**62)


class ConsistencyOut(Schema):
    """The RFC 6962 proof that the first `old` rows are the start of the first `new`, hex."""

    old: int
    new: int
    proof: list[str]


@router.get("", response=answers(Page[AuditEventOut]))
def list_audit(request: HttpRequest, paging: Query[Paging], only: Query[AuditFilter]) -> dict[str, Any]:
    """The trail, newest first."""
    demand(person_of(request), Verb.SEE_AUDIT)
    rows = AuditEvent.objects.order_by("-seq")
    chosen = only.dict(exclude_none=True)
    before = chosen.pop("before", None)
    if before is not None:
        rows = rows.filter(seq__lt=before)
    return page(rows.filter(**chosen), paging, lambda event: event)


@router.get("/checkpoint", response=answers(CheckpointOut))
def newest_checkpoint(request: HttpRequest) -> dict[str, Any]:
    """The notary's newest signed checkpoint, and which anchors outside have it."""
    demand(person_of(request), Verb.SEE_AUDIT)
    found = audit_proofs.newest_checkpoint()
    if found is None:
        raise refuse(RefusalCode.NOT_FOUND, what="checkpoint")
    fields = {name: getattr(found, name) for name in ("size", "root", "note", "signed_at")}
    return fields | {"key": audit_proofs.notary_key(), "anchors": list(AuditAnchor.objects.all())}


@router.get("/{int:seq}/proof", response=answers(ProofOut))
def inclusion_proof(request: HttpRequest, seq: int, size: int | None = None) -> dict[str, Any]:
    """That a row is in the trail that was signed: its audit path to the newest checkpoint's root, or to that of `size` rows."""
    demand(person_of(request), Verb.SEE_AUDIT)
    row = AuditEvent.objects.filter(seq=seq).first()
    point = AuditCheckpoint.objects.filter(**({} if size is None else {"size": size})).first()
    if row is None or point is None or point.size < seq:
        raise refuse(RefusalCode.NOT_FOUND, what="row under a checkpoint")
    path = audit_proofs.inclusion_proof(seq, point.size)
    return {"seq": seq, "size": point.size, "hash": row.hash, "proof": [node.hex() for node in path]}


@router.get("/consistency", response=answers(ConsistencyOut))
def consistency_proof(request: HttpRequest, ask: Query[ConsistencyFilter]) -> dict[str, Any]:
    """That an older checkpoint's rows are the start of a newer one's: nothing before was changed."""
    demand(person_of(request), Verb.SEE_AUDIT)
    if not ask.old <= ask.new or not AuditEvent.objects.filter(seq=ask.new).exists():
        raise refuse(RefusalCode.NOT_FOUND, what="pair of sizes")
    proof = audit_proofs.consistency_proof(ask.old, ask.new)
    return {"old": ask.old, "new": ask.new, "proof": [node.hex() for node in proof]}
