from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models

from breakglass.models import Asset, Grant
from sessions.states import EndReason, SessionState


class SSHSession(models.Model):
    """One gateway connection under a grant. It may carry many channels."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number = models.PositiveIntegerField(unique=True)
    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="ssh_sessions")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="ssh_sessions"
    )
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="ssh_sessions")
    login = models.CharField(max_length=32)
    decision_id = models.UUIDField()
    client_address = models.GenericIPAddressField()
    client_version = models.CharField(max_length=255, blank=True)
    factor = models.CharField(max_length=120, blank=True, help_text="how the person proved who they are")
    gateway_id = models.CharField(max_length=64)
    asset_address = models.CharField(max_length=280, blank=True)
    upstream_host_key = models.CharField(max_length=80, blank=True)
    state = models.CharField(max_length=10, choices=[(s.value, s.value) for s in SessionState])
    end_reason = models.CharField(max_length=20, blank=True, choices=[(r.value, r.value) for r in EndReason])
    kill_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True
    )
    kill_requested_at = models.DateTimeField(null=True)
    frozen_at = models.DateTimeField(null=True, help_text="the person's input is held since then")
    frozen_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True
    )
    freeze_reason = models.CharField(max_length=300, blank=True)
    escort_needed = models.BooleanField(default=False, help_text="input passes only while an escort watches")
    escort_missing_at = models.DateTimeField(
        null=True, help_text="no escort watches since then: input is held until one does"
    )
    opened_at = models.DateTimeField()
    renewed_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    bytes_in = models.BigIntegerField(default=0)
    bytes_out = models.BigIntegerField(default=0)

    class Meta:
        ordering = ("-opened_at",)
        indexes: ClassVar = [
            models.Index(fields=("-opened_at",), name="session_newest"),
            models.Index(fields=("person", "-opened_at"), name="session_of_person"),
            models.Index(
                fields=("state",),
                condition=~models.Q(state=SessionState.ENDED),
                name="session_not_ended",
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="session_ended_has_a_reason",
                condition=~models.Q(state=SessionState.ENDED)
                | (~models.Q(end_reason="") & models.Q(ended_at__isnull=False)),
            ),
        ]

    @property
    def label(self) -> str:
        return f"S-{self.number}"

    def __str__(self) -> str:
        return self.label
