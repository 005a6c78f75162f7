"""Reviews: one a grant, due once it has ended, signed by somebody who neither asked nor approved."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q

from breakglass import passes
from breakglass.domain.audit import AuditTag
from breakglass.domain.grants import ENDED, GrantState
from breakglass.domain.permissions import ADMINISTRATORS, AUDITORS, REVIEWERS
from breakglass.models import AccessRequest, Grant, Person
from breakglass.queries import people_in, spec_of, thing_of_grant
from breakglass.services import audit, notices
from sessions.models import Review
from sessions.states import ReviewState


def open_due_reviews(now: datetime) -> int:
    """Open the review of each ended grant that has none. Idempotent; returns how many."""
    ended = Grant.objects.filter(state__in=ENDED, review=None).values_list("pk", flat=True)[:200]
    return sum(open_review(grant_id, now) is not None for grant_id in ended)


def open_review(grant_id: UUID, now: datetime) -> Review | None:
    """The review of an ended grant becomes due, and reviewers are told. None when it exists or the grant lives."""
    grant = Grant.objects.select_related("person", "playbook").get(pk=grant_id)
    if GrantState(grant.state) not in ENDED or grant.ended_at is None:
        return None
    due_at = grant.ended_at + timedelta(hours=spec_of(grant.playbook).review_due_hours)
    try:
        with transaction.atomic():
            asked = {"state": ReviewState.DUE, "opened_at": now, "due_at": due_at}
            asked["needs_second"] = _was_override(grant)
            review, created = Review.objects.get_or_create(grant=grant, defaults=asked)
            if not created:
                return None
            audit.append(
                AuditTag.REVIEW_DUE,
                actor=None,
                subject=review,
                now=now,
                data={"grant": grant_id, "due": due_at, "signatures": 2 if review.needs_second else 1},
            )
            _tell_reviewers(review, now, f"To review: {grant.person.get_full_name()}, {grant.playbook.title}")
    except IntegrityError:
        return None
    return review


def chase_overdue(now: datetime) -> int:
    """Remind reviewers of what is overdue, once each. Returns how many."""
    overdue = Review.objects.filter(state=ReviewState.DUE, due_at__lte=now, chased_at=None)
    count = 0
    for review in overdue.select_related("grant__person", "grant__playbook")[:200]:
        with transaction.atomic():
            if not Review.objects.filter(pk=review.pk, state=ReviewState.DUE, chased_at=None).update(
                chased_at=now
            ):
                continue
            audit.append(
                AuditTag.REVIEW_OVERDUE, actor=None, subject=review, now=now, data={"grant": review.grant_id}
            )
            _tell_reviewers(review, now, f"Overdue review: {review.grant.person.get_full_name()}")
        count += 1
    return count


def escalate_overdue(now: datetime) -> int:
    """Tell auditors and administrators of what is overdue, with the names of who could sign it. Once each; returns how
    many."""
    overdue = Review.objects.filter(state=ReviewState.DUE, due_at__lte=now, escalated_at=None)
    rows = overdue.select_related("grant__person", "grant__playbook", "reviewer")[:200]
    return passes.count(partial(_escalate, now=now), rows)


def _escalate(review: Review, now: datetime) -> bool:
    with transaction.atomic():
        unescalated = Review.objects.filter(pk=review.pk, state=ReviewState.DUE, escalated_at=None)
        if not unescalated.update(escalated_at=now):
            return False
        fit = [person for person in able(review) if person.pk != review.reviewer_id]
        names = ", ".join(person.get_full_name() for person in fit)
        data = {"grant": review.grant_id, "due": review.due_at, "reviewers": [p.username for p in fit]}
        audit.append(AuditTag.REVIEW_ESCALATED, actor=None, subject=review, now=now, data=data)
        who = (
            f"It could be signed by: {names}."
            if names
            else "Nobody can sign it: every reviewer asked, approved, or has signed already. Name another reviewer."
        )
        name, due = review.grant.person.get_full_name(), f"{review.due_at:%Y-%m-%d %H:%M} UTC"
        notices.queue(
            people_in([AUDITORS, ADMINISTRATORS]),
            topic=f"review:{review.pk}",
            subject=f"Nobody has reviewed {name}, {review.grant.playbook.title}",
            body=f"The review was due at {due}. {who}\nUntil it is signed {name} gets no override, and the incident "
            "stays open.",
            path=f"/reviews/{review.pk}/",
            now=now,
        )
    return True


def _was_override(grant: Grant) -> bool:
    """Whether a supervisor decided alone on the access, or on more time for it."""
    deciding = Q(pk=grant.request_id) | Q(extends=grant)
    return AccessRequest.objects.filter(deciding, is_override=True).exists()


def able(review: Review) -> list[Person]:
    """The reviewers who neither asked nor decided."""
    thing = thing_of_grant(review.grant)
    return [p for p in people_in([REVIEWERS]) if p.pk != thing.owner_id and p.pk not in thing.approver_ids]


def _tell_reviewers(review: Review, now: datetime, subject: str) -> None:
    two = " A supervisor decided alone: two reviewers sign it." if review.needs_second else ""
    notices.queue(
        able(review),
        topic=f"review:{review.pk}",
        subject=subject,
        body=f"Review the grant of {review.grant.person.get_full_name()} until {review.due_at:%Y-%m-%d %H:%M} UTC.{two}",
        path=f"/reviews/{review.pk}/",
        now=now,
    )
