"""Findings: left beside a review, from its page or from the player; listed, followed up and closed on a page of their own."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from breakglass import clock
from breakglass.domain.permissions import WHO_CAN, Verb
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refusal, refuse
from breakglass.models import Person
from breakglass.queries import thing_of_grant
from breakglass.web.who import can, demand, person_of
from sessions import queries_reviews
from sessions.models import Finding, Review, SSHSession
from sessions.services import findings
from sessions.states import CATEGORY_WORDING, ReviewState, Severity

CATEGORIES = [(category.value, words) for category, words in CATEGORY_WORDING.items()]
SEVERITIES = [(severity.value, severity.value) for severity in Severity]
ANY = [("", "any")]
PAGE = 30
MOST_BYTES = 16 * 1024
FOLLOW, CLOSE, REOPEN = "follow", "close", "reopen"
DONE = {FOLLOW: "Noted.", CLOSE: "Closed. It can be opened again here.", REOPEN: "Open again."}


class FindingForm(forms.Form):
    """One finding. `at` is typed as people say it: 12, 1:30, 1:02:03."""

    text = forms.CharField(
        label="What did you find?",
        max_length=findings.MOST_TEXT,
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Say what you found."},
    )
    category = forms.ChoiceField(label="Category", choices=CATEGORIES)
    severity = forms.ChoiceField(label="Severity", choices=SEVERITIES, initial=Severity.MEDIUM)
    session = forms.ChoiceField(label="Session", required=False)
    at = forms.CharField(
        label="At",
        required=False,
        max_length=12,
        help_text="As in 1:30; empty for all of it.",
        widget=forms.TextInput(attrs={"class": "short", "autocomplete": "off"}),
    )

    def __init__(self, data: Any = None, *, sessions: list[SSHSession]) -> None:
        super().__init__(data)
        named = [(str(session.pk), f"{session.label} {session.asset.name}") for session in sessions]
        self.fields["session"].choices = [("", "all of the access"), *named]  # type: ignore[attr-defined]

    def clean_at(self) -> float | None:
        return seconds(self.cleaned_data["at"])


class FollowForm(forms.Form):
    owner = forms.CharField(
        label="Who sees to it?",
        max_length=120,
        help_text="A person or a team.",
        error_messages={"required": "Name who sees to it."},
    )
    due_at = forms.DateField(
        label="Until", required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )


class CloseForm(forms.Form):
    note = forms.CharField(
        label="How was it seen to?",
        max_length=findings.MOST_TEXT,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": "Say how it was seen to."},
    )


class ReopenForm(forms.Form):
    note = forms.CharField(
        label="Why is it open again?",
        max_length=findings.MOST_TEXT,
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Say why it is open again."},
    )


class FilterForm(forms.Form):
    state = forms.ChoiceField(
        label="State",
        required=False,
        choices=[("open", "open"), ("late", "overdue"), ("closed", "closed"), ("all", "all")],
    )
    severity = forms.ChoiceField(label="Severity", required=False, choices=ANY + SEVERITIES)
    category = forms.ChoiceField(label="Category", required=False, choices=ANY + CATEGORIES)
    word = forms.CharField(label="Word", required=False, max_length=60)


@require_POST
def finding_withdraw(request: HttpRequest, finding_id: int) -> HttpResponse:
    done = findings.withdraw(finding_id, person_of(request), clock.now())
    messages.success(request, "Taken back. That it was there stays in the audit trail.")
    return redirect(f"/reviews/{done.review_id}/#findings")


@require_safe
def finding_list(request: HttpRequest) -> HttpResponse:
    person, now = person_of(request), clock.now()
    demand(person, Verb.LIST_REVIEWS)
    form = FilterForm(request.GET)
    asked = {name: value for name, value in request.GET.items() if value and name != "page"}
    wanted = form.cleaned_data if form.is_valid() else {}
    state = wanted.get("state") or "open"
    rows = queries_reviews.findings(
        state="open" if state == "late" else state,
        severity=wanted.get("severity", ""),
        category=wanted.get("category", ""),
        word=wanted.get("word", ""),
        late_at=now if state == "late" else None,
    )
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    context = {
        "form": form,
        "page": page,
        "rows": [_row(finding, now) for finding in page],
        "query": urlencode(asked),
        "filtered": bool(asked),
    }
    return render(request, "gateway/findings.html", context)


@require_http_methods(["GET", "POST"])
def finding(request: HttpRequest, finding_id: int) -> HttpResponse:
    person, now = person_of(request), clock.now()
    subject = queries_reviews.finding_for(finding_id)
    if subject is None or not can(person, Verb.LIST_REVIEWS):
        raise refuse(RefusalCode.NOT_FOUND, what="finding")
    sent = request.POST if request.method == "POST" else None
    act = (sent.get("act") or FOLLOW) if sent is not None else ""
    act = act if act in DONE or not act else FOLLOW
    usual = {"owner": subject.owner, "due_at": subject.due_at}
    follow = FollowForm(sent if act == FOLLOW else None, initial=usual)
    close = CloseForm(sent if act == CLOSE else None)
    reopen = ReopenForm(sent if act == REOPEN else None)
    form: forms.Form = {CLOSE: close, REOPEN: reopen}.get(act, follow)
    refused: Refusal | None = None
    if sent is not None and form.is_valid():
        try:
            _act(subject, person, act, form.cleaned_data, now)
        except Refused as no:
            refused = beside(form, no.refusal)
        else:
            messages.success(request, DONE[act])
            return redirect("finding", subject.pk)
    context = _row(subject, now) | {"follow": follow, "close": close, "reopen": reopen, "refusal": refused}
    context["why_not"] = _why_not(subject, person)
    status = refused.status if refused else 422 if form.errors else 200
    return render(request, "gateway/finding.html", context, status=status)


def finding_rows(subject: Review, person: Person) -> list[dict[str, Any]]:
    """The findings of a review, for its page."""
    still = subject.state == ReviewState.DUE and subject.reviewer_id != person.pk
    rows = queries_reviews.findings_of(subject)
    return [_row(row) | {"may_withdraw": still and row.author_id == person.pk} for row in rows]


def second(at: float) -> str:
    """A second of a recording as people say it: 1:30, 1:02:03."""
    hours, rest = divmod(int(at), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def seconds(text: str) -> float | None:
    """1:30 -> 90. Empty is None. Raises ValidationError."""
    words = text.strip().split(":")
    if words == [""]:
        return None
    if len(words) > 3 or not all(word.isascii() and word.isdecimal() and len(word) < 7 for word in words):
        raise forms.ValidationError("Write it as in 90, 1:30 or 1:02:03.")
    total = 0
    for word in words:
        total = total * 60 + int(word)
    return float(total)


def _act(subject: Finding, person: Person, act: str, said: dict[str, Any], now: datetime) -> None:
    if act in (CLOSE, REOPEN):
        change = findings.close if act == CLOSE else findings.reopen
        change(subject.pk, person, said["note"], now)
        return
    day = said["due_at"]
    due_at = datetime.combine(day, time(23, 59, 59), UTC) if day else None
    findings.follow_up(subject.pk, person, said["owner"], due_at, now)


def _why_not(subject: Finding, person: Person) -> Refusal | None:
    """Why this person may not follow it up, or None."""
    if not can(person, Verb.FOLLOW_UP_FINDING, thing_of_grant(subject.review.grant)):
        who = WHO_CAN[Verb.FOLLOW_UP_FINDING]
        return refusal(RefusalCode.NOT_ALLOWED, verb=str(Verb.FOLLOW_UP_FINDING), who=who)
    if subject.review.state != ReviewState.SIGNED:
        why = "a finding is followed up once its review is signed"
        return refusal(RefusalCode.REVIEW_NOT_DUE, why=why)
    return None


def _row(row: Finding, now: datetime | None = None) -> dict[str, Any]:
    late = now is not None and row.closed_at is None and row.due_at is not None and row.due_at <= now
    return {
        "finding": row,
        "category": dict(CATEGORIES).get(row.category, row.category),
        "at": second(row.at_seconds) if row.at_seconds is not None else "",
        "t": int(row.at_seconds or 0),
        "late": late,
        "kind": {"critical": "stop", "high": "stop", "medium": "wait"}.get(row.severity, ""),
    }


def as_json(row: Finding) -> dict[str, Any]:
    session = str(row.session_id) if row.session_id else None
    return {
        "id": row.pk, "review": row.review_id, "category": row.category, "severity": row.severity, "text": row.text,
        "session": session, "at": row.at_seconds, "author": row.author.get_full_name(),
    }  # fmt: skip


def from_json(request: HttpRequest) -> findings.FindingForm:
    """Whatever the player sent, as a form; what isn't one is refused."""
    bad = refuse(
        RefusalCode.BAD_INPUT, problem="Send category, severity and text, and a session with its second."
    )
    if int(request.headers.get("Content-Length") or 0) > MOST_BYTES:
        raise bad
    try:
        said = json.loads(request.body)
        session, at = said.get("session"), said.get("at")
        words = [said.get(name, "") for name in ("category", "severity", "text")]
        if not all(isinstance(word, str) for word in words) or isinstance(at, bool | str):
            raise bad
        category, severity, text = words
        where = UUID(session) if session else None
        return findings.FindingForm(category, severity, text, where, float(at) if at is not None else None)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise bad from None


def beside(form: forms.Form, no: Refusal) -> Refusal | None:
    about = next((name for name in no.needs if name in form.fields), "")
    if not about:
        return no
    form.add_error(about, f"{no.message} {no.help}".strip())
    return None
