"""The audit trail: append-only rows, each chained to the one before.

Only `breakglass.services.audit` writes them. The model refuses update and delete, and so do triggers in the database.
"""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models
from django.db.models import QuerySet

TABLE = "breakglass_auditevent"

SQLITE_PROTECT = (
    f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON {TABLE} "
    "BEGIN SELECT RAISE(ABORT, 'audit rows are never updated'); END",
    f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON {TABLE} "
    "BEGIN SELECT RAISE(ABORT, 'audit rows are never deleted'); END",
    # INSERT OR REPLACE deletes the row that is in its way without asking the trigger above.
    f"CREATE TRIGGER audit_no_replace BEFORE INSERT ON {TABLE} "
    f"WHEN EXISTS (SELECT 1 FROM {TABLE} WHERE seq = NEW.seq OR hash = NEW.hash) "
    "BEGIN SELECT RAISE(ABORT, 'audit rows are never replaced'); END",
)
SQLITE_UNPROTECT = (
    "DROP TRIGGER IF EXISTS audit_no_update",
    "DROP TRIGGER IF EXISTS audit_no_delete",
    "DROP TRIGGER IF EXISTS audit_no_replace",
)
POSTGRESQL_PROTECT = (
    "CREATE OR REPLACE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'audit rows are never updated or deleted'; END $$",
    f"CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON {TABLE} "
    "FOR EACH ROW EXECUTE FUNCTION audit_append_only()",
    f"CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON {TABLE} "
    "FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()",
)
POSTGRESQL_UNPROTECT = (
    f"DROP TRIGGER IF EXISTS audit_no_change ON {TABLE}",
    f"DROP TRIGGER IF EXISTS audit_no_truncate ON {TABLE}",
)
PROTECT = {"sqlite": SQLITE_PROTECT, "postgresql": POSTGRESQL_PROTECT}
UNPROTECT = {"sqlite": SQLITE_UNPROTECT, "postgresql": POSTGRESQL_UNPROTECT}


class AppendOnly(Exception):
    """Somebody tried to change the audit trail."""


class AuditQuerySet(QuerySet["AuditEvent"]):
    def update(self, **_: Any) -> NoReturn:
        raise AppendOnly("audit rows are never updated")

    def delete(self) -> NoReturn:
        raise AppendOnly("audit rows are never deleted")


class AuditEvent(models.Model):
    """One thing that happened. `actor` and `subject` are `kind:id` words; names as they were then are in `data`."""

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    tag = models.CharField(max_length=64)
    actor = models.CharField(max_length=64)
    actor_name = models.CharField(max_length=64, blank=True)
    subject = models.CharField(max_length=80)
    data: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ("-seq",)
        indexes = (
            models.Index(fields=("tag", "seq"), name="audit_by_tag"),
            models.Index(fields=("actor", "seq"), name="audit_by_actor"),
            models.Index(fields=("subject", "seq"), name="audit_by_subject"),
        )

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly("audit rows are never updated")
        kwargs["force_insert"] = True
        super().save(*args, **kwargs)

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        raise AppendOnly("audit rows are never deleted")


class AuditHead(models.Model):
    """The one row that is locked to append: where the chain stands."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64)

    class Meta:
        constraints = (models.CheckConstraint(name="audit_one_head", condition=models.Q(id=1)),)
