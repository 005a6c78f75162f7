from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models

from sessions.models.ssh_session import SSHSession


class Watch(models.Model):
    """One person watching one session live, from `began_at` on. Over when `ended_at` is set, or `seen_at` is stale."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(SSHSession, on_delete=models.PROTECT, related_name="watches")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True
    )
    kiosk = models.ForeignKey("gateway.Kiosk", on_delete=models.PROTECT, related_name="+", null=True)
    escort = models.BooleanField(default=False)
    began_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("began_at",)
        indexes: ClassVar = [models.Index(fields=("session", "ended_at"), name="watch_of_session")]


class ChatMessage(models.Model):
    """What was said beside a session; part of the record, never changed."""

    session = models.ForeignKey(SSHSession, on_delete=models.PROTECT, related_name="chat")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    text = models.CharField(max_length=1000)

    class Meta:
        ordering = ("pk",)


class Kiosk(models.Model):
    """A wallboard's right to look, bound to one device. Both secrets are kept as SHA-256."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=64)
    pairing_sha256 = models.CharField(
        max_length=64, unique=True, null=True, help_text="the code typed once on the device"
    )
    pairing_ends_at = models.DateTimeField(null=True)
    device_sha256 = models.CharField(max_length=64, unique=True, null=True, help_text="the device's cookie")
    device_address = models.GenericIPAddressField(null=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    paired_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True
    )

    class Meta:
        ordering = ("name",)
