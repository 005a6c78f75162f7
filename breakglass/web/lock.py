"""Locks: standing refusals. An administrator places and lifts them, each with a fresh second factor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from breakglass import clock, queries
from breakglass.domain.permissions import Verb
from breakglass.domain.policy import LockKind
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refuse
from breakglass.models import Asset, Lock, Person
from breakglass.services import locks as service
from breakglass.web.step_up import StepUpForm
from breakglass.web.who import demand, person_of


class LockForm(StepUpForm):
    subject = forms.ChoiceField(label="What is locked?", error_messages={"required": "Pick what is locked."})
    reason = forms.CharField(
        label="Why?",
        max_length=300,
        help_text="Whoever is refused reads it.",
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Say why."},
    )

    def __init__(self, data: Any, person: Person) -> None:
        super().__init__(data, person=person, action="lock", subject_field="subject")
        self.fields["subject"].choices = [("", "Pick one"), *_subjects()]  # type: ignore[attr-defined]


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def locks(request: HttpRequest) -> HttpResponse:
    """What is locked now; POST places one more. Live sessions under it end at once."""
    person = person_of(request)
    demand(person, Verb.MANAGE_LOCKS)
    form = LockForm(request.POST if request.method == "POST" else None, person)

    def place() -> None:
        kind, _, subject = form.cleaned_data["subject"].partition(":")
        service.place(person, kind, subject, form.cleaned_data["reason"], form.answer, clock.now())

    refused = _try(form, place) if request.method == "POST" and form.is_valid() else None
    if request.method == "POST" and not refused and not form.errors:
        messages.success(request, "Locked. What was open under it is being ended.")
        return redirect("locks")
    rows = Lock.objects.filter(lifted_at=None).select_related("placed_by")
    status = refused.status if refused else 422 if form.errors else 200
    return render(
        request, "breakglass/locks.html", {"locks": rows, "form": form, "refusal": refused}, status=status
    )


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def lock_lift(request: HttpRequest, lock_id: UUID) -> HttpResponse:
    person = person_of(request)
    demand(person, Verb.MANAGE_LOCKS)
    lock = Lock.objects.select_related("placed_by").filter(id=lock_id, lifted_at=None).first()
    if lock is None:
        raise refuse(RefusalCode.NOT_FOUND, what="lock")
    form = StepUpForm(
        request.POST if request.method == "POST" else None, person=person, action="lift lock", subject=lock_id
    )

    def lift() -> None:
        service.lift(person, lock_id, form.answer, clock.now())

    refused = _try(form, lift) if request.method == "POST" and form.is_valid() else None
    if request.method == "POST" and not refused and not form.errors:
        messages.success(request, "The lock is lifted.")
        return redirect("locks")
    status = refused.status if refused else 422 if form.errors else 200
    return render(
        request, "breakglass/lock_lift.html", {"lock": lock, "form": form, "refusal": refused}, status=status
    )


def _try(form: forms.Form, act: Callable[[], None]) -> Refusal | None:
    """The refusal to stand on top; what is about the code stands beside it."""
    try:
        act()
    except Refused as no:
        if "otp" not in no.refusal.needs and no.refusal.code is not RefusalCode.THROTTLED:
            return no.refusal
        form.add_error("code", f"{no.refusal.message} {no.refusal.help}".strip())
    return None


def _subjects() -> list[tuple[str, Any]]:
    people = [(f"person:{p.username}", p.get_full_name()) for p in Person.objects.filter(is_active=True)]
    assets = [(f"asset:{asset.name}", asset.name) for asset in Asset.objects.all()]
    playbooks = [(f"playbook:{version.slug}", version.title) for version in queries.current_playbooks()]
    incidents = [(f"incident:{incident.id}", str(incident)) for incident in queries.open_incidents()]
    return [
        (f"{LockKind.EVERYTHING}:", "Everything: nobody gets in anywhere"),
        ("A person", people),
        ("An asset", assets),
        ("A playbook", playbooks),
        ("An incident", incidents),
    ]
