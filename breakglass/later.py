"""Asking a Celery worker to do something soon or at a time. An accelerator: sweeps over the database do it anyway."""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial
from typing import Any

from celery import current_app
from django.db import transaction
from kombu.exceptions import KombuError

from breakglass import doorbell

log = logging.getLogger(__name__)


def ask(task: str, *args: Any, eta: datetime | None = None, expires: float | None = None) -> None:
    """Queue `task` by name once the running transaction has committed; it is dropped when no worker came to it in
    `expires` seconds. Never raises: the sweep comes by anyway."""
    transaction.on_commit(partial(_send, task, args, eta, expires), robust=True)


def _send(task: str, args: tuple[Any, ...], eta: datetime | None, expires: float | None) -> None:
    if not doorbell.answers():
        # Celery's own attempt would hold an approver up for 6 s; the sweep does it in any case.
        log.warning("task %s was not queued: Redis is away", task)
        return
    try:
        current_app.send_task(task, args=args, eta=eta, expires=expires)
    except (KombuError, OSError) as error:
        log.warning("task %s was not queued: %s", task, error)
