from __future__ import annotations

from typing import Any

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
