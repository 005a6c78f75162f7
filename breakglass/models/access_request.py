from __future__ import annotations

import uuid
from datetime import timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models

from breakglass.domain.requests import RequestState
from breakglass.models.asset import Asset
from breakglass.models.incident import Incident
from breakglass.models.playbook import PlaybookVersion


class AccessRequest(models.Model):
    """A reasoned plea for access under one version of a playbook."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number = models.PositiveIntegerField(unique=True)
    requester = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="requests")
    playbook = models.ForeignKey(PlaybookVersion, on_delete=models.PROTECT, related_name="requests")
    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="requests")
    assets: models.ManyToManyField[Asset, RequestedAsset] = models.ManyToManyField(
        Asset, through="RequestedAsset", related_name="+"
    )
    login = models.CharField(max_length=32, blank=True, help_text="empty: any login of the playbook")
    minutes = models.PositiveIntegerField()
    extends = models.ForeignKey(
        "breakglass.Grant",
        on_delete=models.PROTECT,
        related_name="extensions",
        null=True,
        help_text="a plea for more time under this grant, not for a new one",
    )
    reason = models.TextField()
    match_number = models.PositiveSmallIntegerField(
        null=True,
        help_text="two digits that the requester sees and the approver picks, against approval fatigue",
    )
    is_override = models.BooleanField(default=False, help_text="a supervisor decided it alone")
    state = models.CharField(
        max_length=12, choices=[(s.value, s.value) for s in RequestState], default=RequestState.PENDING
    )
    submitted_at = models.DateTimeField()
    escalates_at = models.DateTimeField()
    escalated_at = models.DateTimeField(null=True)
    lapses_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-submitted_at",)
        indexes: ClassVar = [
            models.Index(fields=("-submitted_at",), name="request_newest"),
            models.Index(fields=("requester", "-submitted_at"), name="request_of_person"),
            models.Index(fields=("state", "lapses_at"), name="request_by_state"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="request_state_known", condition=models.Q(state__in=[s.value for s in RequestState])
            ),
            models.CheckConstraint(
                name="request_decided_when_not_pending",
                condition=models.Q(state=RequestState.PENDING, decided_at=None)
                | (~models.Q(state=RequestState.PENDING) & models.Q(decided_at__isnull=False)),
            ),
        ]

    @property
    def label(self) -> str:
        return f"REQ-{self.number}"

    @property
    def duration(self) -> timedelta:
        return timedelta(minutes=self.minutes)

    @property
    def title(self) -> str:
        """What is asked for, in a few words. More time is never shown as new access."""
        return f"More time: {self.playbook.title}" if self.extends_id else self.playbook.title

    def __str__(self) -> str:
        return self.label


class RequestedAsset(models.Model):
    request = models.ForeignKey(AccessRequest, on_delete=models.PROTECT)
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("request", "asset"), name="requested_asset_once"),)
