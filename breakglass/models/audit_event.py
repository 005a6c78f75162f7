"""The audit trail: append-only rows, each chained to the one before.

Only `breakglass.services.audit` writes them. The model refuses update and delete, and so do triggers in the database.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

if TYPE_CHECKING:
    Text = models.BinaryField[str, str]
    Raw = models.BinaryField[bytes, bytes]
else:
    Text = Raw = models.BinaryField

TABLE = "breakglass_auditevent"


class AppendOnly(Exception):
    """Somebody tried to change the audit trail."""


def raw_or_none(value: Any) -> bytes | None:
    """The bytes that a column of bytes holds. SQLite keeps there what it is given: anything else was put there by hand."""
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None


class HashField(Text):
    """A SHA-256: 32 bytes in the database, 64 hex digits in Python; empty for what is none."""

    def from_db_value(self, value: Any, *_: Any) -> str | None:
        return None if value is None else (raw_or_none(value) or b"").hex()

    def to_python(self, value: Any) -> Any:
        return value

    def value_to_string(self, obj: models.Model) -> str:
        """For serializers: the hex digits, which `to_python` takes back."""
        return str(self.value_from_object(obj) or "")

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        raw = bytes.fromhex(value) if isinstance(value, str) else value
        return super().get_db_prep_value(raw, connection, prepared)


class BytesField(Raw):
    """Bytes, as `bytes` whatever the database; empty for what are none."""

    def from_db_value(self, value: Any, *_: Any) -> bytes | None:
        return None if value is None else raw_or_none(value) or b""


class AppendOnlyQuerySet(QuerySet[Any]):
    def update(self, **_: Any) -> NoReturn:
        raise AppendOnly("audit rows are never updated")

    def delete(self) -> NoReturn:
        raise AppendOnly("audit rows are never deleted")


class AppendOnlyModel(models.Model):
    """Rows that are only ever added."""

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly("audit rows are never updated")
        kwargs["force_insert"] = True
        super().save(*args, **kwargs)

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        raise AppendOnly("audit rows are never deleted")


class AuditEvent(AppendOnlyModel):
    """One thing that happened. `body` is what was hashed, byte for byte; the columns are there to find it by.

    `actor` and `subject` are `kind:id` words; names as they were then are in `data`. That no column says something
    else than the body is part of `services.audit_check`.
    """

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    tag = models.CharField(max_length=64)
    actor = models.CharField(max_length=64)
    actor_name = models.CharField(max_length=64, blank=True)
    subject = models.CharField(max_length=80)
    body = BytesField()
    previous_hash = HashField(max_length=32)
    hash = HashField(max_length=32, unique=True)

    class Meta:
        ordering = ("-seq",)
        indexes = (
            models.Index(fields=("tag", "seq"), name="audit_by_tag"),
            models.Index(fields=("actor", "seq"), name="audit_by_actor"),
            models.Index(fields=("subject", "seq"), name="audit_by_subject"),
        )

    @cached_property
    def data(self) -> dict[str, Any]:
        """What else the row says, out of its body."""
        found: dict[str, Any] = json.loads(self.body)["data"]
        return found


class AuditHead(models.Model):
    """The one row that is locked to append: where the chain stands."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)
    hash = HashField(max_length=32)

    class Meta:
        constraints = (models.CheckConstraint(name="audit_one_head", condition=models.Q(id=1)),)
