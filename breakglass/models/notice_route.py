from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models

from breakglass.models.notice import Notice


class NoticeRoute(models.Model):
    """A way for notices: a person's own, or the house's (`person` null), which playbooks name under `notify`.

    `url` is an Apprise address, encrypted: it often holds a token. Empty for the house's: those are in the settings.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notice_routes", null=True
    )
    name = models.CharField(max_length=64)
    kind = models.CharField(
        max_length=32, help_text="the Apprise scheme, such as slack: shown instead of the address"
    )
    url = models.BinaryField()
    created_at = models.DateTimeField()
    tested_at = models.DateTimeField(null=True, help_text="when a notice last went this way")
    problem = models.CharField(max_length=300, blank=True)
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ("name",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=("person", "name"),
                condition=models.Q(person__isnull=False),
                name="notice_route_name_once",
            ),
            models.UniqueConstraint(
                fields=("name",), condition=models.Q(person=None), name="notice_house_route_name_once"
            ),
        ]


class NoticeDelivery(models.Model):
    """One notice on one way: mail where `route` is null."""

    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="deliveries")
    route = models.ForeignKey(NoticeRoute, on_delete=models.CASCADE, related_name="deliveries", null=True)
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=("notice", "route"),
                condition=models.Q(route__isnull=False),
                name="delivery_once_a_route",
            ),
            models.UniqueConstraint(
                fields=("notice",), condition=models.Q(route=None), name="delivery_one_mail"
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=("next_try_at",),
                condition=models.Q(sent_at=None, next_try_at__isnull=False),
                name="delivery_due",
            )
        ]
