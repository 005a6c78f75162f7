"""What the notary signed about the trail, and how far each anchor outside knows of it."""

from __future__ import annotations

from django.db import models

from breakglass.models.audit_event import AppendOnlyModel, BytesField, HashField


class AuditCheckpoint(AppendOnlyModel):
    """A signed statement: the trail's first `size` rows have this Merkle root (RFC 6962). `note` is the C2SP signed note."""

    size = models.BigIntegerField(primary_key=True)
    root = HashField(max_length=32)
    edge = BytesField(
        help_text="the nodes of the tree's right edge, 32 bytes each: the next checkpoint grows from them"
    )
    note = models.TextField()
    signed_at = models.DateTimeField()

    class Meta:
        ordering = ("-size",)


class AuditAnchor(models.Model):
    """One place outside: which checkpoint it got last, and what is wrong with it. Bookkeeping, not evidence."""

    name = models.CharField(max_length=200, primary_key=True, help_text="its address without any password")
    size = models.BigIntegerField(default=0, help_text="of the newest checkpoint that it took")
    sent_at = models.DateTimeField(null=True)
    tried_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=300, blank=True)
    failing_since = models.DateTimeField(null=True)
    alarmed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("name",)
