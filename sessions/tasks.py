"""Thin Celery tasks of the data plane: each calls one service. All are idempotent."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from breakglass import clock, later, passes
from sessions import services
from sessions.services import looks, retention_clock, search_index, terminals, transcripts, watching


@shared_task(name="sessions.sweep")
def sweep() -> None:
    """Seal what has ended, open and chase reviews, bring what was looked for into the trail, purge
    tickets that are over."""
    parts = (
        watching.sweep,
        looks.settle_due,
        services.seal_due,
        services.open_due_reviews,
        services.chase_overdue,
        services.escalate_overdue,
        terminals.purge,
    )
    passes.each(parts, clock.now())


@shared_task(name="sessions.store")
def store() -> None:
    """Bring what is sealed to the object store, where one is set."""
    services.store_due(clock.now)


@shared_task(name="sessions.retain")
def retain() -> None:
    """Delete what is past its time and not held, by a clock that is believed."""
    now = clock.now()
    services.delete_due(now, lambda: retention_clock.may_delete(now, clock.monotonic()))


@shared_task(name="sessions.seal")
def seal(session_id: str) -> None:
    """Seal one recording, and have it rendered."""
    services.seal_recording(UUID(session_id), clock.now())
    later.ask("sessions.render", expires=15)


@shared_task(name="sessions.render")
def render() -> None:
    """Render what is sealed: commands, what was shown, the words to find it by."""
    transcripts.render_due(clock.now())


@shared_task(name="sessions.index")
def index() -> None:
    """Let new sessions, and what was said of them, be found."""
    search_index.index_due()


@shared_task(name="sessions.grant_ended")
def grant_ended(grant_id: str) -> None:
    """Open the review of a grant that has ended."""
    services.open_review(UUID(grant_id), clock.now())
