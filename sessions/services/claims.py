"""Claims: a reviewer takes a review for a while, so that two don't do the same work. The clock ends a claim, not a job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.models import Person
from breakglass.services import audit, notices
from sessions.models import Review
from sessions.queries import review_for
from sessions.services import findings
from sessions.states import CLAIM_LASTS, ReviewState


@dataclass(frozen=True)
class Claim:
    """Who has it, and until when."""

    person: Person
    until: datetime


def of(review: Review, now: datetime) -> Claim | None:
    """The claim that stands at `now`, or None."""
    if review.state != ReviewState.DUE or review.claimed_by is None or review.claimed_at is None:
        return None
    until = review.claimed_at + CLAIM_LASTS
    return Claim(review.claimed_by, until) if now < until else None


def claim(review_id: int, person: Person, now: datetime, *, over: bool = False) -> Review:
    """The review is this person's until the claim lapses, they release it, or sign. Claiming one's own again begins it anew.

    `over`: take it from whoever has it; they are told. Raises Refused `not_found`, `review_conflict`, `not_allowed`,
    `review_not_due`, and `review_claimed` while another's claim stands.
    """
    review = findings.judged_by(review_id, person)
    with transaction.atomic():
        locked = _lock_open(review, person)
        theirs = of(locked, now)
        if theirs is not None and theirs.person.pk != person.pk:
            if not over:
                raise claimed(theirs)
            _tell(review, theirs.person, person, now)
        locked.claimed_by, locked.claimed_at = person, now
        locked.save(update_fields=("claimed_by", "claimed_at"))
        data = {"grant": review.grant_id, "until": now + CLAIM_LASTS}
        if theirs is not None and theirs.person.pk != person.pk:
            data["from"] = theirs.person.username
        audit.append(AuditTag.REVIEW_CLAIMED, actor=person, subject=review, now=now, data=data)
    return review_for(person, review_id)


def release(review_id: int, person: Person, now: datetime) -> Review:
    """It is anybody's again. Where this person has no claim, nothing changes. Raises Refused as `claim`."""
    review = findings.judged_by(review_id, person)
    with transaction.atomic():
        locked = _lock_open(review, person)
        standing = of(locked, now)
        if standing is not None and standing.person.pk == person.pk:
            forget(locked)
            locked.save(update_fields=("claimed_by", "claimed_at"))
            data = {"grant": review.grant_id}
            audit.append(AuditTag.REVIEW_UNCLAIMED, actor=person, subject=review, now=now, data=data)
    return review_for(person, review_id)


def refuse_others(review: Review, person: Person, now: datetime) -> None:
    """Raises Refused `review_claimed` while somebody else's claim stands."""
    standing = of(review, now)
    if standing is not None and standing.person.pk != person.pk:
        raise claimed(standing)


def forget(review: Review) -> None:
    """No claim on it, unsaved: the caller has its row locked."""
    review.claimed_by = review.claimed_at = None


def claimed(standing: Claim) -> Refused:
    """The refusal for everybody else."""
    who = standing.person.get_full_name()
    return refuse(RefusalCode.REVIEW_CLAIMED, who=who, until=f"{standing.until:%H:%M}", needs=("over",))


def _lock_open(review: Review, person: Person) -> Review:
    # Nothing is joined: after a wait PostgreSQL gives the new row beside what was joined to the old one.
    row = Review.objects.select_for_update(no_key=True).get(pk=review.pk)
    if row.state != ReviewState.DUE or row.reviewer_id == person.pk:
        raise refuse(RefusalCode.REVIEW_NOT_DUE, why="you have signed it, or others have")
    return row


def _tell(review: Review, before: Person, person: Person, now: datetime) -> None:
    notices.queue(
        [before],
        topic=f"review:{review.pk}",
        subject=f"{person.get_full_name()} took over a review from you",
        body=f"The review of {review.grant.person.get_full_name()}, {review.grant.playbook.title}, is theirs now. What you "
        "wrote down beside it stays.",
        path=f"/reviews/{review.pk}/",
        now=now,
    )
