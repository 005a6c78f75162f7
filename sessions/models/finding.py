from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from sessions.models.review import Review
from sessions.models.ssh_session import SSHSession


class Finding(models.Model):
    """Something a reviewer saw, at a second of a session (or about all of it), to be followed up and closed."""

    review = models.ForeignKey(Review, on_delete=models.PROTECT, related_name="findings")
    session = models.ForeignKey(SSHSession, on_delete=models.PROTECT, related_name="findings", null=True)
    at_seconds = models.FloatField(null=True)
    category = models.CharField(max_length=20)
    severity = models.CharField(max_length=10)
    text = models.CharField(max_length=1000)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(
        null=True, help_text="taken back by its author before the review was signed"
    )
    owner = models.CharField(max_length=120, blank=True, help_text="who sees to it")
    due_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True
    )
    closing_note = models.CharField(max_length=1000, blank=True)

    class Meta:
        ordering = ("created_at",)


class Coverage(models.Model):
    """Which parts of a recording one reviewer has watched: [[from, to], ...] in seconds of the recording, merged."""

    session = models.ForeignKey(SSHSession, on_delete=models.CASCADE, related_name="coverage")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    ranges: models.JSONField[list[list[float]], list[list[float]]] = models.JSONField(default=list)
    updated_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("session", "person"), name="coverage_one_a_person"),
        ]
