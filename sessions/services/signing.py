"""Signing a review: once, with a fresh second factor; twice, by distinct people, where a supervisor decided alone."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from django.db import transaction

from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.domain.text import plain
from breakglass.models import Grant, Person
from breakglass.services import audit, notices, step_up
from breakglass.services.step_up import Answer, FactorProof
from sessions.models import Review, SSHSession
from sessions.services import claims, coverage, findings, reviews
from sessions.states import OPEN_STATES, RecordingState, ReviewState, ReviewVerdict

MOST_NOTE = 8000
ACTION = "sign_review"


def sign_review(
    review_id: int, person: Person, verdict: str, note: str, answer: Answer, now: datetime
) -> Review:
    """The judgement, with a fresh second factor. Where two must judge, the review is signed once both have.

    Raises Refused `not_found`, `review_conflict`, `not_allowed`, `review_not_due`, `review_claimed` while somebody else
    has it, `bad_input`, and whatever the second factor says. What the signature covers is in its audit row: verdict, note, findings, how much was seen, recordings.
    """
    review = findings.judged_by(review_id, person)
    note = _read(verdict, note)
    _refuse_signed(review, person)
    claims.refuse_others(review, person, now)
    _refuse_unfinished(review)
    proof = step_up.verify(person, ACTION, review.pk, answer, now)
    with transaction.atomic():
        locked = Review.objects.select_for_update(no_key=True).get(pk=review.pk)
        _refuse_signed(locked, person)
        claims.refuse_others(locked, person, now)
        first = locked.needs_second and locked.reviewer_id is None
        _write(locked, person, verdict, note, proof, now)
        data = _judgement(review, person, verdict, note, proof)
        if first:
            audit.append(AuditTag.REVIEW_FIRST_SIGNED, actor=person, subject=review, now=now, data=data)
            _tell_seconds(review, person, now)
        else:
            findings.hand_over(review, now)
            Grant.objects.filter(pk=review.grant_id).update(reviewed_at=now)
            audit.append(AuditTag.REVIEW_SIGNED, actor=person, subject=review, now=now, data=data)
    review.refresh_from_db()
    return review


def objection(review: Review, person: Person, now: datetime) -> Refused | None:
    """Why this person may not sign this review now, or None."""
    try:
        findings.judged_by(review.pk, person)
        _refuse_signed(review, person)
        claims.refuse_others(review, person, now)
        _refuse_unfinished(review)
    except Refused as no:
        return no
    return None


def _read(verdict: str, note: str) -> str:
    if verdict not in list(ReviewVerdict):
        problem = f"A verdict is one of: {', '.join(ReviewVerdict)}."
        raise refuse(RefusalCode.BAD_INPUT, problem=problem, needs=("verdict",))
    if verdict != ReviewVerdict.IN_ORDER and not note.strip():
        raise refuse(RefusalCode.BAD_INPUT, problem="Say in the note what you found.", needs=("note",))
    return plain(note, MOST_NOTE)


def _write(
    locked: Review, person: Person, verdict: str, note: str, proof: FactorProof, now: datetime
) -> None:
    """One signature, under the row's lock: the first of two leaves the review due."""
    factor = proof.name[:120]
    if locked.reviewer_id is None:
        locked.reviewer, locked.verdict, locked.note = person, verdict, note
        locked.signed_at, locked.factor = now, factor
    else:
        locked.second_reviewer, locked.second_verdict, locked.second_note = person, verdict, note
        locked.second_signed_at, locked.second_factor = now, factor
    claims.forget(locked)
    if not locked.needs_second or locked.second_reviewer_id is not None:
        locked.state = ReviewState.SIGNED
    locked.save()


def _tell_seconds(review: Review, first: Person, now: datetime) -> None:
    notices.queue(
        [person for person in reviews.able(review) if person.pk != first.pk],
        topic=f"review:{review.pk}",
        subject=f"A second reviewer is needed: {review.grant.person.get_full_name()}",
        body=f"{first.get_full_name()} has signed the review of an override. Somebody else signs it too, until "
        f"{review.due_at:%Y-%m-%d %H:%M} UTC.",
        path=f"/reviews/{review.pk}/",
        now=now,
    )


def _refuse_signed(review: Review, person: Person) -> None:
    if review.state != ReviewState.DUE:
        raise refuse(RefusalCode.REVIEW_NOT_DUE, why="it is signed already")
    if review.reviewer_id == person.pk:
        raise refuse(
            RefusalCode.REVIEW_NOT_DUE, why="you have signed it; the second reviewer is somebody else"
        )


def _refuse_unfinished(review: Review) -> None:
    """What isn't sealed can't have been seen whole. One that can't be sealed was alarmed, and is judged as that."""
    sessions = review.grant.ssh_sessions
    if sessions.filter(state__in=OPEN_STATES).exists():
        raise refuse(RefusalCode.REVIEW_NOT_DUE, why="a session of it is still open")
    if sessions.filter(recording__state=RecordingState.OPEN, recording__problem="").exists():
        raise refuse(RefusalCode.REVIEW_NOT_DUE, why="a recording of it is not sealed yet")


def _judgement(review: Review, person: Person, verdict: str, note: str, proof: FactorProof) -> dict[str, Any]:
    """What this signature covers."""
    sessions = list(review.grant.ssh_sessions.select_related("recording").order_by("number"))
    found = review.findings.select_related("session").filter(withdrawn_at=None).order_by("pk")
    return {
        "grant": review.grant_id,
        "verdict": verdict,
        "note": note,
        "note_sha256": hashlib.sha256(note.encode()).hexdigest(),
        "factor": proof.name,
        "findings": [_digest(findings.facts_of(finding)) for finding in found],
        "coverage": _coverage(person, sessions),
        "recordings": [session.recording.sha256 for session in sessions],
    }


def _digest(facts: dict[str, object]) -> dict[str, object]:
    """A finding in short: its words are in its own row, and their digest here."""
    spelled = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    short = {name: facts[name] for name in ("finding", "category", "severity", "session", "at")}
    return short | {"sha256": hashlib.sha256(spelled.encode()).hexdigest()}


def _coverage(person: Person, sessions: list[SSHSession]) -> list[dict[str, object]]:
    """How much of each recording this person had watched when they signed."""
    seen = coverage.of(person, sessions)
    return [
        {
            "session": session.label,
            "seconds": seen[session.pk].seconds,
            "percent": seen[session.pk].percent,
            "unseen": [list(gap) for gap in seen[session.pk].unseen[:20]],
        }
        for session in sessions
    ]
