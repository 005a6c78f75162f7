"""The approver's inbox, live, and the page where a decision is made. Opening either changes nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from breakglass import clock, queries
from breakglass.domain import requests as request_rules
from breakglass.domain.approvals import Verdict, objection
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refusal, refuse
from breakglass.domain.requests import RequestState
from breakglass.models import AccessRequest, Person
from breakglass.services import approvals, matching, override
from breakglass.unusual import unusual_facts, unusual_facts_of
from breakglass.web import live, reads
from breakglass.web.cards import card_of
from breakglass.web.request import slots_of
from breakglass.web.step_up import StepUpForm
from breakglass.web.who import groups_of, person_of

TEMPLATE = "breakglass/parts/inbox_live.html"
LATELY = 10


class DecisionForm(StepUpForm):
    comment = forms.CharField(
        label="Comment",
        required=False,
        max_length=1000,
        help_text="The requester reads it. Needed to deny.",
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def __init__(self, data: Any, person: Person, ask: AccessRequest) -> None:
        super().__init__(data, person=person, action="approve", subject=ask.pk)
        self.wants_number = ask.match_number is not None
        if self.wants_number:
            self.fields["number"] = number_field(ask, matching.choices(ask, person))
            self.fields["number"].required = self.data.get("verdict") != "deny"


@require_safe
def inbox(request: HttpRequest) -> HttpResponse:
    person = _approver(request)
    html, _ = live.block(request, TEMPLATE, _context(person, clock.now()))
    return render(request, "breakglass/inbox.html", {"live": html})


@require_safe
def inbox_live(request: HttpRequest) -> HttpResponse:
    return live.answer(request, TEMPLATE, _context(_approver(request), clock.now()))


@require_safe
def inbox_events(request: HttpRequest) -> StreamingHttpResponse:
    _approver(request)
    return live.stream(["inbox"])


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def request_decide(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """GET shows, POST decides: a mail scanner that opens the link changes nothing."""
    person, now = person_of(request), clock.now()
    ask = queries.request_for(person, request_id)
    closed = _objection(ask, person, now)
    form = DecisionForm(request.POST if request.method == "POST" else None, person, ask)
    refused: Refusal | None = None
    if request.POST.get("verdict") == "take_back":
        approvals.take_back(ask.id, person, now)
        messages.success(request, "Your yes is taken back. You may decide anew.")
        return redirect("request_decide", ask.id)
    if request.method == "POST" and form.is_valid():
        try:
            return _decide(request, ask, person, form, now)
        except Refused as no:
            if no.refusal.code is RefusalCode.MATCH_NUMBER_WRONG:
                # From now on it is typed: the form that comes back offers nothing to pick from.
                form = DecisionForm(request.POST, person, ask)
                form.is_valid()
            refused = _beside_its_field(form, no.refusal)
    status = refused.status if refused else 422 if form.errors else 200
    return render(request, "breakglass/decide.html", _page(ask, form, refused, closed, now), status=status)


def _decide(
    request: HttpRequest, ask: AccessRequest, person: Person, form: DecisionForm, now: datetime
) -> HttpResponse:
    verdict = request.POST.get("verdict")
    if verdict not in {"approve", "deny"}:
        raise refuse(RefusalCode.BAD_INPUT, problem="Press Approve or Deny.")
    comment, number = form.cleaned_data["comment"], form.cleaned_data.get("number")
    if verdict == "deny":
        decided = approvals.deny(ask.id, person, form.answer, comment, now)
    else:
        match = int(number) if number else None
        decided = approvals.approve(ask.id, person, form.answer, comment, now, number=match)
    if decided.state == RequestState.PENDING:
        messages.success(request, "Your yes is counted. It waits for another approver.")
    else:
        messages.success(
            request, f"{decided.label} is {decided.state}. {ask.requester.get_full_name()} was told."
        )
    return redirect("request", ask.id)


def number_field(ask: AccessRequest, choices: tuple[int, ...]) -> forms.Field:
    """What the requester sees: three to pick from; two digits to type once a wrong one was picked."""
    who = ask.requester.get_full_name()
    if choices:
        return forms.ChoiceField(
            label=f"Which number does {who} see?",
            error_messages={"required": "Pick the number that they see."},
            help_text="Call them. Needed to approve: it shows that you two mean this request.",
            choices=[(str(one), str(one)) for one in choices],
            widget=forms.RadioSelect,
        )
    return forms.RegexField(
        r"^[0-9]{2}$",
        label=f"Type the number that {who} sees",
        help_text="A wrong one was picked before, so there is nothing to pick from any more.",
        widget=forms.TextInput(attrs={"class": "short", "inputmode": "numeric", "autocomplete": "off"}),
        error_messages={"invalid": "Two digits.", "required": "Type the number that they see."},
    )


def _page(
    ask: AccessRequest, form: DecisionForm, refused: Refusal | None, closed: Refusal | None, now: datetime
) -> dict[str, Any]:
    card = card_of(ask.playbook)
    return {
        "ask": ask,
        "card": card,
        "asset_names": sorted(asset.name for asset in ask.assets.all()),
        "old_assets": {asset.name for asset in ask.assets.all() if asset.legacy_algorithms},
        "form": form,
        "refusal": refused,
        "closed": closed,
        "open": closed is None,
        "may_take_back": closed is not None and closed.code is RefusalCode.ALREADY_DECIDED,
        "unusual": unusual_facts(ask) if closed is None else [],
        "slots": slots_of(ask, card),
        **_until(ask, now),
    }


def _objection(ask: AccessRequest, person: Person, now: datetime) -> Refusal | None:
    state = request_rules.state_at(RequestState(ask.state), ask.lapses_at, now)
    if state is RequestState.LAPSED:
        return refusal(RefusalCode.REQUEST_LAPSED)
    if state is not RequestState.PENDING:
        return refusal(RefusalCode.REQUEST_NOT_PENDING, state=str(state))
    return objection(
        queries.rule_of(ask.playbook),
        requester_id=ask.requester_id,
        person_id=person.id,
        person_groups=groups_of(person),
        decisions=queries.decisions_on(ask),
    )


def _beside_its_field(form: DecisionForm, no: Refusal) -> Refusal | None:
    """What is about the code or the comment stands beside it; all else on top."""
    about = (
        "code"
        if "otp" in no.needs or no.code is RefusalCode.THROTTLED
        else next((field for field in ("comment", "number") if field in no.needs), "")
    )
    if not about:
        return no
    form.add_error(about, f"{no.message} {no.help}".strip())
    return None


def _approver(request: HttpRequest) -> Person:
    person = person_of(request)
    if not reads.approves_anything(groups_of(person)):
        raise refuse(RefusalCode.NOT_ALLOWED, verb="see the approvers' inbox", who="one of the approvers")
    return person


def _context(person: Person, now: datetime) -> dict[str, Any]:
    waiting = []
    asks = queries.inbox_of(person, now)
    unusual = unusual_facts_of(asks)
    for ask in asks:
        card = card_of(ask.playbook)
        given = sum(row.verdict == Verdict.APPROVED for row in ask.approvals.all())
        waiting.append(
            {
                "ask": ask,
                "card": card,
                "assets": sorted(asset.name for asset in ask.assets.all()),
                "unusual": unusual[ask.pk],
                "progress": f"{given} of {card.count}" if card.count > 1 else "waiting",
                **_until(ask, now),
            }
        )
    decided = [{"ask": ask, "state": reads.standing(ask, now)} for ask in reads.decided_by(person)[:LATELY]]
    alone = _alone(person, waiting, now)
    return {"waiting": waiting, "decided": decided, "alone": alone, "count": len(waiting) + len(alone)}


def _alone(person: Person, waiting: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """What a supervisor may decide alone by now, but for what their plain yes would decide."""
    theirs = {row["ask"].pk for row in waiting if row["card"].count == 1}
    return [
        {"ask": ask, "assets": sorted(asset.name for asset in ask.assets.all())}
        for ask in override.waiting_for(person, now)
        if ask.pk not in theirs
    ]


def _until(ask: AccessRequest, now: datetime) -> dict[str, Any]:
    """The next thing that the clock does to it."""
    if ask.escalated_at is None and now < ask.escalates_at:
        return {"until": ask.escalates_at, "until_says": "until more people are woken"}
    return {"until": ask.lapses_at, "until_says": "until it lapses"}
