"""Thin Celery tasks: each calls one service. All are idempotent; what they do is true without them, too."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from breakglass import clock, passes
from breakglass.services import extensions, grants, notices, override, requests


@shared_task(name="breakglass.sweep")
def sweep() -> None:
    """Write down what the clock has ended. Runs every few seconds, whatever happened to the scheduled tasks."""
    services = (
        grants.expire_due,
        requests.escalate_due,
        override.offer_due,
        requests.lapse_due,
        extensions.withdraw_moot,
    )
    passes.each(services, clock.now())


@shared_task(name="breakglass.end_grant")
def end_grant(grant_id: str) -> None:
    """The scheduled end of one grant."""
    grants.expire(UUID(grant_id), clock.now())


@shared_task(name="breakglass.look_at_request")
def look_at_request(request_id: str) -> None:
    """The scheduled moments of one request: escalation, lapse."""
    now = clock.now()
    requests.escalate_due(now)
    requests.lapse_due(now)


@shared_task(name="breakglass.send_notices")
def send_notices() -> None:
    """Send the mails that are due."""
    notices.deliver_due(clock.now())
