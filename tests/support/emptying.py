"""After a test whose threads or processes committed rows: every table empty again, quickly.

Django's own flush truncates each table, an exclusive lock and new files each time, and then writes all permissions
anew; here there are hundreds of such tests. The audit trail's triggers step aside for this and for nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from django.db import connection, transaction

from breakglass.domain.audit import GENESIS
from breakglass.models import AuditHead
from breakglass.models.audit_triggers import SQLITE_PROTECT, SQLITE_UNPROTECT

# Written by migrations, from the code alone: no test changes them.
KEPT = {"django_migrations", "django_content_type", "auth_permission"}


def empty_all_tables() -> None:
    """As after the migrations: no row but the audit trail's head."""
    deletes = [f"DELETE FROM {connection.ops.quote_name(table)}" for table in tables(connection.vendor)]
    with triggers_aside():
        _execute(*deletes)
        AuditHead.objects.create(id=1, seq=0, hash=GENESIS)


@contextmanager
def triggers_aside() -> Iterator[None]:
    """A transaction in which the trail's triggers ask nothing."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            # A replica's session runs no triggers: neither the trail's nor those of foreign keys.
            _execute("SET LOCAL session_replication_role = replica")
        else:  # foreign keys are looked at when the transaction ends
            _execute(*SQLITE_UNPROTECT)
        yield
        if connection.vendor != "postgresql":
            _execute(*SQLITE_PROTECT)


@cache
def tables(vendor: str) -> list[str]:
    """Every table with rows of the product: what a test may leave behind."""
    return sorted(
        set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - KEPT
    )


def _execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("; ".join(statements))
        else:
            for statement in statements:
                cursor.execute(statement)
