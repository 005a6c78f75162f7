from __future__ import annotations

from django.apps import AppConfig


class BreakglassConfig(AppConfig):
    name = "breakglass"
    label = "breakglass"
    verbose_name = "Breakglass"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Whoever queues a task needs the application configured, the web included.
        import breakglass.celery  # noqa: F401
