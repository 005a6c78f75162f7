"""The receipt of a session's end, as both faces of the API say it."""

from __future__ import annotations

from datetime import datetime

from ninja import Schema


class ReceiptOut(Schema):
    """The proof that a session's access was taken away. The `_ms` count from `asked_at`: the grant's end, or when
    somebody's revocation, kill or lock was committed (`asked_by`), or when the gateway noticed by itself. Below 0:
    before it. null: not yet, or it can't be known. `estimated`: from what a crashed gateway left."""

    session: str
    cause: str
    asked_at: datetime
    asked_by: str | None
    cut_at: datetime | None
    last_byte_at: datetime | None
    client_gone_at: datetime | None
    target_gone_at: datetime | None
    cut_ms: float | None
    last_byte_ms: float | None
    client_gone_ms: float | None
    target_gone_ms: float | None
    estimated: bool
