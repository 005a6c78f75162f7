from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models


class SearchLook(models.Model):
    """What somebody is typing into the search just now, and whose sessions that showed them: on its way into the audit trail,
    where `sessions.services.looks` brings it once they have settled. One a person."""

    person = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, primary_key=True, related_name="+"
    )
    first_text = models.CharField(max_length=200)
    text = models.CharField(max_length=200)
    filters = models.JSONField(default=dict)
    sessions = models.JSONField(
        default=list, help_text="labels of other people's sessions that were shown, in order"
    )
    began_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=("seen_at",), name="look_by_time")]
