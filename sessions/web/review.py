"""One review: what was watched and what not, the runbook beside what was run, findings, and the signature."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from breakglass import clock
from breakglass.domain.refusals import Refusal, RefusalCode, Refused
from breakglass.models import Approval, Person
from breakglass.web.cards import card_of
from breakglass.web.code_form import ABOUT_THE_CODE
from breakglass.web.step_up import StepUpForm
from breakglass.web.who import person_of
from sessions import queries, queries_reviews, services, spans
from sessions.models import Review, SSHSession
from sessions.services import claims, coverage, findings, reading, signing
from sessions.services.coverage import Seen
from sessions.states import CLAIM_LASTS, RecordingState, ReviewState, ReviewVerdict, review_state_at
from sessions.web.finding import FindingForm, as_json, beside, finding_rows, from_json, second

VERDICTS = [
    (ReviewVerdict.IN_ORDER.value, "In order"),
    (ReviewVerdict.QUESTIONS.value, "Questions remain"),
    (ReviewVerdict.VIOLATION.value, "A rule was broken"),
]
GAPS_SHOWN = 12
RUNS_SHOWN = 200
BAR = 1000  # the width of a bar in its own units


class SignForm(StepUpForm):
    verdict = forms.ChoiceField(
        label="Your verdict",
        choices=VERDICTS,
        widget=forms.RadioSelect,
        error_messages={"required": "Pick a verdict."},
    )
    note = forms.CharField(
        label="Note",
        required=False,
        max_length=4000,
        help_text="What you saw. Needed unless all is in order.",
        widget=forms.Textarea(attrs={"rows": 4}),
    )


@dataclass(frozen=True)
class Watched:
    """A session of the grant, and how much of its recording one person has watched. `bars` and `gaps` are what was not."""

    session: SSHSession
    seen: Seen | None
    ready: bool
    bars: list[tuple[float, float]]
    gaps: list[tuple[str, str, int]]
    more_gaps: int

    @property
    def percent(self) -> int:
        return self.seen.percent if self.seen else 0


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def review(request: HttpRequest, review_id: int) -> HttpResponse:
    person, now = person_of(request), clock.now()
    subject = queries.review_for(person, review_id)
    sent = request.POST if request.method == "POST" else None
    form = SignForm(sent, person=person, action=signing.ACTION, subject=subject.pk)
    refused: Refusal | None = None
    if request.method == "POST" and form.is_valid():
        try:
            said = form.cleaned_data
            done = services.sign_review(subject.pk, person, said["verdict"], said["note"], form.answer, now)
        except Refused as no:
            refused = _beside_its_field(form, no.refusal)
        else:
            waits = done.state != ReviewState.SIGNED
            messages.success(
                request,
                "Signed. It waits for a second reviewer, who was told." if waits else "Signed. Thank you.",
            )
            return redirect("review", subject.pk)
    status = refused.status if refused else 422 if form.errors else 200
    context = page_of(subject, person, now) | {"form": form, "refusal": refused}
    return render(request, "gateway/review.html", context, status=status)


@require_POST
def finding_add(request: HttpRequest, review_id: int) -> HttpResponse:
    """From the review's page as a form; from the player as JSON: `{"category", "severity", "text", "session", "at"}`, the
    second as a number. The answer is the page again, or the finding as JSON."""
    person, now = person_of(request), clock.now()
    if request.content_type == "application/json":
        try:
            return JsonResponse(as_json(findings.add(review_id, person, from_json(request), now)), status=201)
        except Refused as no:
            return JsonResponse(no.refusal.as_dict(), status=no.refusal.status)
    subject = findings.judged_by(review_id, person)
    form = FindingForm(request.POST, sessions=list(queries.sessions_of_grant(subject.grant)))
    refused: Refusal | None = None
    if form.is_valid():
        said = form.cleaned_data
        session = UUID(said["session"]) if said["session"] else None
        made = findings.FindingForm(said["category"], said["severity"], said["text"], session, said["at"])
        try:
            findings.add(subject.pk, person, made, now)
        except Refused as no:
            refused = beside(form, no.refusal)
        else:
            messages.success(request, "Written down.")
            return redirect(f"/reviews/{subject.pk}/#findings")
    sign = SignForm(None, person=person, action=signing.ACTION, subject=subject.pk)
    context = page_of(subject, person, now) | {"form": sign, "finding_form": form, "refusal": refused}
    return render(request, "gateway/review.html", context, status=refused.status if refused else 422)


def page_of(subject: Review, person: Person, now: datetime) -> dict[str, Any]:
    """All that the page shows but the form of the signature."""
    ask, grant = subject.grant.request, subject.grant
    sessions = sorted(queries.sessions_of_grant(grant), key=lambda session: session.number)
    no = signing.objection(subject, person, now)
    judges = no is None or no.refusal.code in (RefusalCode.REVIEW_NOT_DUE, RefusalCode.REVIEW_CLAIMED)
    watcher = person if judges else subject.reviewer
    compared = queries_reviews.comparison(grant, sessions)
    reading.note_commands(subject, sessions, compared.runs[:RUNS_SHOWN], person, now)
    works = judges and subject.state == ReviewState.DUE and subject.reviewer_id != person.pk
    watched = watched_by(watcher, sessions)
    return {
        "review": subject,
        "state": review_state_at(ReviewState(subject.state), subject.due_at, now),
        "ask": ask,
        "card": card_of(grant.playbook),
        "asset_names": sorted(asset.name for asset in grant.assets.all()),
        "approvals": Approval.objects.filter(request=ask).select_related("person"),
        "watched": watched,
        "watcher": watcher,
        "own": judges,
        "percent": whole(watched),
        "steps": [(row, [_run(run) for run in row.runs[:5]]) for row in compared.steps],
        "steps_seen": compared.seen,
        "runs": [_run(run) for run in compared.runs[:RUNS_SHOWN]],
        "others": sum(not run.planned for run in compared.runs),
        "more_runs": max(0, len(compared.runs) - RUNS_SHOWN),
        "inferred": any(not run.exact for run in compared.runs),
        "findings": finding_rows(subject, person),
        "finding_form": FindingForm(sessions=sessions),
        "may_sign": no is None,
        "may_find": works,
        "claim": claims.of(subject, now),
        "claims": works,
        "claim_lasts": CLAIM_LASTS,
        "why_not": no.refusal if no is not None and subject.state == ReviewState.DUE else None,
        "signatures": _signatures(subject),
    }


def watched_by(person: Person | None, sessions: list[SSHSession]) -> list[Watched]:
    """Each session with what this person has watched of it."""
    seen = coverage.of(person, sessions) if person else {}
    return [_watched(session, seen.get(session.pk)) for session in sessions]


def whole(watched: list[Watched]) -> int | None:
    """How much of everything that was recorded was watched, in percent; None where nothing was recorded."""
    length = sum(row.seen.seconds for row in watched if row.seen and row.ready)
    if not length:
        return None
    total = sum(spans.total(row.seen.spans) for row in watched if row.seen and row.ready)
    return spans.percent([(0.0, total)], length)


def _watched(session: SSHSession, seen: Seen | None) -> Watched:
    recording = getattr(session, "recording", None)
    ready = recording is not None and recording.state in (RecordingState.SEALED, RecordingState.RECOVERED)
    unseen = seen.unseen if seen and seen.seconds else []
    length = seen.seconds if seen and seen.seconds else 1.0
    bars = [(begin / length * BAR, max(1.0, (end - begin) / length * BAR)) for begin, end in unseen]
    longest = sorted(sorted(unseen, key=lambda gap: gap[0] - gap[1])[:GAPS_SHOWN])
    gaps = [(second(begin), second(end), int(begin)) for begin, end in longest]
    rounded = [(round(x, 2), round(width, 2)) for x, width in bars]
    return Watched(session, seen, ready, rounded, gaps, max(0, len(unseen) - GAPS_SHOWN))


def _run(run: Any) -> dict[str, Any]:
    return {"run": run, "at": second(run.at), "t": int(run.at)}


def _signatures(subject: Review) -> list[dict[str, Any]]:
    says = dict(VERDICTS)
    found = []
    if subject.reviewer:
        found.append((subject.reviewer, subject.verdict, subject.note, subject.signed_at))
    if subject.second_reviewer:
        second_one = (subject.second_reviewer, subject.second_verdict)
        found.append((*second_one, subject.second_note, subject.second_signed_at))
    return [
        {"person": who, "verdict": verdict, "says": says.get(verdict, ""), "note": note, "at": at}
        for who, verdict, note, at in found
    ]


def _beside_its_field(form: SignForm, no: Refusal) -> Refusal | None:
    code = no.code in ABOUT_THE_CODE
    about = "code" if code else next((name for name in no.needs if name in form.fields), "")
    if not about:
        return no
    form.add_error(about, f"{no.message} {no.help}".strip())
    return None
