"""Enrolling a second factor: the first after a login by password, for an administrator's one-time code; others from
the profile, for a factor given just now. An authenticator app or a passkey, on one page."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import segno
from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.safestring import mark_safe
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from breakglass import clock
from breakglass.domain.refusals import Refusal, RefusalCode, Refused
from breakglass.models import EnrolmentCode, Person
from breakglass.services import enrolment, passkey_making, passkeys, second_factor, vault
from breakglass.services.enrolment import Permit
from breakglass.services.proof import FactorProof
from breakglass.web.code_form import code_field, put_beside
from breakglass.web.step_up import AssertionInput
from breakglass.web.who import person_of

ENROLMENT = "enrolment"
PERMIT = "enrolment_permit"
# From the factor that was given to the new one: time to find the phone in the other room.
PERMIT_LASTS = timedelta(minutes=5)


class AppForm(forms.Form):
    code = code_field("Code")


class PasskeyForm(forms.Form):
    name = forms.CharField(
        label="Name of the passkey",
        max_length=60,
        help_text="Where it lives: phone, laptop, key on the ring.",
        error_messages={"required": "Name it, so that you know later which one it is."},
    )
    made = forms.CharField(
        required=False,
        max_length=passkeys.MOST_TEXT,
        widget=AssertionInput(attrs={"data-assertion": True, "autocomplete": "off"}),
    )

    def clean_made(self) -> str:
        made = str(self.cleaned_data["made"])
        if not made:
            raise forms.ValidationError("The browser made no passkey. Press the button again.")
        return made


class EnrolmentCodeForm(forms.Form):
    enrolment_code = forms.CharField(
        label="Enrolment code",
        max_length=40,
        widget=forms.TextInput(
            attrs={
                "class": "code wide",
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
            }
        ),
        error_messages={"required": "Type the enrolment code."},
    )


@dataclass(frozen=True)
class Enrolling:
    """Who enrols, by what right, and what the page does around it."""

    person: Person
    permit: Permit
    first: bool


@dataclass
class Outcome:
    """A factor was stored (`device`, and the recovery codes if it is the first), or a page is to be shown."""

    device: str = ""
    codes: tuple[str, ...] = ()
    page: HttpResponse | None = None


def ask_for_code(request: HttpRequest, person: Person) -> HttpResponse | None:
    """The page that asks for the enrolment code, until a right one was typed; then None, and the permit is kept."""
    if _code_permit(request, person) is not None:
        return None
    typed = request.method == "POST" and "enrolment_code" in request.POST
    form = EnrolmentCodeForm(request.POST if typed else None)
    if typed and form.is_valid():
        now = clock.now()
        try:
            row = enrolment.look(person, form.cleaned_data["enrolment_code"], now)
        except Refused as no:
            put_beside(form, no.refusal, line="enrolment_code")
        else:
            keep_code(request, person, row, now)
            return redirect("login_enrol")
    status = 403 if form.errors else 200
    return render(
        request, "breakglass/enrol_code.html", {"form": form, "name": person.get_full_name()}, status=status
    )


def first_factor(request: HttpRequest, person: Person) -> Outcome:
    """For who has typed an enrolment code: the page with both ways, or the factor that was enrolled."""
    permit = _code_permit(request, person)
    assert permit is not None
    return _enrol(request, Enrolling(person, permit, first=True))


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def factor_add(request: HttpRequest) -> HttpResponse:
    """Another factor, for who gave one just now on the profile page."""
    person, now = person_of(request), clock.now()
    permit = _proof_permit(request, person, now)
    if permit is None:
        return redirect(reverse("profile") + "#factors")
    done = _enrol(request, Enrolling(person, permit, first=False))
    if done.page is not None:
        return done.page
    forget(request)
    return redirect(reverse("profile") + "#factors")


def keep_code(request: HttpRequest, person: Person, row: EnrolmentCode, now: datetime) -> None:
    """A right enrolment code was typed: what follows may use it up."""
    request.session[PERMIT] = {"code": str(row.pk), "person": str(person.pk), "at": now.timestamp()}


def keep_proof(request: HttpRequest, person: Person, proof: FactorProof) -> None:
    """A factor was given for adding another: the next page may, for five minutes."""
    request.session.pop(ENROLMENT, None)
    request.session[PERMIT] = {
        "factor": proof.name,
        "device": proof.persistent_id,
        "person": str(person.pk),
        "at": proof.at.timestamp(),
    }


def forget(request: HttpRequest) -> None:
    request.session.pop(PERMIT, None)
    request.session.pop(ENROLMENT, None)


def _enrol(request: HttpRequest, who: Enrolling) -> Outcome:
    now, by_app = clock.now(), not second_factor.has_app(who.person)
    wants_passkey = request.method == "POST" and "made" in request.POST
    wants_app = request.method == "POST" and not wants_passkey and by_app
    app_form = AppForm(request.POST if wants_app else None)
    passkey_form = PasskeyForm(request.POST if wants_passkey else None)
    begun = _begun(request, who.person) if by_app else None
    refused: Refusal | None = None
    try:
        if wants_app and begun and app_form.is_valid():
            code = app_form.cleaned_data["code"]
            codes = second_factor.enrol_confirm(who.person, begun.secret_base32, code, now, permit=who.permit)
            return Outcome(second_factor.device_of_app(who.person), tuple(codes))
        if wants_passkey and passkey_form.is_valid():
            data = passkey_form.cleaned_data
            codes = passkey_making.finish(who.person, who.permit, data["name"], data["made"], now)
            return Outcome(passkeys.of(who.person)[-1].persistent_id, tuple(codes))
    except Refused as no:
        refused = no.refusal
        if refused.code is RefusalCode.ENROLMENT_CODE_WRONG:
            forget(request)
    wrong = app_form.errors or passkey_form.errors
    page = _page(request, who, begun, app_form, passkey_form, refused)
    page.status_code = refused.status if refused else 422 if wrong else 200
    return Outcome(page=page)


def _page(
    request: HttpRequest,
    who: Enrolling,
    begun: second_factor.Enrolment | None,
    app_form: AppForm,
    passkey_form: PasskeyForm,
    refused: Refusal | None,
) -> HttpResponse:
    context: dict[str, Any] = {
        "first": who.first,
        "form": app_form,
        "passkey_form": passkey_form,
        "refusal": refused,
        "options": "",
    }
    if passkeys.offered():
        context["options"] = json.dumps(passkey_making.begin(who.person, who.permit, clock.now()))
    if begun is not None:
        context["qr"] = _qr(begun.otpauth_uri)
        context["secret_spaced"] = " ".join(_chunks(begun.secret_base32, 4))
    name = "breakglass/enrol.html" if who.first else "breakglass/factor_add.html"
    return render(request, name, context)


def _code_permit(request: HttpRequest, person: Person) -> UUID | None:
    kept = request.session.get(PERMIT) or {}
    return UUID(kept["code"]) if kept.get("person") == str(person.pk) and "code" in kept else None


def _proof_permit(request: HttpRequest, person: Person, now: datetime) -> FactorProof | None:
    kept = request.session.get(PERMIT) or {}
    if kept.get("person") != str(person.pk) or "factor" not in kept:
        return None
    if not 0 <= now.timestamp() - kept["at"] <= PERMIT_LASTS.total_seconds():
        return None
    return FactorProof(kept["factor"], kept["device"], datetime.fromtimestamp(kept["at"], tz=now.tzinfo))


def _begun(request: HttpRequest, person: Person) -> second_factor.Enrolment:
    """The same secret until it is confirmed, kept encrypted in the session between the two clicks."""
    kept = request.session.get(ENROLMENT)
    if kept:
        return second_factor.Enrolment(*json.loads(vault.decrypt(base64.b64decode(kept), "enrolment")))
    begun = second_factor.enrol_begin(person)
    plain = json.dumps([begun.secret_base32, begun.otpauth_uri])
    request.session[ENROLMENT] = base64.b64encode(vault.encrypt(plain.encode(), "enrolment")).decode()
    return begun


def _qr(uri: str) -> str:
    """The QR code as inline SVG: no image to load, nothing for the CSP to forbid."""
    svg = segno.make(uri, error="m").svg_inline(
        scale=5, border=2, omitsize=True, svgclass=None, lineclass=None
    )
    return mark_safe(svg)


def _chunks(text: str, length: int) -> list[str]:
    return [text[start : start + length] for start in range(0, len(text), length)]
