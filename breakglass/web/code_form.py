"""The field for a second factor, the same wherever a code is asked for."""

from __future__ import annotations

from django import forms

from breakglass.domain.refusals import Refusal, RefusalCode

ABOUT_THE_CODE = frozenset(
    {
        RefusalCode.SECOND_FACTOR_WRONG,
        RefusalCode.SECOND_FACTOR_USED,
        RefusalCode.SECOND_FACTOR_REQUIRED,
        RefusalCode.PASSKEY_REFUSED,
        RefusalCode.PASSKEY_CLONED,
        RefusalCode.THROTTLED,
    }
)


class CodeInput(forms.TextInput):
    """A form that comes back asks for the code anew: what was typed is used up or wrong."""

    def format_value(self, value: object) -> None:
        return None


def code_field(
    label: str = "Code of your authenticator app", hint: str = "", *, recovery: bool = False
) -> forms.CharField:
    """Six digits as phones like them: numeric keys, filled in by the password manager, spaces forgiven."""
    attributes = {
        "autocomplete": "one-time-code",
        "class": "code",
        "autocapitalize": "none",
        "spellcheck": "false",
    }
    if not recovery:
        attributes["inputmode"] = "numeric"
    return forms.CharField(
        label=label,
        help_text=hint,
        max_length=40,
        widget=CodeInput(attrs=attributes),
        error_messages={"required": "Type the code."},
    )


def put_beside(form: forms.Form, no: Refusal, *, line: str | None = None, **fields: str) -> None:
    """A refusal beside the field that it is about: the code's, one that it says it needs, else `line`."""
    about = "code" if no.code in ABOUT_THE_CODE else line
    for need in no.needs:
        about = fields.get(need, about)
    form.add_error(about, f"{no.message} {no.help}".strip())
