"""The Celery application: `celery -A breakglass worker` and `celery -A breakglass beat`."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "breakglass.settings")

app = Celery("breakglass")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["breakglass", "sessions"])
