from __future__ import annotations

from django.db import models

from sessions.models.ssh_session import SSHSession


class Channel(models.Model):
    """One SSH channel of a session. `refusal` is empty where it was carried."""

    session = models.ForeignKey(SSHSession, on_delete=models.PROTECT, related_name="channels")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=24)
    command = models.TextField(blank=True)
    destination = models.CharField(max_length=280, blank=True)
    refusal = models.CharField(max_length=40, blank=True)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    exit_status = models.BigIntegerField(null=True)
    exit_signal = models.CharField(max_length=32, blank=True)
    bytes_in = models.BigIntegerField(default=0)
    bytes_out = models.BigIntegerField(default=0)
    bytes_err = models.BigIntegerField(default=0)
    sha256_in = models.CharField(max_length=64, blank=True)
    sha256_out = models.CharField(max_length=64, blank=True)
    sha256_err = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ("session", "number")
        constraints = (models.UniqueConstraint(fields=("session", "number"), name="channel_number_once"),)
