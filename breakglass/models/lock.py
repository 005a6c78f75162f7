from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

from breakglass.domain.policy import LockKind


class Lock(models.Model):
    """A standing refusal. `subject` is the id (person, asset, incident) or slug (playbook); empty for everything."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=12, choices=[(k.value, k.value) for k in LockKind])
    subject = models.CharField(max_length=64, blank=True)
    subject_name = models.CharField(max_length=120, blank=True)
    reason = models.CharField(max_length=300)
    placed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    placed_at = models.DateTimeField()
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True
    )
    lifted_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-placed_at",)
