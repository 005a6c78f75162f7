"""What reviewers found: said at a second of a session, taken back before the signature only, followed up and closed after it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from breakglass.domain import permissions
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import WHO_CAN, Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import one_line, plain
from breakglass.models import Person
from breakglass.queries import actor_of, thing_of_grant
from breakglass.services import audit
from sessions.models import Finding, Review, SSHSession
from sessions.queries import review_for
from sessions.states import FOLLOW_UP_DAYS, FindingCategory, ReviewState, Severity

LEAST_TEXT, MOST_TEXT = 3, 1000
MOST_OF_A_REVIEW = 200
LATEST_DAYS = 366


@dataclass(frozen=True)
class FindingForm:
    """What a reviewer says. Without a session it is about all of the access; `at`: seconds of that session's recording."""

    category: str
    severity: str
    text: str
    session_id: UUID | None = None
    at: float | None = None


def add(review_id: int, person: Person, form: FindingForm, now: datetime) -> Finding:
    """Write a finding down beside a review that the person could sign.

    Raises Refused `not_found`, `review_conflict`, `not_allowed`, `review_not_due` once it is signed, `bad_input`.
    """
    review = judged_by(review_id, person)
    text = _read(form)
    session = _session(review, form)
    with transaction.atomic():
        _lock_open(review, person)
        if Finding.objects.filter(review=review).count() >= MOST_OF_A_REVIEW:
            problem = f"A review holds at most {MOST_OF_A_REVIEW} findings. Say the rest in the note."
            raise refuse(RefusalCode.BAD_INPUT, problem=problem)
        finding = Finding.objects.create(
            review=review,
            session=session,
            at_seconds=round(form.at, 2) if form.at is not None else None,
            category=form.category,
            severity=form.severity,
            text=text,
            author=person,
            created_at=now,
        )
        audit.append(AuditTag.FINDING_ADDED, actor=person, subject=finding, now=now, data=facts_of(finding))
    return finding


def withdraw(finding_id: int, person: Person, now: datetime) -> Finding:
    """Its author takes it back, before they sign. It stays on record as withdrawn.

    Raises Refused `not_found` for another's, `review_not_due` once it is signed.
    """
    own = Finding.objects.select_related("review", "session").filter(pk=finding_id, author=person)
    finding = own.filter(withdrawn_at=None).first()
    if finding is None:
        raise refuse(RefusalCode.NOT_FOUND, what="finding of yours")
    review = judged_by(finding.review_id, person)
    with transaction.atomic():
        _lock_open(review, person)
        if not own.filter(withdrawn_at=None).update(withdrawn_at=now):
            raise refuse(RefusalCode.NOT_FOUND, what="finding of yours")
        audit.append(
            AuditTag.FINDING_WITHDRAWN, actor=person, subject=finding, now=now, data=facts_of(finding)
        )
    finding.withdrawn_at = now
    return finding


def follow_up(finding_id: int, person: Person, owner: str, due_at: datetime | None, now: datetime) -> Finding:
    """Who sees to it, until when. Raises Refused `not_found`, `not_allowed`, `finding_closed`, `bad_input`."""
    finding = _followed_by(finding_id, person)
    owner = one_line(owner, 120)
    if not owner:
        raise refuse(RefusalCode.BAD_INPUT, problem="Name who sees to it.", needs=("owner",))
    if due_at is not None and not now - timedelta(days=1) <= due_at <= now + timedelta(days=LATEST_DAYS):
        raise refuse(
            RefusalCode.BAD_INPUT, problem="Name a day from today on, within a year.", needs=("due_at",)
        )
    with transaction.atomic():
        still_open = Finding.objects.filter(pk=finding.pk, closed_at=None)
        if not still_open.update(owner=owner, due_at=due_at or finding.due_at):
            raise refuse(RefusalCode.FINDING_CLOSED)
        data = {"review": finding.review_id, "owner": owner, "due": due_at or finding.due_at}
        audit.append(AuditTag.FINDING_FOLLOWED, actor=person, subject=finding, now=now, data=data)
    finding.refresh_from_db()
    return finding


def close(finding_id: int, person: Person, note: str, now: datetime) -> Finding:
    """It is seen to: say how. Raises Refused `not_found`, `not_allowed`, `finding_closed`, `bad_input`."""
    finding = _followed_by(finding_id, person)
    note = plain(note, MOST_TEXT).strip()
    if len(note) < LEAST_TEXT:
        raise refuse(RefusalCode.BAD_INPUT, problem="Say how it was seen to.", needs=("note",))
    with transaction.atomic():
        if not Finding.objects.filter(pk=finding.pk, closed_at=None).update(
            closed_at=now, closed_by=person, closing_note=note
        ):
            raise refuse(RefusalCode.FINDING_CLOSED)
        data = {"review": finding.review_id, "note": note}
        audit.append(AuditTag.FINDING_CLOSED, actor=person, subject=finding, now=now, data=data)
    finding.refresh_from_db()
    return finding


def reopen(finding_id: int, person: Person, why: str, now: datetime) -> Finding:
    """It wasn't seen to after all: who sees to it and until when stay. What was said of its closing stays in the trail.

    Raises Refused `not_found`, `not_allowed`, `finding_open`, `bad_input`.
    """
    finding = _followed_by(finding_id, person, closed=True)
    why = plain(why, MOST_TEXT).strip()
    if len(why) < LEAST_TEXT:
        raise refuse(RefusalCode.BAD_INPUT, problem="Say why it is open again.", needs=("note",))
    with transaction.atomic():
        closed = Finding.objects.filter(pk=finding.pk, closed_at__isnull=False)
        if not closed.update(closed_at=None, closed_by=None, closing_note=""):
            raise refuse(RefusalCode.FINDING_OPEN)
        data = {"review": finding.review_id, "why": why}
        audit.append(AuditTag.FINDING_REOPENED, actor=person, subject=finding, now=now, data=data)
    finding.refresh_from_db()
    return finding


def judged_by(review_id: int, person: Person) -> Review:
    """The review, for somebody who could judge it. Raises Refused `not_found`, `review_conflict`, `not_allowed`."""
    review = review_for(person, review_id)
    thing = thing_of_grant(review.grant)
    if person.pk == thing.owner_id or person.pk in thing.approver_ids:
        raise refuse(RefusalCode.REVIEW_CONFLICT)
    if not permissions.may(actor_of(person), Verb.SIGN_REVIEW, thing):
        raise refuse(RefusalCode.NOT_ALLOWED, verb=Verb.SIGN_REVIEW, who=WHO_CAN[Verb.SIGN_REVIEW])
    return review


def hand_over(review: Review, now: datetime) -> None:
    """Once a review is signed its findings want following up: each by its day, in the caller's transaction."""
    for severity, days in FOLLOW_UP_DAYS.items():
        found = review.findings.filter(withdrawn_at=None, due_at=None, severity=severity)
        found.update(due_at=now + timedelta(days=days))


def facts_of(finding: Finding) -> dict[str, object]:
    """A finding as the trail and the evidence say it."""
    return {
        "finding": finding.pk,
        "review": finding.review_id,
        "category": finding.category,
        "severity": finding.severity,
        "text": finding.text,
        "session": finding.session.label if finding.session else None,
        "at": finding.at_seconds,
    }


def _lock_open(review: Review, person: Person) -> None:
    """Under the review's row lock: a signature at the same moment comes before or after, and holds what it says."""
    row = Review.objects.select_for_update(no_key=True).get(pk=review.pk)
    if row.state != ReviewState.DUE or row.reviewer_id == person.pk:
        raise refuse(RefusalCode.REVIEW_NOT_DUE, why="you have signed it, or others have")


def _read(form: FindingForm) -> str:
    if form.category not in list(FindingCategory):
        problem = f"A category is one of: {', '.join(FindingCategory)}."
        raise refuse(RefusalCode.BAD_INPUT, problem=problem, needs=("category",))
    if form.severity not in list(Severity):
        problem = f"A severity is one of: {', '.join(Severity)}."
        raise refuse(RefusalCode.BAD_INPUT, problem=problem, needs=("severity",))
    text = plain(form.text, MOST_TEXT).strip()
    if len(text) < LEAST_TEXT:
        raise refuse(RefusalCode.BAD_INPUT, problem="Say what you found.", needs=("text",))
    return text


def _session(review: Review, form: FindingForm) -> SSHSession | None:
    if form.session_id is None:
        if form.at is not None:
            raise refuse(
                RefusalCode.BAD_INPUT, problem="Name the session of that second.", needs=("session",)
            )
        return None
    sessions = SSHSession.objects.select_related("recording").filter(grant=review.grant_id)
    session = sessions.filter(pk=form.session_id).first()
    if session is None:
        raise refuse(RefusalCode.BAD_INPUT, problem="That session isn't of this access.", needs=("session",))
    longest = session.recording.seconds
    if form.at is not None and not (math.isfinite(form.at) and 0 <= form.at <= longest + 1):
        problem = f"A second of {session.label} is from 0 to {longest:.0f}."
        raise refuse(RefusalCode.BAD_INPUT, problem=problem, needs=("at",))
    return session


def _followed_by(finding_id: int, person: Person, *, closed: bool = False) -> Finding:
    """A finding of a signed review that this person may follow up: never who is judged by it."""
    finding = (
        Finding.objects.select_related("review__grant__playbook", "session")
        .filter(pk=finding_id, withdrawn_at=None)
        .first()
    )
    if finding is None or not permissions.may(actor_of(person), Verb.LIST_REVIEWS):
        raise refuse(RefusalCode.NOT_FOUND, what="finding")
    if not permissions.may(actor_of(person), Verb.FOLLOW_UP_FINDING, thing_of_grant(finding.review.grant)):
        raise refuse(
            RefusalCode.NOT_ALLOWED, verb=Verb.FOLLOW_UP_FINDING, who=WHO_CAN[Verb.FOLLOW_UP_FINDING]
        )
    if finding.review.state != ReviewState.SIGNED:
        raise refuse(RefusalCode.REVIEW_NOT_DUE, why="a finding is followed up once its review is signed")
    if (finding.closed_at is not None) != closed:
        raise refuse(RefusalCode.FINDING_OPEN if closed else RefusalCode.FINDING_CLOSED)
    return finding
