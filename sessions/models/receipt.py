from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.db import models

from sessions.models.ssh_session import SSHSession


class Receipt(models.Model):
    """The proof that a session's access was taken away: one a session, all times UTC with microseconds.

    `asked_at` is the moment from which access should have been gone: the grant's end, or when somebody's revocation,
    kill or lock was committed, or when the gateway noticed by itself. A time is null where it can't be known, such as
    when the client went while the gateway was dead; `estimated` says that the others were taken from what a crash left.
    """

    session = models.OneToOneField(SSHSession, on_delete=models.PROTECT, related_name="receipt")
    cause = models.CharField(max_length=20)
    asked_at = models.DateTimeField()
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True
    )
    cut_at = models.DateTimeField(null=True, help_text="when the gateway stopped to relay")
    last_byte_at = models.DateTimeField(null=True, help_text="the last byte relayed, either way")
    client_gone_at = models.DateTimeField(null=True)
    target_gone_at = models.DateTimeField(null=True)
    estimated = models.BooleanField(default=False)

    class Meta:
        indexes: ClassVar = [models.Index(fields=("asked_at",), name="receipt_by_time")]

    @property
    def cut_ms(self) -> float | None:
        """From asked to cut."""
        return _ms(self.asked_at, self.cut_at)

    @property
    def last_byte_ms(self) -> float | None:
        """From asked to the last byte; negative where nothing passed after."""
        return _ms(self.asked_at, self.last_byte_at)

    @property
    def client_gone_ms(self) -> float | None:
        """From asked to the client's socket closed."""
        return _ms(self.asked_at, self.client_gone_at)

    @property
    def target_gone_ms(self) -> float | None:
        """From asked to the asset's socket closed."""
        return _ms(self.asked_at, self.target_gone_at)

    @property
    def facts(self) -> dict[str, Any]:
        """Everything with stable keys: what the API, the console and the evidence say."""
        return {
            "session": self.session.label,
            "cause": self.cause,
            "asked_at": self.asked_at,
            "asked_by": self.asked_by.username if self.asked_by else None,
            "cut_at": self.cut_at,
            "last_byte_at": self.last_byte_at,
            "client_gone_at": self.client_gone_at,
            "target_gone_at": self.target_gone_at,
            "cut_ms": self.cut_ms,
            "last_byte_ms": self.last_byte_ms,
            "client_gone_ms": self.client_gone_ms,
            "target_gone_ms": self.target_gone_ms,
            "estimated": self.estimated,
        }


def _ms(start: datetime, end: datetime | None) -> float | None:
    return None if end is None else round((end - start).total_seconds() * 1000, 3)
