from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from breakglass.models import Grant
from sessions.states import ReviewState, ReviewVerdict


class Review(models.Model):
    """The judgement after access: one a grant, due once the grant has ended."""

    grant = models.OneToOneField(Grant, on_delete=models.PROTECT, related_name="review")
    state = models.CharField(max_length=10, choices=[(s.value, s.value) for s in ReviewState])
    opened_at = models.DateTimeField()
    due_at = models.DateTimeField()
    chased_at = models.DateTimeField(null=True)
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True
    )
    verdict = models.CharField(max_length=12, blank=True, choices=[(v.value, v.value) for v in ReviewVerdict])
    note = models.TextField(blank=True)
    signed_at = models.DateTimeField(null=True)
    factor = models.CharField(max_length=120, blank=True, help_text="the second factor it was signed with")
    escalated_at = models.DateTimeField(null=True)
    needs_second = models.BooleanField(default=False, help_text="an override: two reviewers sign")
    second_reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True
    )
    second_verdict = models.CharField(
        max_length=12, blank=True, choices=[(v.value, v.value) for v in ReviewVerdict]
    )
    second_note = models.TextField(blank=True)
    second_signed_at = models.DateTimeField(null=True)
    second_factor = models.CharField(max_length=120, blank=True)

    claimed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True
    )
    claimed_at = models.DateTimeField(
        null=True, help_text="the claim lapses by the clock (states.CLAIM_LASTS)"
    )

    class Meta:
        ordering = ("due_at",)
        indexes: ClassVar = [
            models.Index(fields=("state", "due_at"), name="review_by_state"),
            models.Index(fields=("due_at",), name="review_by_due"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="review_signed_is_complete",
                condition=~models.Q(state=ReviewState.SIGNED)
                | (models.Q(reviewer__isnull=False, signed_at__isnull=False) & ~models.Q(verdict="")),
            ),
        ]
