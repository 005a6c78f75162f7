from __future__ import annotations

import uuid
from datetime import timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models

from breakglass.domain.grants import GrantState, Term
from breakglass.models.access_request import AccessRequest
from breakglass.models.asset import Asset
from breakglass.models.incident import Incident
from breakglass.models.playbook import PlaybookVersion


class Grant(models.Model):
    """The time-boxed right that came of a request. One a request, for one person, one incident."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    request = models.OneToOneField(AccessRequest, on_delete=models.PROTECT, related_name="grant")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="grants")
    playbook = models.ForeignKey(PlaybookVersion, on_delete=models.PROTECT, related_name="grants")
    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="grants")
    assets: models.ManyToManyField[Asset, GrantedAsset] = models.ManyToManyField(
        Asset, through="GrantedAsset", related_name="grants"
    )
    logins: models.JSONField[list[str], list[str]] = models.JSONField()
    state = models.CharField(max_length=10, choices=[(s.value, s.value) for s in GrantState])
    minutes = models.PositiveIntegerField()
    issued_at = models.DateTimeField()
    use_by = models.DateTimeField(null=True)
    starts_at = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True
    )
    reviewed_at = models.DateTimeField(null=True, help_text="when its review was signed")
    end_note = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-issued_at",)
        indexes: ClassVar = [
            models.Index(fields=("-issued_at",), name="grant_newest"),
            models.Index(fields=("person", "state"), name="grant_of_person"),
            models.Index(fields=("state", "reviewed_at"), name="grant_by_state"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="grant_state_known", condition=models.Q(state__in=[s.value for s in GrantState])
            ),
            models.CheckConstraint(
                name="grant_active_has_an_end",
                condition=~models.Q(state=GrantState.ACTIVE) | models.Q(ends_at__isnull=False),
            ),
            models.CheckConstraint(
                name="grant_armed_has_a_use_by",
                condition=~models.Q(state=GrantState.ARMED) | models.Q(use_by__isnull=False),
            ),
            models.CheckConstraint(name="grant_at_most_four_hours", condition=models.Q(minutes__lte=240)),
        ]

    @property
    def term(self) -> Term:
        return Term(GrantState(self.state), timedelta(minutes=self.minutes), self.use_by, self.ends_at)

    def __str__(self) -> str:
        return f"grant {self.id}"


class GrantedAsset(models.Model):
    grant = models.ForeignKey(Grant, on_delete=models.PROTECT)
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("grant", "asset"), name="granted_asset_once"),)
