from __future__ import annotations

from django.db import models


class JournalPosition(models.Model):
    """How far a gateway's journal was written into the database: moved in the transaction of what it tells of, so that
    each entry counts once."""

    journal = models.CharField(max_length=120, primary_key=True)
    seq = models.BigIntegerField(default=0)
    updated_at = models.DateTimeField()
