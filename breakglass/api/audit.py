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
from breakglass.models import AuditEvent

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
    previous_hash: str
    hash: str


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
