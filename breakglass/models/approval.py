from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from breakglass.domain.approvals import Verdict
from breakglass.models.access_request import AccessRequest


class Approval(models.Model):
    """One person's decision on one request, with the second factor that was given for it."""

    request = models.ForeignKey(AccessRequest, on_delete=models.PROTECT, related_name="approvals")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="approvals")
    verdict = models.CharField(max_length=10, choices=[(v.value, v.value) for v in Verdict])
    comment = models.TextField(blank=True)
    factor = models.CharField(max_length=40, help_text="which second factor, e.g. totp:12")
    decided_at = models.DateTimeField()

    class Meta:
        ordering = ("decided_at",)
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("request", "person"), name="approval_one_a_person"),
            models.UniqueConstraint(fields=("factor",), name="approval_factor_used_once"),
        ]
