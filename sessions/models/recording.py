from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models

from sessions.models.ssh_session import SSHSession
from sessions.states import RecordingState


class Recording(models.Model):
    """The asciicast of a session. `manifest` is what the seal says; the files live in `sessions.recording.store`."""

    session = models.OneToOneField(SSHSession, on_delete=models.PROTECT, related_name="recording")
    state = models.CharField(max_length=10, choices=[(s.value, s.value) for s in RecordingState])
    manifest: models.JSONField[dict[str, Any] | None, dict[str, Any] | None] = models.JSONField(null=True)
    sha256 = models.CharField(max_length=64, blank=True)
    bytes = models.BigIntegerField(default=0)
    seconds = models.FloatField(default=0)
    sealed_at = models.DateTimeField(null=True)
    recovered = models.BooleanField(
        default=False, help_text="the gateway crashed; what was on disk was saved"
    )
    problem = models.CharField(max_length=300, blank=True)
    stored_at = models.DateTimeField(null=True, help_text="the remote copy was read back and found whole")
    store_problem = models.CharField(max_length=300, blank=True)
    store_tries = models.PositiveIntegerField(default=0)
    store_next_at = models.DateTimeField(null=True, help_text="when storing it away is tried again")
    local_removed_at = models.DateTimeField(null=True)
    keep_until = models.DateTimeField(null=True, help_text="retention; null: for ever")
    held_at = models.DateTimeField(null=True, help_text="legal hold: not deleted while it stands")
    held_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True
    )
    hold_reason = models.CharField(max_length=300, blank=True)
    deleted_at = models.DateTimeField(null=True, help_text="by policy; manifest and audit rows stay")
