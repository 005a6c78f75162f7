"""A form that asks for a fresh second factor: a code of the authenticator app, or a passkey bound to this very act.

    class KillForm(StepUpForm):
        reason = forms.CharField(...)

    form = KillForm(request.POST or None, person=person, action="kill", subject=session.pk)
    ...  service.kill(session.pk, person, form.answer, now)        # the service calls step_up.verify(..., "kill", session.pk, ...)

The template includes `breakglass/parts/step_up.html` with `form`, in a `<form method="post">`. Where the person has a
passkey, js/passkey.js asks for it when the form is sent without a code: nothing else is to do. `action` and `subject`
must be what the service hands to `step_up.verify`. A subject that a field of the form decides is named by
`subject_field`; a button that means another act says so: `<button data-action="deny">`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.urls import reverse

from breakglass.models import Person
from breakglass.services import passkeys, second_factor
from breakglass.services.step_up import Answer, Assertion
from breakglass.web.code_form import code_field


@dataclass(frozen=True)
class StepUp:
    """What the part of the page needs to know. `passkey` and `app`: which of the two the person has."""

    action: str
    subject: str
    subject_field: str
    url: str
    passkey: bool
    app: bool


class AssertionInput(forms.HiddenInput):
    """A form that comes back asks anew: what was given is used up or refused."""

    def format_value(self, value: object) -> None:
        return None


class StepUpForm(forms.Form):
    """The fields `code` and `assertion`, one of which is needed, and `answer` for the service."""

    code = code_field()
    assertion = forms.CharField(
        required=False,
        max_length=passkeys.MOST_TEXT,
        widget=AssertionInput(attrs={"data-assertion": True, "autocomplete": "off"}),
    )

    def __init__(
        self,
        data: Any = None,
        *,
        person: Person,
        action: str,
        subject: object = "",
        subject_field: str = "",
        way: str = "passkey_challenge",
        **kwargs: Any,
    ) -> None:
        super().__init__(data, **kwargs)
        named = self.add_prefix(subject_field) if subject_field else ""
        has_passkey = passkeys.offered() and passkeys.any_of(person)
        has_app = second_factor.has_app(person)
        self.step_up = StepUp(
            action, str(subject), named, reverse(way), has_passkey, has_app or not has_passkey
        )
        if has_passkey and not has_app:
            self.fields["code"].error_messages["required"] = "Press the button again and give your passkey."
        elif has_passkey:
            self.fields["code"].error_messages["required"] = "Give your passkey, or type a code."
        if self.is_bound and self.data.get(self.add_prefix("assertion")):
            self.fields["code"].required = False

    @property
    def answer(self) -> Answer:
        """What was given, once the form is valid: a typed code goes before a passkey."""
        code = str(self.cleaned_data["code"])
        return code or Assertion(self.cleaned_data["assertion"])
