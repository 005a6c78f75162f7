from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models


class EnrolmentCode(models.Model):
    """An administrator's one-time code that lets one person enrol a first second factor. Kept as SHA-256."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="enrolment_codes"
    )
    sha256 = models.CharField(max_length=64, unique=True)
    issued_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True
    )
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("issued_at",)


class FactorRecovery(models.Model):
    """A person lost every second factor: two administrators, neither of them the person, take the old ones away.

    Open while `decided_at` is null. The second administrator's word removes the factors and issues an enrolment code.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="recoveries")
    reason = models.CharField(max_length=300)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    asked_factor = models.CharField(max_length=120)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True
    )
    decided_at = models.DateTimeField(null=True)
    decided_factor = models.CharField(max_length=120, blank=True)
    confirmed = models.BooleanField(default=False)

    class Meta:
        ordering = ("-asked_at",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=("person",), condition=models.Q(decided_at=None), name="recovery_one_open_a_person"
            ),
            models.CheckConstraint(
                name="recovery_takes_two",
                condition=models.Q(decided_by=None) | ~models.Q(decided_by=models.F("asked_by")),
            ),
        ]
