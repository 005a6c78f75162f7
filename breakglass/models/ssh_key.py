from __future__ import annotations

from django.conf import settings
from django.db import models


class SshKey(models.Model):
    """A public key that a person registered. A key belongs to one person, for good: a removed row stays."""

    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="ssh_keys")
    label = models.CharField(max_length=80)
    type = models.CharField(max_length=64)
    bits = models.PositiveIntegerField()
    blob = models.BinaryField(help_text="the key in SSH wire format, RFC 4253 section 6.6")
    fingerprint = models.CharField(max_length=80, unique=True)
    verify_required = models.BooleanField(
        default=False, help_text="a FIDO key that only counts with its PIN or biometric check"
    )
    counter = models.BigIntegerField(null=True, help_text="a FIDO key's last signature counter")
    created_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("created_at",)

    def __str__(self) -> str:
        return f"{self.type} {self.fingerprint}"
