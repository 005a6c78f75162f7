from __future__ import annotations

from typing import ClassVar

from django.db import models

from sessions.models.ssh_session import SSHSession


class SearchRow(models.Model):
    """A text that can be searched for, and where it was: a session, and a second of it where there is one.

    The index of its words is the database's own (migration 0006): a table beside it on SQLite, a column on PostgreSQL. So
    rows are written and removed by `sessions.services.search_index` alone. `id` is the session's number, shifted, plus a place
    within the session: the newest sessions have the highest.
    """

    id = models.BigIntegerField(primary_key=True)
    session = models.ForeignKey(SSHSession, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=10)
    source = models.BigIntegerField(help_text="the row that it says again, in the table of its kind")
    at_seconds = models.FloatField(null=True)
    text = models.TextField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=("kind", "source"), name="search_source")]
