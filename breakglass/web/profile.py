"""My own keys, tokens and factors. What opens doors is added only with a fresh second factor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from breakglass import clock
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refuse
from breakglass.models import Person
from breakglass.services import keys, passkey_making, passkeys, second_factor, tokens
from breakglass.web import enrol
from breakglass.web.code_form import ABOUT_THE_CODE, put_beside
from breakglass.web.step_up import StepUpForm
from breakglass.web.who import groups_of, person_of


class KeyForm(StepUpForm):
    prefix = "key"
    line = forms.CharField(
        label="Public key",
        max_length=20_000,
        help_text="The one line of your .pub file. Ed25519, ECDSA, a security key of these, or RSA of 3072 bits or more.",
        widget=forms.Textarea(
            attrs={
                "rows": 3,
                "class": "line-of-key",
                "spellcheck": "false",
                "autocomplete": "off",
                "autocapitalize": "none",
            }
        ),
        error_messages={"required": "Paste the public key."},
    )
    label = forms.CharField(
        label="Name", required=False, max_length=80, help_text="Where the key lives: laptop, control room."
    )
    verify_required = forms.BooleanField(
        label="A security key that asks for its PIN or a finger",
        required=False,
        help_text="Made with ssh-keygen -t ed25519-sk -O verify-required. It then needs no code when you log in.",
    )

    def __init__(self, person: Person, data: Any = None) -> None:
        super().__init__(data, person=person, action="register key", subject_field="line")


class TokenForm(StepUpForm):
    prefix = "token"
    label = forms.CharField(
        label="What uses it?", max_length=80, error_messages={"required": "Name what will use the token."}
    )

    def __init__(self, person: Person, data: Any = None) -> None:
        super().__init__(data, person=person, action="issue token", subject_field="label")


class FactorForm(StepUpForm):
    prefix = "factor"

    def __init__(self, person: Person, data: Any = None) -> None:
        super().__init__(data, person=person, action="add factor", subject=person.pk)


@require_safe
def profile(request: HttpRequest) -> HttpResponse:
    return _page(request)


@sensitive_post_parameters("key-code")
@require_POST
def key_add(request: HttpRequest) -> HttpResponse:
    person, now = person_of(request), clock.now()
    form = KeyForm(person, request.POST)

    def register() -> object:
        data = form.cleaned_data
        return keys.register(
            person, data["line"], data["label"], form.answer, now, verify_required=data["verify_required"]
        )

    if _done(form, register, "line"):
        messages.success(request, "The key is registered: the gateway takes it from now on.")
        return redirect("profile")
    return _page(request, key_form=form, status=422)


@require_POST
def key_remove(request: HttpRequest, key_id: int) -> HttpResponse:
    keys.remove(person_of(request), key_id, clock.now())
    messages.success(
        request, "The key is removed: it opens nothing any more, and sessions that it opened end."
    )
    return redirect("profile")


@sensitive_post_parameters("token-code")
@require_POST
def token_add(request: HttpRequest) -> HttpResponse:
    person, now = person_of(request), clock.now()
    form = TokenForm(person, request.POST)
    issued: list[str] = []

    def issue() -> None:
        _, secret = tokens.issue(person, form.cleaned_data["label"], form.answer, now)
        issued.append(secret)

    if _done(form, issue, "label"):
        return _page(request, secret=issued[0])
    return _page(request, token_form=form, status=422)


@sensitive_post_parameters("code", "factor-code")
@require_POST
def factor_permit(request: HttpRequest) -> HttpResponse:
    """A factor that one has lets another be added: the next page does it."""
    person, now = person_of(request), clock.now()
    form = FactorForm(person, request.POST)

    def permit() -> None:
        enrol.keep_proof(request, person, passkey_making.permit(person, form.answer, now))

    if _done(form, permit, "code"):
        return redirect("factor_add")
    return _page(request, factor_form=form, status=422)


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def passkey_remove(request: HttpRequest, passkey_id: int) -> HttpResponse:
    person = person_of(request)
    passkey = next((one for one in passkeys.all_of(person) if one.pk == passkey_id), None)
    if passkey is None:
        raise refuse(RefusalCode.NOT_FOUND, what="passkey")
    data = request.POST if request.method == "POST" else None
    form = StepUpForm(data, person=person, action="remove passkey", subject=passkey_id)
    refused: Refusal | None = None
    if request.method == "POST" and form.is_valid():
        try:
            passkey_making.remove(person, passkey_id, form.answer, clock.now())
        except Refused as no:
            refused = None if no.refusal.code in ABOUT_THE_CODE else no.refusal
            if refused is None:
                put_beside(form, no.refusal)
        else:
            messages.success(request, f"{passkey.name} is removed: it opens nothing any more.")
            return redirect("profile")
    context = {"passkey": passkey, "form": form, "refusal": refused}
    status = refused.status if refused else 422 if form.errors else 200
    return render(request, "breakglass/passkey_remove.html", context, status=status)


@require_POST
def token_revoke(request: HttpRequest, token_id: UUID) -> HttpResponse:
    tokens.revoke(person_of(request), token_id, clock.now())
    messages.success(request, "The token is revoked.")
    return redirect("profile")


def _done(form: forms.Form, act: Callable[[], object], field: str) -> bool:
    """Whether it went well; a refusal is put beside the field that it is about."""
    if not form.is_valid():
        return False
    try:
        act()
    except Refused as no:
        put_beside(form, no.refusal, line=field, verify_required="verify_required")
        return False
    return True


def _page(
    request: HttpRequest,
    *,
    key_form: KeyForm | None = None,
    token_form: TokenForm | None = None,
    factor_form: FactorForm | None = None,
    status: int = 200,
    secret: str = "",
) -> HttpResponse:
    person = person_of(request)
    of_page = {
        "key_form": key_form or KeyForm(person),
        "token_form": token_form or TokenForm(person),
        "factor_form": factor_form or FactorForm(person),
    }
    context = {"secret": secret, **of_page, **_facts(person)}
    return render(request, "breakglass/profile.html", context, status=status)


def _facts(person: Person) -> dict[str, Any]:
    has_app = second_factor.has_app(person)
    return {
        "me": person,
        "groups": sorted(groups_of(person)),
        "keys": person.ssh_keys.filter(removed_at=None),
        "tokens": person.api_tokens.filter(revoked_at=None),
        "recovery": person.recoveries.filter(decided_at=None).select_related("asked_by").first(),
        "passkeys": passkeys.all_of(person),
        "passkeys_offered": passkeys.offered(),
        "has_app": has_app,
        "may_add_factor": passkeys.offered() or not has_app,
        "codes_left": second_factor.recovery_codes_left(person),
    }
