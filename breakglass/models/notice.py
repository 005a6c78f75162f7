from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models


class Notice(models.Model):
    """Something to be known; written with the change it tells of, delivered after. It holds no secret.

    For a person, or (`person` null) for one of the house's ways, which a playbook names. How it gets there is in its
    deliveries: `sent_at` is when the first of them went.
    """

    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notices", null=True
    )
    topic = models.CharField(max_length=64)
    subject = models.CharField(max_length=160)
    body = models.TextField()
    path = models.CharField(max_length=200, help_text="the page it leads to; opening that changes nothing")
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at",)
        indexes: ClassVar = [models.Index(fields=("person", "seen_at"), name="notice_of_person")]
