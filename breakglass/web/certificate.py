"""A certificate for one's own key: until the grant ends ssh gets in without a question."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from breakglass import clock, queries
from breakglass.domain.refusals import Refused
from breakglass.models import Grant, Person
from breakglass.services import certificates, grants
from breakglass.services.certificates import Issued
from breakglass.web.cards import card_of
from breakglass.web.code_form import put_beside
from breakglass.web.step_up import StepUpForm
from breakglass.web.way_in import ways_in
from breakglass.web.who import person_of

PASTE = "paste"


class CertificateForm(StepUpForm):
    """The person's registered keys to choose from, or a line to paste."""

    key = forms.ChoiceField(label="Which key?", widget=forms.RadioSelect)
    line = forms.CharField(
        label="Public key",
        required=False,
        max_length=20_000,
        help_text="Only for another key: the one line of its .pub file.",
        widget=forms.Textarea(attrs={"rows": 2, "class": "line-of-key", "spellcheck": "false",
                                     "autocomplete": "off", "autocapitalize": "none"}),
    )  # fmt: skip
    source_address = forms.CharField(
        label="Only from this IP address",
        required=False,
        max_length=45,
        help_text="The address that the gateway sees you come from. Empty: from anywhere.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "inputmode": "text"}),
    )

    def __init__(self, person: Person, grant: Grant, data: Any = None) -> None:
        super().__init__(data, person=person, action="certificate", subject=grant.pk)
        rows = person.ssh_keys.filter(removed_at=None)
        self.lines = {str(row.pk): f"{row.type} {base64.b64encode(bytes(row.blob)).decode()}" for row in rows}
        choices = [(str(row.pk), f"{row.label} ({row.type})") for row in rows]
        field = self.fields["key"]
        field.choices = [*choices, (PASTE, "another one: paste it below")]  # type: ignore[attr-defined]
        field.initial = choices[0][0] if choices else PASTE

    @property
    def chosen(self) -> str:
        """The public key as a line."""
        return self.lines.get(self.cleaned_data["key"]) or str(self.cleaned_data["line"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("key") == PASTE and not cleaned.get("line", "").strip():
            self.add_error("line", "Paste the public key.")
        return cleaned


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def certificate(request: HttpRequest, grant_id: UUID) -> HttpResponse:
    person, now = person_of(request), clock.now()
    grant = queries.grant_for(person, grant_id)
    grants.held(grant.id, person, now)
    form = CertificateForm(person, grant, request.POST if request.method == "POST" else None)
    issued: Issued | None = None
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            issued = certificates.issue(
                person, grant.id, form.chosen, form.answer, now, source_address=data["source_address"]
            )
        except Refused as no:
            put_beside(form, no.refusal, source_address="source_address", line="line")
    context = {
        "grant": grant,
        "form": form,
        "issued": issued,
        "earlier": certificates.live_under(grant, now),
        **(_shown(issued, grant, person) if issued else {}),
    }
    return render(request, "breakglass/certificate.html", context, status=422 if form.errors else 200)


@require_POST
def certificate_revoke(request: HttpRequest, grant_id: UUID, serial: int) -> HttpResponse:
    certificates.revoke(person_of(request), serial, clock.now())
    messages.success(request, "The certificate is revoked: it opens nothing any more.")
    return redirect("certificate", grant_id)


def _shown(issued: Issued, grant: Grant, person: Person) -> dict[str, Any]:
    """The certificate as a file, and the one command that puts it there and logs in."""
    name = f"breakglass-{grant.request.label}-cert.pub"
    first, *_ = ways = ways_in(
        grant, person, card_of(grant.playbook), options=f" -o CertificateFile=~/.ssh/{name}"
    )
    encoded = base64.b64encode((issued.line + "\n").encode()).decode()
    return {
        "file_name": name,
        "file": f"data:application/octet-stream;base64,{encoded}",
        "one_shot": f"printf '%s\\n' '{issued.line}' > ~/.ssh/{name} && {first.command}",
        "ways": ways,
    }
