from __future__ import annotations

from django.conf import settings
from django.db import models

from breakglass.models.grant import Grant


class PersonCertificate(models.Model):
    """An OpenSSH user certificate that the broker signed for one person and one grant. `serial` names it for good."""

    serial = models.BigIntegerField(primary_key=True)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="certificates"
    )
    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="certificates")
    key_type = models.CharField(max_length=64)
    key_fingerprint = models.CharField(max_length=80)
    source_address = models.GenericIPAddressField(null=True, help_text="the only address that it works from")
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField()
    issued_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("issued_at",)

    def __str__(self) -> str:
        return f"certificate {self.serial}"
