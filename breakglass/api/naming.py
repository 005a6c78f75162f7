"""How things are named in an address: by id, or by the label that people say, such as REQ-12 or INC-3."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

from breakglass.domain.refusals import RefusalCode, refuse

Row = TypeVar("Row", bound=Model)


def find(rows: QuerySet[Row], ref: str, what: str, prefix: str = "") -> Row:
    """The one row that `ref` names: its id or, with a prefix, its number. Raises Refused `not_found`."""
    lookup = _lookup(ref, prefix)
    row = rows.filter(**lookup).first() if lookup else None
    if row is None:
        raise refuse(RefusalCode.NOT_FOUND, what=what)
    return row


def _lookup(ref: str, prefix: str) -> dict[str, Any]:
    try:
        return {"pk": UUID(ref)}
    except ValueError:
        pass
    number = ref.upper().removeprefix(prefix)
    if prefix and number != ref.upper() and number.isascii() and number.isdecimal() and len(number) < 10:
        return {"number": int(number)}
    return {}
