from __future__ import annotations

from django.conf import settings
from django.db import models


class Notice(models.Model):
    """Something a person should know; written with the change it tells of, delivered after. It holds no secret."""

    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notices")
    topic = models.CharField(max_length=64)
    subject = models.CharField(max_length=160)
    body = models.TextField()
    path = models.CharField(max_length=200, help_text="the page it leads to; opening that changes nothing")
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True)
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("-created_at",)
