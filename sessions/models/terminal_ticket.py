from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

from breakglass.models import Asset, Grant


class TerminalTicket(models.Model):
    """The right to open one browser terminal, once, within seconds, from the web login that asked for it.

    The ticket itself and the web login's key are kept as SHA-256. `certificate` is the serial of the user certificate
    that was made when the ticket was used. The sweep deletes rows that have been over for a day.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    sha256 = models.CharField(max_length=64, unique=True)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="terminal_tickets"
    )
    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="terminal_tickets")
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="+")
    login = models.CharField(max_length=32)
    web_login_sha256 = models.CharField(max_length=64)
    client_address = models.GenericIPAddressField()
    factor = models.CharField(max_length=120, help_text="the second factor that was given for it")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    certificate = models.BigIntegerField(null=True)

    class Meta:
        ordering = ("created_at",)
