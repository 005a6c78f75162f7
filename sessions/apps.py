from __future__ import annotations

from django.apps import AppConfig


class SessionsConfig(AppConfig):
    """The data plane. Its label can't be "sessions": django.contrib.sessions has that."""

    name = "sessions"
    label = "gateway"
    verbose_name = "Gateway sessions"
    default_auto_field = "django.db.models.BigAutoField"
