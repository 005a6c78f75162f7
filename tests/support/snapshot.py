"""Rows that hundreds of tests begin with: made once by the real services, put back as they were for the next test."""

from __future__ import annotations

from typing import Any

from django.db import connection

from breakglass.models import AuditHead
from tests.support.emptying import tables, triggers_aside


class Snapshot:
    """All rows of the database. It is put back into an empty one, of the same process, only."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, list[tuple[Any, ...]]]] = []
        with connection.cursor() as cursor:
            for table in tables(connection.vendor):
                name = connection.ops.quote_name(table)
                cursor.execute(f"SELECT * FROM {name}")
                columns = ", ".join(connection.ops.quote_name(column[0]) for column in cursor.description)
                places = ", ".join(["%s"] * len(cursor.description))
                if rows := cursor.fetchall():
                    self._rows.append((f"INSERT INTO {name} ({columns}) VALUES ({places})", rows))

    def put_back(self) -> None:
        with triggers_aside(), connection.cursor() as cursor:
            AuditHead.objects.all().delete()
            for statement, rows in self._rows:
                cursor.executemany(statement, rows)
