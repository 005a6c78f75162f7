"""Reviews: one a grant, due once it has ended, signed by somebody who neither asked nor approved."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction

from breakglass.domain import permissions
from breakglass.domain.audit import AuditTag
from breakglass.domain.grants import ENDED, GrantState
from breakglass.domain.permissions import REVIEWERS, Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import plain
from breakglass.models import Grant, Person
from breakglass.queries import actor_of, people_in, spec_of, thing_of_grant
from breakglass.services import audit, notices
from sessions.models import Review
from sessions.queries import review_for
from sessions.states import OPEN_STATES, RecordingState, ReviewState, ReviewVerdict

MOST_NOTE = 8000


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
            review, created = Review.objects.get_or_create(
                grant=grant, defaults={"state": ReviewState.DUE, "opened_at": now, "due_at": due_at}
            )
            if not created:
                return None
            audit.append(
                AuditTag.REVIEW_DUE,
                actor=None,
                subject=review,
                now=now,
                data={"grant": grant_id, "due": due_at},
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


def sign_review(review_id: int, person: Person, verdict: str, note: str, now: datetime) -> Review:
    """The judgement, once. Raises Refused `not_found`, `review_conflict`, `not_allowed`, `review_not_due`, `bad_input`."""
    review = review_for(person, review_id)
    thing = thing_of_grant(review.grant)
    if person.pk == thing.owner_id or person.pk in thing.approver_ids:
        raise refuse(RefusalCode.REVIEW_CONFLICT)
    if not permissions.may(actor_of(person), Verb.SIGN_REVIEW, thing):
        raise refuse(
            RefusalCode.NOT_ALLOWED, verb=Verb.SIGN_REVIEW, who=permissions.WHO_CAN[Verb.SIGN_REVIEW]
        )
    if verdict not in list(ReviewVerdict):
        problem = f"A verdict is one of: {', '.join(ReviewVerdict)}."
        raise refuse(RefusalCode.BAD_INPUT, problem=problem, needs=("verdict",))
    if verdict != ReviewVerdict.IN_ORDER and not note.strip():
        raise refuse(RefusalCode.BAD_INPUT, problem="Say in the note what you found.", needs=("note",))
    note = plain(note, MOST_NOTE)
    _refuse_unfinished(review)
    with transaction.atomic():
        unsigned = Review.objects.filter(pk=review.pk, state=ReviewState.DUE)
        if not unsigned.update(
            state=ReviewState.SIGNED, reviewer=person, verdict=verdict, note=note, signed_at=now
        ):
            raise refuse(RefusalCode.REVIEW_NOT_DUE, why="it is signed already")
        Grant.objects.filter(pk=review.grant_id).update(reviewed_at=now)
        data = {
            "grant": review.grant_id,
            "verdict": verdict,
            "note": note,
            "recordings": _digests(review),
        }
        audit.append(AuditTag.REVIEW_SIGNED, actor=person, subject=review, now=now, data=data)
    review.refresh_from_db()
    return review


def _refuse_unfinished(review: Review) -> None:
    """What isn't sealed can't have been seen whole. One that can't be sealed was alarmed, and is judged as that."""
    sessions = review.grant.ssh_sessions
    if sessions.filter(state__in=OPEN_STATES).exists():
        raise refuse(RefusalCode.REVIEW_NOT_DUE, why="a session of it is still open")
    if sessions.filter(recording__state=RecordingState.OPEN, recording__problem="").exists():
        raise refuse(RefusalCode.REVIEW_NOT_DUE, why="a recording of it is not sealed yet")


def _digests(review: Review) -> list[str]:
    """What was judged: the SHA-256 of each recording of the grant."""
    sessions = review.grant.ssh_sessions.select_related("recording").order_by("number")
    return [session.recording.sha256 for session in sessions]


def _tell_reviewers(review: Review, now: datetime, subject: str) -> None:
    thing = thing_of_grant(review.grant)
    fit = [p for p in people_in([REVIEWERS]) if p.pk != thing.owner_id and p.pk not in thing.approver_ids]
    notices.queue(
        fit,
        topic=f"review:{review.pk}",
        subject=subject,
        body=f"Review the grant of {review.grant.person.get_full_name()} until {review.due_at:%Y-%m-%d %H:%M} UTC.",
        path=f"/reviews/{review.pk}/",
        now=now,
    )
