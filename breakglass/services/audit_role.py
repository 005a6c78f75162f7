"""What a PostgreSQL role may do to the trail: to write it, add rows and move the head forward; nothing else.

The tables belong to the role that migrates; the processes run as another one, which can neither change a row nor take a
trigger away. SQLite has no roles.
"""

from __future__ import annotations

from enum import StrEnum

from django.db import connection, transaction

from breakglass.models import AuditAnchor, AuditCheckpoint, AuditEvent, AuditHead


class Part(StrEnum):
    """Which process the role is for."""

    APPLICATION = "application"
    NOTARY = "notary"


GUARDED = (AuditEvent, AuditHead, AuditCheckpoint)


def statements(role: str, part: Part) -> list[str]:
    """SQL for the owner of the tables. The application may use every other table as before; the notary only what it needs."""
    quote = connection.ops.quote_name
    name = quote(role)
    trail, head, checkpoints = (quote(model._meta.db_table) for model in GUARDED)
    anchors = quote(AuditAnchor._meta.db_table)
    if part is Part.APPLICATION:
        allowed = [
            f"GRANT USAGE ON SCHEMA public TO {name}",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}",
            f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {name}",
        ]
    else:
        allowed = [
            f"GRANT USAGE ON SCHEMA public TO {name}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {anchors} TO {name}",
            f"GRANT INSERT ON {quote('breakglass_notice')} TO {name}",
            f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {name}",
        ]
    return [
        *allowed,
        f"REVOKE ALL ON {trail}, {head}, {checkpoints} FROM {name}, PUBLIC",
        f"GRANT SELECT, INSERT ON {trail} TO {name}",
        f"GRANT SELECT, UPDATE ON {head} TO {name}",
        f"GRANT SELECT{', INSERT' if part is Part.NOTARY else ''} ON {checkpoints} TO {name}",
    ]


def apply(role: str, part: Part) -> None:
    """All of it or nothing. Raises DatabaseError where the one who runs this doesn't own the tables."""
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements(role, part):
            cursor.execute(statement)


def shortcomings(role: str) -> list[str]:
    """Why the role could change the trail after all; empty when it can't. Raises DatabaseError for an unknown role."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [role])
        found = cursor.fetchone()
        if found is None:
            return ["there is no such role"]
        if found[0]:
            return ["it is a superuser"]
        wrong = []
        for model in GUARDED:
            table = model._meta.db_table
            cursor.execute(
                "SELECT pg_has_role(%s, relowner, 'USAGE'), "
                "has_table_privilege(%s, oid, 'DELETE, TRUNCATE, TRIGGER, REFERENCES'), "
                "has_table_privilege(%s, oid, 'UPDATE') FROM pg_class WHERE oid = %s::regclass",
                [role, role, role, table],
            )
            owns, removes, updates = cursor.fetchone()
            if owns:
                wrong.append(f"it owns {table}, or belongs to its owner")
            elif removes or (updates and model is not AuditHead):
                wrong.append(f"it may change or remove rows of {table}")
    return wrong
