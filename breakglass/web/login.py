"""Logging in: password, then a second factor, or a passkey for both; the first login enrols one (web/enrol.py)."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from uuid import UUID

from axes.helpers import get_cool_off
from axes.models import AccessAttempt
from django import forms
from django.contrib import auth
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST
from django_otp import login as otp_login
from django_otp.models import Device

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refusal
from breakglass.models import Person
from breakglass.services import audit, half_logins, passkeys, second_factor
from breakglass.services.challenges import Purpose
from breakglass.services.passkeys import Assertion
from breakglass.services.proof import FactorProof
from breakglass.web import enrol as enrol_pages
from breakglass.web import freshness
from breakglass.web.code_form import code_field
from breakglass.web.step_up import StepUpForm
from breakglass.web.who import has_both_factors, open_to_all

HALF = "half_login"
HALF_LASTS = timedelta(minutes=10)


class PasswordForm(forms.Form):
    username = forms.CharField(
        label="User name",
        max_length=150,
        widget=forms.TextInput(
            attrs={
                "autocomplete": "username",
                "autocapitalize": "none",
                "spellcheck": "false",
                "autofocus": True,
            }
        ),
        error_messages={"required": "Type your user name."},
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=1024,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Type your password."},
    )


class LoginCodeForm(StepUpForm):
    code = code_field("Code")


class RecoveryForm(forms.Form):
    code = code_field("Recovery code", recovery=True)


@open_to_all
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    """First step. A right password alone opens nothing: it leads to the second step."""
    if has_both_factors(request.user):
        return redirect(_wanted(request))
    form = PasswordForm(request.POST if request.method == "POST" else None)
    if request.method == "GET" or not form.is_valid():
        return _login_page(request, form)
    username = form.cleaned_data["username"].strip().lower()
    person = auth.authenticate(request, username=username, password=form.cleaned_data["password"])
    if not isinstance(person, Person):
        audit.record(
            AuditTag.LOGIN_FAILED,
            actor=username,
            subject="login:password",
            now=clock.now(),
            data={"address": _address(request)},
        )
        return _login_page(request, form, refusal(RefusalCode.BAD_CREDENTIALS))
    begin_half(request, person)
    return redirect("login_second" if second_factor.has_factor(person) else "login_enrol")


def begin_half(request: HttpRequest, person: Person) -> None:
    """A first step was right. In a browser session of its own: nothing of who was here before goes with it."""
    request.session.flush()
    request.session[HALF] = {
        "person": str(person.id),
        "at": clock.now().timestamp(),
        "next": _wanted(request),
    }


def locked_out(request: HttpRequest, response: object = None, credentials: object = None) -> HttpResponse:
    """django-axes found too many wrong passwords for this account from this address: say how long to wait."""
    form = PasswordForm(request.POST or None)
    return _login_page(request, form, refusal(RefusalCode.THROTTLED, seconds=_seconds_locked(request)))


@open_to_all
@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def second_step(request: HttpRequest) -> HttpResponse:
    """Second step: a code of the authenticator app, a passkey, or a recovery code."""
    person = _half_logged_in(request)
    if person is None:
        return redirect("login")
    if not second_factor.has_factor(person):
        return redirect("login_enrol")
    recovery = request.GET.get("recovery") == "1"
    data = request.POST if request.method == "POST" else None
    form = (
        RecoveryForm(data)
        if recovery
        else LoginCodeForm(data, person=person, action="login", way="login_passkey")
    )
    refused: Refusal | None = None
    if request.method == "POST" and form.is_valid():
        try:
            proof = _second_factor(request, person, form)
        except Refused as no:
            refused = no.refusal
        else:
            # A recovery code logs in, and is no factor for anything else.
            return _welcome(request, person, proof.persistent_id, "" if recovery else proof.name)
    context = {"form": form, "name": person.get_full_name(), "recovery": recovery, "refusal": refused}
    return render(request, "breakglass/second_step.html", context, status=refused.status if refused else 200)


def _second_factor(request: HttpRequest, person: Person, form: RecoveryForm | LoginCodeForm) -> FactorProof:
    """What was given is right, and used up by this."""
    now = clock.now()
    if isinstance(form, RecoveryForm):
        return half_logins.verify(person, form.cleaned_data["code"], _address(request), now, recovery=True)
    answer = form.answer
    if isinstance(answer, str):
        return half_logins.verify(person, answer, _address(request), now)
    return passkeys.verify(_purpose(request, person), person, answer, now)[1]


@open_to_all
@require_POST
def login_passkey(request: HttpRequest) -> HttpResponse:
    """A challenge for logging in: for who gave the password one of their passkeys, for a stranger any of this house."""
    person = _half_logged_in(request) if request.POST.get("action") == "login" else None
    try:
        return JsonResponse(passkeys.options(_purpose(request, person), person, clock.now()))
    except Refused as no:
        return JsonResponse(no.refusal.as_dict(), status=no.refusal.status)


@open_to_all
@require_POST
def login_by_passkey(request: HttpRequest) -> HttpResponse:
    """Both factors at once: a passkey that has asked for its PIN, finger or face. No password is typed."""
    given = Assertion(request.POST.get("assertion", "")[: passkeys.MOST_TEXT + 1])
    try:
        person, proof = passkeys.verify(_purpose(request, None), None, given, clock.now())
    except Refused as no:
        return _login_page(request, PasswordForm(), no.refusal)
    request.session.flush()
    request.session[HALF] = {"next": _wanted(request)}
    return _welcome(request, person, proof.persistent_id, proof.name)


def _purpose(request: HttpRequest, person: Person | None) -> Purpose:
    """Bound to this browser: an answer that somebody else's page begot logs nobody in here."""
    browser = hashlib.sha256(str(request.META.get("CSRF_COOKIE", "")).encode()).hexdigest()
    return Purpose("login", str(person.pk) if person else "", "login", browser)


@open_to_all
@sensitive_post_parameters("code", "enrolment_code")
@require_http_methods(["GET", "POST"])
def enrol(request: HttpRequest) -> HttpResponse:
    """The first login enrols a second factor, for an enrolment code, and shows the recovery codes this one time."""
    person = _half_logged_in(request)
    if person is None:
        return redirect("login")
    if second_factor.has_factor(person):
        return redirect("login_second")
    asked = enrol_pages.ask_for_code(request, person)
    if asked is not None:
        return asked
    done = enrol_pages.first_factor(request, person)
    if done.page is not None:
        return done.page
    wanted = _welcome(request, person, done.device)["Location"]
    return render(request, "breakglass/recovery_codes.html", {"codes": done.codes, "next": wanted})


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    if isinstance(request.user, Person):
        data = {"address": _address(request)}
        audit.record(AuditTag.LOGOUT, actor=request.user, subject=request.user, now=clock.now(), data=data)
    auth.logout(request)
    return redirect("login")


def _login_page(request: HttpRequest, form: forms.Form, refused: Refusal | None = None) -> HttpResponse:
    context = {
        "form": form,
        "refusal": refused,
        "next": request.GET.get("next", ""),
        "passkeys": passkeys.offered(),
    }
    return render(request, "breakglass/login.html", context, status=refused.status if refused else 200)


def _welcome(request: HttpRequest, person: Person, factor: str, given: str = "") -> HttpResponse:
    """`given` names the one use of a factor that opens a terminal in this browser without another question."""
    wanted = request.session.get(HALF, {}).get("next") or reverse("home")
    request.session.pop(HALF, None)
    enrol_pages.forget(request)
    auth.login(request, person, backend="django.contrib.auth.backends.ModelBackend")
    otp_login(request, Device.from_persistent_id(factor))
    if given:
        freshness.note(request, given, clock.now())
    data = {"address": _address(request), "factor": factor}
    audit.record(AuditTag.LOGIN_SUCCEEDED, actor=person, subject=person, now=clock.now(), data=data)
    return redirect(wanted)


def _half_logged_in(request: HttpRequest) -> Person | None:
    half = request.session.get(HALF)
    if not half or clock.now().timestamp() - half["at"] > HALF_LASTS.total_seconds():
        return None
    return Person.objects.filter(id=UUID(half["person"]), is_active=True).first()


def _wanted(request: HttpRequest) -> str:
    """Where the person wanted to go; only inside this site."""
    target = request.GET.get("next", "")
    fits = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
    return target if target and fits else reverse("home")


def _address(request: HttpRequest) -> str:
    return str(getattr(request, "axes_ip_address", None) or request.META.get("REMOTE_ADDR", ""))


def _seconds_locked(request: HttpRequest) -> int:
    username = request.POST.get("username", "").strip().lower()
    attempt = AccessAttempt.objects.filter(username=username, ip_address=_address(request)).first()
    cool_off = get_cool_off(request) or timedelta(minutes=5)
    since: datetime = attempt.attempt_time if attempt else clock.now()
    return max(1, int((since + cool_off - clock.now()).total_seconds()))
