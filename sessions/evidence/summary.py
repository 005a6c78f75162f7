"""The report's first page: what happened, for somebody who reads nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from sessions.evidence.case import Case, factor_kind, over_at
from sessions.evidence.details import sections
from sessions.evidence.judgement import is_signed, signers, verdict_of
from sessions.evidence.report import Contents, Fact, Mood, Report
from sessions.evidence.timeline import picture_of
from sessions.evidence.words import count, reason, shortened, some, span, time

MOST_BESIDE: Final = 700
MOST_LINES: Final = 7


def report_of(what: Contents) -> Report:
    case = what.case
    mood, verdict = _verdict(case, bool(what.alarms))
    assets = ", ".join(case.grant["assets"])
    return Report(
        title=f"{case.grant['person']['name']} on {assets}",
        under=f"Emergency access {case.label} for {case.incident['label']}: {case.incident['title']}",
        mood=mood,
        verdict=verdict,
        facts=tuple(map(_bounded, _facts(case))),
        picture=picture_of(case),
        alarms=tuple(what.alarms),
        sections=tuple(section for section in sections(what) if section.table is None or section.table.rows),
        foot=f"{what.house}; made {time(case.at)} by {what.made_by}; {case.label}, grant {case.grant['id']}",
    )


def _bounded(fact: Fact) -> Fact:
    """What people wrote at length is in the files; here it must leave room for the rest."""
    beside = tuple(shortened(line, MOST_BESIDE) for line in fact.beside[:MOST_LINES])
    more = len(fact.beside) - len(beside)
    return Fact(fact.asks, shortened(fact.says, MOST_BESIDE), beside + some(more and f"and {more} more"))


def _verdict(case: Case, alarmed: bool) -> tuple[Mood, str]:
    over, review = over_at(case), case.review
    if over is None:
        return "wait", f"Still running when this was made: {time(case.at)}."
    how = {"released": "given back", "revoked": "withdrawn", "expired": "ended by the clock"}
    said = f"Over since {time(over)}: {how.get(case.grant['state'], case.grant['state'])}."
    if review is None or not is_signed(review):
        due = f" by {time(review['due_at'])}" if review else ""
        return "wait", f"{said} Its review is still to be signed{due}."
    verdict = verdict_of(review)
    judged = {"in_order": "in order", "questions": "questions are open", "violation": "a violation"}[verdict]
    mood: Mood = "stop" if verdict == "violation" else "live"
    if alarmed or verdict == "questions":
        mood = "wait" if mood == "live" else mood
    names = " and ".join(one["name"] for one in signers(review))
    return mood, f"{said} Reviewed by {names}: {judged}."


def _facts(case: Case) -> Iterable[Fact]:
    request, person = case.request, case.grant["person"]
    proofs = sorted({factor_kind(one["factor"]) for one in case.sessions if one["factor"]})
    yield Fact(
        "Who",
        f"{person['name']} ({person['username']})",
        some(proofs and f"logged in with: {', '.join(proofs)}"),
    )
    yield _what(case)
    yield Fact(
        "Why", f"{case.incident['label']}: {case.incident['title']}", (f"\u201c{request['reason']}\u201d",)
    )
    yield Fact("Consent", *_consent(case))
    yield _when(case)
    yield _end(case)
    yield _done(case)
    yield _review(case)


def _what(case: Case) -> Fact:
    machines = ", ".join(f"{one['name']} ({one['title']})" for one in case.assets)
    book = case.grant["playbook"]
    logins = " and ".join(sorted({one["login"] for one in case.sessions})) or " or ".join(
        case.grant["logins"]
    )
    return Fact(
        "What",
        f"{machines} as {logins}",
        (f"under the playbook \u201c{book['title']}\u201d, version {book['version']}",),
    )


def _consent(case: Case) -> tuple[str, tuple[str, ...]]:
    said, beside = [], []
    for one in case.approvals:
        waited = one["decided_at"] - case.request["submitted_at"]
        more = "" if one["request"] == case.label else f" ({one['request']}, more time)"
        comment = f": \u201c{one['comment']}\u201d" if one["comment"] else ""
        said.append(f"{one['person']['name']} {one['verdict']}{more}")
        beside.append(
            f"{one['person']['username']}, {span(waited)} after the plea, {one['factor_kind']}{comment}"
        )
    needed = case.spec.approvers.count
    beside.append(
        f"the playbook asks for {needed} of: {', '.join(case.spec.approvers.groups)}; never the requester"
    )
    return "; ".join(said) or "none on record", tuple(beside)


def _when(case: Case) -> Fact:
    grant, over = case.grant, over_at(case)
    begun = grant["starts_at"]
    if begun is None:
        return Fact("When", f"Never used; approved {time(grant['issued_at'])}")
    end = time(over) if over else "still running"
    used = f"{span((over or case.at) - begun)} of {grant['minutes']} min that were allowed"
    more = [f"{plea['label']}: {plea['minutes']} min more, {plea['state']}" for plea in case.extensions]
    return Fact("When", f"{time(begun)} to {end}", (used, *more))


def _end(case: Case) -> Fact:
    grant = case.grant
    by = f" by {grant['ended_by']['name']}" if grant["ended_by"] else ""
    words = {"expired": "The time was up", "released": "Given back", "revoked": "Withdrawn"}
    said = words.get(grant["state"], "It has not ended")
    note = [f"\u201c{grant['end_note']}\u201d"] if grant["end_note"] else []
    cuts = [one["cut_ms"] for one in case.receipts if one["cut_ms"] is not None]
    slowest = [f"slowest session cut {max(cuts):.0f} ms after the end was asked for"] if cuts else []
    reasons = [f"{one['label']}: {reason(one['end_reason'])}" for one in case.sessions if one["end_reason"]]
    shown = reasons if len(reasons) < 5 else [f"{len(reasons)} sessions ended; see below"]
    return Fact("How it ended", said + (by if grant["state"] != "expired" else ""), (*note, *shown, *slowest))


def _done(case: Case) -> Fact:
    commands = sum(one["kind"] == "exec" for one in case.channels)
    shells = sum(one["kind"] == "shell" for one in case.channels)
    refused = sum(bool(one["refusal"]) for one in case.channels)
    seconds = sum(one["recording"]["seconds"] for one in case.sessions if one["recording"])
    parts = [count(len(case.sessions), "session"), count(shells, "shell"), count(commands, "command")]
    parts.append(count(len(case.files), "file operation"))
    beside = some(refused and f"{count(refused, 'channel')} refused") + some(
        seconds and f"{span(timedelta(seconds=seconds))} recorded"
    )
    return Fact("What was done", ", ".join(parts), beside)


def _review(case: Case) -> Fact:
    review = case.review
    if review is None:
        return Fact("Review", "Opens when the access ends")
    if not is_signed(review):
        first = (
            f"; {review['reviewer']['name']} has signed, the second is missing" if review["reviewer"] else ""
        )
        return Fact("Review", f"Not signed yet; due {time(review['due_at'])}{first}")
    notes = [review["note"], review["second"]["note"] if review["second"] else ""]
    beside = [f"\u201c{note}\u201d" for note in notes if note]
    found = [f"{one['severity']}: {one['text']}" for one in review["findings"]]
    names = " and ".join(one["name"] for one in signers(review))
    at = review["second"]["signed_at"] if review["second"] else review["signed_at"]
    says = f"{names}, {time(at)}: {verdict_of(review).replace('_', ' ')}"
    return Fact("Review", says, (*beside, *found))
