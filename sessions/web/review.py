"""Reviews: what is due, and signing one. The reviewer neither asked nor approved."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from breakglass import clock
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refusal
from breakglass.models import Approval, Person
from breakglass.queries import thing_of_grant
from breakglass.web.cards import card_of
from breakglass.web.code_form import ABOUT_THE_CODE
from breakglass.web.step_up import StepUpForm
from breakglass.web.who import can, demand, person_of
from sessions import queries, services
from sessions.models import Review
from sessions.states import ReviewState, ReviewVerdict, review_state_at

SIGNED_SHOWN = 50
VERDICTS = [
    (ReviewVerdict.IN_ORDER.value, "In order"),
    (ReviewVerdict.QUESTIONS.value, "Questions remain"),
    (ReviewVerdict.VIOLATION.value, "A rule was broken"),
]


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


@require_safe
def reviews(request: HttpRequest) -> HttpResponse:
    person, now = person_of(request), clock.now()
    demand(person, Verb.LIST_REVIEWS)
    rows = [_row(review, person, now) for review in queries.reviews().filter(state=ReviewState.DUE)]
    signed = queries.reviews().filter(state=ReviewState.SIGNED).order_by("-signed_at")[:SIGNED_SHOWN]
    context = {"due": rows, "signed": [_row(review, person, now) for review in signed]}
    return render(request, "gateway/reviews.html", context)


@require_http_methods(["GET", "POST"])
def review(request: HttpRequest, review_id: int) -> HttpResponse:
    person, now = person_of(request), clock.now()
    subject = queries.review_for(person, review_id)
    sent = request.POST if request.method == "POST" else None
    form = SignForm(sent, person=person, action="sign_review", subject=subject.pk)
    refused: Refusal | None = None
    if request.method == "POST" and form.is_valid():
        try:
            said = form.cleaned_data
            services.sign_review(subject.pk, person, said["verdict"], said["note"], form.answer, now)
        except Refused as no:
            refused = _beside_its_field(form, no.refusal)
        else:
            messages.success(request, "Signed. Thank you.")
            return redirect("review", subject.pk)
    status = refused.status if refused else 422 if form.errors else 200
    return render(request, "gateway/review.html", _page(subject, person, form, refused, now), status=status)


def _page(
    subject: Review, person: Person, form: SignForm, refused: Refusal | None, now: datetime
) -> dict[str, Any]:
    ask = subject.grant.request
    row = _row(subject, person, now)
    return {
        **row,
        "ask": ask,
        "card": card_of(subject.grant.playbook),
        "asset_names": sorted(asset.name for asset in subject.grant.assets.all()),
        "approvals": Approval.objects.filter(request=ask).select_related("person"),
        "sessions": queries.sessions_of_grant(subject.grant),
        "form": form,
        "refusal": refused,
        "why_not": None if row["may_sign"] or subject.signed_at else _why_not(subject, person),
        "verdict_says": dict(VERDICTS).get(subject.verdict, ""),
    }


def _row(subject: Review, person: Person, now: datetime) -> dict[str, Any]:
    may_sign = subject.signed_at is None and can(person, Verb.SIGN_REVIEW, thing_of_grant(subject.grant))
    state = review_state_at(ReviewState(subject.state), subject.due_at, now)
    return {
        "review": subject,
        "state": state,
        "may_sign": may_sign,
        "verdict_says": dict(VERDICTS).get(subject.verdict, ""),
    }


def _why_not(subject: Review, person: Person) -> Refusal:
    thing = thing_of_grant(subject.grant)
    if person.pk == thing.owner_id or person.pk in thing.approver_ids:
        return refusal(RefusalCode.REVIEW_CONFLICT)
    return refusal(
        RefusalCode.NOT_ALLOWED, verb=str(Verb.SIGN_REVIEW), who="a reviewer who neither asked nor approved"
    )


def _beside_its_field(form: SignForm, no: Refusal) -> Refusal | None:
    code = no.code in ABOUT_THE_CODE
    about = "code" if code else next((name for name in no.needs if name in form.fields), "")
    if not about:
        return no
    form.add_error(about, f"{no.message} {no.help}".strip())
    return None
