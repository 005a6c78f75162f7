"""What a bundle says of the review: each signature, what was found, and how much of the recordings each reviewer had watched."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from breakglass.models import Person
from sessions import spans
from sessions.models import Coverage, Finding, Review, SSHSession
from sessions.states import ReviewState, ReviewVerdict, review_state_at

Facts = dict[str, Any]
_WORST = [ReviewVerdict.VIOLATION, ReviewVerdict.QUESTIONS, ReviewVerdict.IN_ORDER]


def judgement_of(row: Review | None, now: datetime) -> Facts | None:
    """The review as `review.json` holds it. `state` is `signed` only once everybody has signed who must."""
    if row is None:
        return None
    return {
        "id": row.pk,
        "opened_at": row.opened_at,
        "due_at": row.due_at,
        "verdict": row.verdict,
        "note": row.note,
        "signed_at": row.signed_at,
        "factor": row.factor,
        "state": str(review_state_at(ReviewState(row.state), row.due_at, now)),
        "reviewer": _who(row.reviewer),
        "needs_second": row.needs_second,
        "second": None if row.second_reviewer is None else _second(row),
        "findings": [_finding(finding) for finding in _findings(row)],
        "coverage": _coverage(row),
    }


def is_signed(review: Facts | None) -> bool:
    """Whether everybody has signed who must."""
    return review is not None and review["state"] == ReviewState.SIGNED


def signers(review: Facts) -> list[Facts]:
    """Who signed, in order."""
    second = review["second"]
    return [review["reviewer"], *([second["reviewer"]] if second else [])]


def verdict_of(review: Facts) -> str:
    """The verdict; of two the worse."""
    second = review["second"]
    given = {review["verdict"], *([second["verdict"]] if second else [])}
    return str(next(verdict for verdict in _WORST if verdict in given))


def _second(row: Review) -> Facts:
    said = {"verdict": row.second_verdict, "note": row.second_note}
    return {
        "reviewer": _who(row.second_reviewer),
        **said,
        "signed_at": row.second_signed_at,
        "factor": row.second_factor,
    }


def _findings(row: Review) -> list[Finding]:
    found = row.findings.select_related("session", "author", "closed_by").filter(withdrawn_at=None)
    return list(found.order_by("pk"))


def _finding(row: Finding) -> Facts:
    closed = {"closed_at": row.closed_at, "closed_by": _who(row.closed_by), "closing_note": row.closing_note}
    return {
        "id": row.pk,
        "session": row.session.label if row.session else None,
        "at_seconds": row.at_seconds,
        "category": row.category,
        "severity": row.severity,
        "text": row.text,
        "author": _who(row.author),
        "created_at": row.created_at,
        "owner": row.owner,
        "due_at": row.due_at,
        **closed,
    }


def _coverage(row: Review) -> list[Facts]:
    """As the player counted it, by now; what it was at a signature is in that signature's audit row."""
    signed = [person for person in (row.reviewer, row.second_reviewer) if person is not None]
    sessions = list(
        SSHSession.objects.filter(grant=row.grant_id).select_related("recording").order_by("number")
    )
    rows = Coverage.objects.filter(session__in=sessions, person__in=signed)
    known = {(one.session_id, one.person_id): one.ranges for one in rows}
    found = []
    for session in sessions:
        length = session.recording.seconds
        for person in signed:
            seen = spans.merged(known.get((session.pk, person.pk), []), length)
            share = {
                "seconds": length,
                "percent": spans.percent(seen, length),
                "seen": [list(one) for one in seen],
            }
            found.append({"session": session.label, "person": _who(person), **share})
    return found


def _who(person: Person | None) -> Facts | None:
    return (
        None
        if person is None
        else {"id": person.pk, "username": person.username, "name": person.get_full_name()}
    )
