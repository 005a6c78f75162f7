"""People and their second factors, for administrators: enrolment codes, and the way back for who lost every factor."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import Count, Exists, OuterRef, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_otp_webauthn.models import WebAuthnCredential

from breakglass import clock
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refuse
from breakglass.models import EnrolmentCode, FactorRecovery, Person, TotpFactor
from breakglass.services import recovery as service
from breakglass.services.enrolment import IssuedEnrolment
from breakglass.web.code_form import ABOUT_THE_CODE, put_beside
from breakglass.web.step_up import StepUpForm
from breakglass.web.who import demand, person_of


class RecoverForm(StepUpForm):
    reason = forms.CharField(
        label="How do you know that it is them?",
        max_length=300,
        help_text="The second administrator decides on it: whom you spoke to, where, how you knew them.",
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Say how you know."},
    )


@require_safe
def people(request: HttpRequest) -> HttpResponse:
    demand(person_of(request), Verb.MANAGE_PEOPLE)
    now = clock.now()
    mine = {"user": OuterRef("pk"), "confirmed": True}
    code = EnrolmentCode.objects.filter(person=OuterRef("pk"), used_at=None, expires_at__gt=now)
    rows = (
        Person.objects.prefetch_related("groups")
        .annotate(
            has_app=Exists(TotpFactor.objects.filter(**mine)),
            passkeys=Count("webauthncredential", filter=Q(webauthncredential__confirmed=True), distinct=True),
            has_code=Exists(code),
            recovering=Exists(FactorRecovery.objects.filter(person=OuterRef("pk"), decided_at=None)),
        )
        .order_by("-is_active", "full_name", "username")
    )
    asked = FactorRecovery.objects.filter(decided_at=None).select_related("person", "asked_by")
    return render(request, "breakglass/people.html", {"people": rows, "recoveries": asked})


@sensitive_post_parameters("code")
@sensitive_variables("issued")
@require_http_methods(["GET", "POST"])
def enrolment_code(request: HttpRequest, person_id: UUID) -> HttpResponse:
    """A one-time code for who has no factor, shown this one time."""
    by, person = person_of(request), _found(request, person_id)
    data = request.POST if request.method == "POST" else None
    form = StepUpForm(data, person=by, action="enrolment code", subject=person.pk)
    issued: IssuedEnrolment | None = None
    refused: Refusal | None = None
    if request.method == "POST" and form.is_valid():
        try:
            issued = service.issue_code(person.pk, by, form.answer, clock.now())
        except Refused as no:
            refused = _beside(form, no)
    context = {"person": person, "form": form, "issued": issued, "refusal": refused}
    return render(request, "breakglass/people_code.html", context, status=_status(form, refused))


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def recovery_ask(request: HttpRequest, person_id: UUID) -> HttpResponse:
    """The first administrator's word. Nothing changes by it."""
    by, person = person_of(request), _found(request, person_id)
    data = request.POST if request.method == "POST" else None
    form = RecoverForm(data, person=by, action="ask recovery", subject=person.pk)
    refused: Refusal | None = None
    if request.method == "POST" and form.is_valid():
        try:
            service.ask(person.pk, by, form.cleaned_data["reason"], form.answer, clock.now())
        except Refused as no:
            refused = _beside(form, no)
        else:
            messages.success(request, "Asked. Another administrator confirms it; all of you were told.")
            return redirect("people")
    context = {"person": person, "form": form, "refusal": refused}
    return render(request, "breakglass/people_recover.html", context, status=_status(form, refused))


@sensitive_post_parameters("code")
@sensitive_variables("issued")
@require_http_methods(["GET", "POST"])
def recovery(request: HttpRequest, recovery_id: UUID) -> HttpResponse:
    """The second administrator's word: the old factors go, and a code for new ones is shown this one time."""
    by = person_of(request)
    demand(by, Verb.MANAGE_PEOPLE)
    rows = FactorRecovery.objects.select_related("person", "asked_by")
    found = rows.filter(pk=recovery_id, decided_at=None).first()
    if found is None:
        raise refuse(RefusalCode.NOT_FOUND, what="open recovery")
    data = request.POST if request.method == "POST" else None
    form = StepUpForm(data, person=by, action="confirm recovery", subject=found.pk)
    issued: IssuedEnrolment | None = None
    refused: Refusal | None = None
    if request.method == "POST" and form.is_valid():
        try:
            issued = service.confirm(found.pk, by, form.answer, clock.now())
        except Refused as no:
            refused = _beside(form, no)
    context = {
        "recovery": found,
        "person": found.person,
        "mine": by.pk in {found.asked_by_id, found.person_id},
        "form": form,
        "issued": issued,
        "refusal": refused,
        "passkeys": WebAuthnCredential.objects.filter(user=found.person).count(),
    }
    return render(request, "breakglass/people_recovery.html", context, status=_status(form, refused))


@require_POST
def recovery_decline(request: HttpRequest, recovery_id: UUID) -> HttpResponse:
    """An administrator says no, or takes it back; or the person whose factors they are stops it."""
    by = person_of(request)
    service.decline(recovery_id, by, clock.now())
    messages.success(request, "The recovery is stopped. The factors stay as they are.")
    return redirect("people" if by.groups.filter(name="administrators").exists() else "profile")


def _found(request: HttpRequest, person_id: UUID) -> Person:
    demand(person_of(request), Verb.MANAGE_PEOPLE)
    person = Person.objects.filter(pk=person_id, is_active=True).first()
    if person is None:
        raise refuse(RefusalCode.NOT_FOUND, what="person")
    return person


def _beside(form: StepUpForm, no: Refused) -> Refusal | None:
    """What is about the factor stands beside it; all else on top."""
    if no.refusal.code in ABOUT_THE_CODE:
        put_beside(form, no.refusal)
        return None
    return no.refusal


def _status(form: StepUpForm, refused: Refusal | None) -> int:
    return refused.status if refused else 422 if form.errors else 200
