"""Logging in: password, then a second factor; the first login enrols one."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from uuid import UUID

import segno
from axes.helpers import get_cool_off
from axes.models import AccessAttempt
from django import forms
from django.contrib import auth
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import mark_safe
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST
from django_otp import login as otp_login
from django_otp.models import Device

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refusal
from breakglass.models import Person, TotpFactor
from breakglass.services import audit, second_factor, vault
from breakglass.web import freshness
from breakglass.web.code_form import code_field
from breakglass.web.who import has_both_factors, open_to_all

HALF = "half_login"
ENROLMENT = "enrolment"
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


class CodeForm(forms.Form):
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
    request.session.flush()
    request.session[HALF] = {
        "person": str(person.id),
        "at": clock.now().timestamp(),
        "next": _wanted(request),
    }
    return redirect("login_second" if second_factor.has_factor(person) else "login_enrol")


def locked_out(request: HttpRequest, response: object = None, credentials: object = None) -> HttpResponse:
    """django-axes found too many wrong passwords for this account from this address: say how long to wait."""
    form = PasswordForm(request.POST or None)
    return _login_page(request, form, refusal(RefusalCode.THROTTLED, seconds=_seconds_locked(request)))


@open_to_all
@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def second_step(request: HttpRequest) -> HttpResponse:
    """Second step: a code of the authenticator app, or a recovery code."""
    person = _half_logged_in(request)
    if person is None:
        return redirect("login")
    if not second_factor.has_factor(person):
        return redirect("login_enrol")
    recovery = request.GET.get("recovery") == "1"
    form: forms.Form = (RecoveryForm if recovery else CodeForm)(
        request.POST if request.method == "POST" else None
    )
    refused: Refusal | None = None
    if request.method == "POST" and form.is_valid():
        check = second_factor.use_recovery_code if recovery else second_factor.verify
        try:
            proof = check(person, form.cleaned_data["code"], clock.now())
        except Refused as no:
            refused = no.refusal
        else:
            # A recovery code logs in, and is no factor for anything else.
            return _welcome(request, person, proof.persistent_id, "" if recovery else proof.name)
    context = {"form": form, "name": person.get_full_name(), "recovery": recovery, "refusal": refused}
    return render(request, "breakglass/second_step.html", context, status=refused.status if refused else 200)


@open_to_all
@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def enrol(request: HttpRequest) -> HttpResponse:
    """The first login enrols a second factor, and shows the recovery codes this one time."""
    person = _half_logged_in(request)
    if person is None:
        return redirect("login")
    if second_factor.has_factor(person):
        return redirect("login_second")
    enrolment = _enrolment(request, person)
    form = CodeForm(request.POST if request.method == "POST" else None)
    refused: Refusal | None = None
    if request.method == "POST" and form.is_valid():
        try:
            codes = second_factor.enrol_confirm(
                person, enrolment.secret_base32, form.cleaned_data["code"], clock.now()
            )
        except Refused as no:
            refused = no.refusal
        else:
            wanted = _welcome(request, person, TotpFactor.objects.get(user=person).persistent_id)["Location"]
            return render(request, "breakglass/recovery_codes.html", {"codes": codes, "next": wanted})
    context = {
        "form": form,
        "refusal": refused,
        "qr": _qr(enrolment.otpauth_uri),
        "secret_spaced": " ".join(_chunks(enrolment.secret_base32, 4)),
    }
    return render(request, "breakglass/enrol.html", context, status=refused.status if refused else 200)


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    if isinstance(request.user, Person):
        data = {"address": _address(request)}
        audit.record(AuditTag.LOGOUT, actor=request.user, subject=request.user, now=clock.now(), data=data)
    auth.logout(request)
    return redirect("login")


def _login_page(request: HttpRequest, form: forms.Form, refused: Refusal | None = None) -> HttpResponse:
    context = {"form": form, "refusal": refused, "next": request.GET.get("next", "")}
    return render(request, "breakglass/login.html", context, status=refused.status if refused else 200)


def _welcome(request: HttpRequest, person: Person, factor: str, given: str = "") -> HttpResponse:
    """`given` names the one use of a factor that opens a terminal in this browser without another question."""
    wanted = request.session.get(HALF, {}).get("next") or reverse("home")
    request.session.pop(HALF, None)
    request.session.pop(ENROLMENT, None)
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


def _enrolment(request: HttpRequest, person: Person) -> second_factor.Enrolment:
    """The same secret until it is confirmed, kept encrypted in the session between the two clicks."""
    kept = request.session.get(ENROLMENT)
    if kept:
        return second_factor.Enrolment(*json.loads(vault.decrypt(base64.b64decode(kept), "enrolment")))
    enrolment = second_factor.enrol_begin(person)
    plain = json.dumps([enrolment.secret_base32, enrolment.otpauth_uri])
    request.session[ENROLMENT] = base64.b64encode(vault.encrypt(plain.encode(), "enrolment")).decode()
    return enrolment


def _qr(uri: str) -> str:
    """The QR code as inline SVG: no image to load, nothing for the CSP to forbid."""
    svg = segno.make(uri, error="m").svg_inline(
        scale=5, border=2, omitsize=True, svgclass=None, lineclass=None
    )
    return mark_safe(svg)


def _chunks(text: str, length: int) -> list[str]:
    return [text[start : start + length] for start in range(0, len(text), length)]


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
