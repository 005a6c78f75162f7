from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

from breakglass.models.grant import Grant


class ConnectCode(models.Model):
    """A one-time password for one way in: this person, this grant, once, within a minute. Kept as SHA-256."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="connect_codes"
    )
    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="connect_codes")
    sha256 = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    used_from = models.GenericIPAddressField(null=True)

    class Meta:
        ordering = ("created_at",)
