"""What guards the trail in the database: its tables and its triggers, each as it was made.

A trigger of the right name that does nothing is as good as none, so their definitions are compared, not only their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from django.db import connection

from breakglass.models import AuditCheckpoint, AuditEvent, AuditHead
from breakglass.models.audit_event import TABLE
from breakglass.models.audit_triggers import POSTGRESQL_FUNCTIONS, POSTGRESQL_TRIGGERS, SQLITE_TRIGGERS

_RUNS = re.compile(r"BEFORE (.+) ON (\S+) FOR EACH (ROW|STATEMENT) EXECUTE FUNCTION (\S+)\(\)")


def missing_parts() -> dict[str, str]:
    """What is wrong with each of the trail's tables that isn't there whole, by the table's name."""
    with connection.cursor() as cursor:
        there = set(connection.introspection.table_names(cursor))
        found: dict[str, str] = {}
        for model in (AuditEvent, AuditHead, AuditCheckpoint):
            table = model._meta.db_table
            if table not in there:
                found[table] = f"the table {table} is missing"
                continue
            columns = {one.name for one in connection.introspection.get_table_description(cursor, table)}
            gone = sorted({str(field.column) for field in model._meta.concrete_fields} - columns)
            if gone:
                found[table] = f"the table {table} has no column {', '.join(gone)}"
    return found


def warnings() -> list[str]:
    """What the database would let its own user do to the trail."""
    if connection.vendor == "sqlite":
        return [
            "SQLite: whoever can write the file can take the triggers away; the anchors are for that",
            *_judged(_sqlite_triggers(), {name: _plain(what) for name, what in SQLITE_TRIGGERS.items()}),
        ]
    wanted = {name: _runs(what.format(table)) for (name, table), what in POSTGRESQL_TRIGGERS.items()}
    return [*_rights(), *_judged(_postgresql_triggers(), wanted)]


def _judged(there: Mapping[str, object], wanted: Mapping[str, object]) -> list[str]:
    said = []
    for name, what in sorted(wanted.items()):
        if name not in there:
            said.append(f"the trigger {name} is missing: rows could be changed unhindered")
        elif there[name] != what:
            said.append(f"the trigger {name} isn't the one that was made: rows could be changed unhindered")
    return said


def _plain(statement: str) -> str:
    return " ".join(statement.split())


def _sqlite_triggers() -> dict[str, object]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        return {
            name: _plain(str(sql)).removeprefix(f"CREATE TRIGGER {name} ") for name, sql in cursor.fetchall()
        }


def _postgresql_triggers() -> dict[str, object]:
    """Those that are switched on and call a function which is as it was made."""
    bodies = {_named(statement): _body(statement) for statement in POSTGRESQL_FUNCTIONS}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname, pg_get_triggerdef(t.oid), proname, prosrc, proconfig FROM pg_trigger t "
            "JOIN pg_proc p ON p.oid = tgfoid WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
        )
        found: dict[str, object] = {}
        for name, definition, function, source, settings in cursor.fetchall():
            whole = (source, settings) == bodies.get(function)
            found[name] = _runs(definition) if whole else ()
    return found


def _named(function: str) -> str:
    return function.partition("FUNCTION ")[2].partition("(")[0]


def _body(function: str) -> tuple[str, list[str]]:
    path = function.partition("SET search_path = ")[2].partition(" AS ")[0]
    return function.split("$$")[1], [f"search_path={path}"]


def _runs(definition: str) -> tuple[object, ...]:
    """Before what, on which table, how often, which function: however the database writes it down."""
    found = _RUNS.search(definition)
    if found is None:
        return ()
    events, table, each, function = found.groups()
    return frozenset(events.split(" OR ")), table.rpartition(".")[2], each, function.rpartition(".")[2]


def _rights() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, pg_has_role(current_user, relowner, 'USAGE'), "
            "has_table_privilege(oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER') FROM pg_class WHERE oid = %s::regclass",
            [TABLE],
        )
        role, owns, may = cursor.fetchone()
    if not (owns or may):
        return []
    could = "owns the trail and could drop its triggers" if owns else "may change rows"
    return [f"the role {role} {could}: run the processes as another one (manage.py audit_role)"]
