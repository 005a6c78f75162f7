from __future__ import annotations

from django.db import models


class AuditStream(models.Model):
    """One receiver of the audit trail's rows: how far it has them, and what is wrong with it. Bookkeeping, not evidence."""

    name = models.CharField(max_length=200, primary_key=True, help_text="its address without any password")
    seq = models.BigIntegerField(default=0, help_text="the last row that it is known to have")
    sent_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=300, blank=True)
    failing_since = models.DateTimeField(null=True)
    alarmed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("name",)
