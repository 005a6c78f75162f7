"""Adding a person, disabling one, letting one in again: for administrators, with a fresh factor."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from breakglass import clock, queries
from breakglass.domain.permissions import (
    ADMINISTRATORS,
    AUDITORS,
    RESPONDERS,
    REVIEWERS,
    SUPERVISORS,
    Verb,
)
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refuse
from breakglass.models import Person
from breakglass.models.person import USERNAME
from breakglass.services import membership
from breakglass.services.enrolment import IssuedEnrolment
from breakglass.web.code_form import ABOUT_THE_CODE, put_beside
from breakglass.web.step_up import StepUpForm
from breakglass.web.who import demand, person_of

DOES = {
    RESPONDERS: "ask for access, and use it",
    SUPERVISORS: "decide alone when nobody answers",
    REVIEWERS: "judge sessions afterwards",
    AUDITORS: "read the audit trail",
    ADMINISTRATORS: "people, locks, assets, wallboards",
}


class PersonForm(StepUpForm):
    full_name = forms.CharField(
        label="Name", max_length=120, error_messages={"required": "Say what they are called."}
    )
    username = forms.CharField(
        label="User name",
        max_length=31,
        validators=[USERNAME],
        help_text="1 to 31 of a-z, 0-9, dot, underscore, hyphen; a letter first. They log in with it, by ssh too.",
        widget=forms.TextInput(
            attrs={"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}
        ),
        error_messages={"required": "Choose a user name."},
    )
    email = forms.EmailField(
        label="Mail",
        required=False,
        max_length=254,
        help_text="Where notices go.",
        widget=forms.TextInput(attrs={"inputmode": "email", "autocomplete": "off", "autocapitalize": "none"}),
    )
    vendor = forms.CharField(
        label="Company",
        required=False,
        max_length=120,
        help_text="Only for who is sent by another company: such people approve, review and decide nothing.",
    )
    groups = forms.MultipleChoiceField(
        label="What will they do here?",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Groups that playbooks name may ask for or approve access.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        groups = self.fields["groups"]
        assert isinstance(groups, forms.MultipleChoiceField)
        groups.choices = group_choices()


class ReasonForm(StepUpForm):
    reason = forms.CharField(
        label="Why?",
        max_length=300,
        help_text="Administrators and auditors read it.",
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Say why."},
    )


@sensitive_post_parameters("code")
@sensitive_variables("issued")
@require_http_methods(["GET", "POST"])
def person_add(request: HttpRequest) -> HttpResponse:
    """A new person; their enrolment code is shown this one time."""
    by = person_of(request)
    demand(by, Verb.MANAGE_PEOPLE)
    data = request.POST if request.method == "POST" else None
    form = PersonForm(data, person=by, action=membership.ADD, subject_field="username")
    issued: IssuedEnrolment | None = None
    if data is not None and form.is_valid():
        given = form.cleaned_data
        new = membership.Newcomer(
            given["username"], given["full_name"], given["email"], given["vendor"], tuple(given["groups"])
        )
        try:
            issued = membership.add(new, by, form.answer, clock.now())
        except Refused as no:
            put_beside(form, no.refusal, **{name: name for name in form.fields})
    context = {"form": form, "issued": issued, "person": issued.row.person if issued else None}
    return render(request, "breakglass/people_add.html", context, status=422 if form.errors else 200)


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def person_switch(request: HttpRequest, person_id: UUID) -> HttpResponse:
    """Disable who may log in; let in again who may not."""
    by = person_of(request)
    demand(by, Verb.MANAGE_PEOPLE)
    person = Person.objects.filter(pk=person_id).first()
    if person is None:
        raise refuse(RefusalCode.NOT_FOUND, what="person")
    data = request.POST if request.method == "POST" else None
    leaves = person.is_active
    action = membership.DISABLE if leaves else membership.ENABLE
    form = ReasonForm(data, person=by, action=action, subject=person.pk)
    refused: Refusal | None = None
    if data is not None and form.is_valid():
        act = membership.disable if leaves else membership.enable
        try:
            act(person.pk, by, form.cleaned_data["reason"], form.answer, clock.now())
        except Refused as no:
            if no.refusal.code in ABOUT_THE_CODE or no.refusal.needs:
                put_beside(form, no.refusal, reason="reason")
            else:
                refused = no.refusal
        else:
            done = "is disabled: no login, and nothing that runs goes on" if leaves else "may log in again"
            messages.success(request, f"{person.get_full_name()} {done}.")
            return redirect("people")
    context = {"person": person, "form": form, "refusal": refused, "mine": person.pk == by.pk}
    status = refused.status if refused else 422 if form.errors else 200
    return render(request, "breakglass/people_switch.html", context, status=status)


def group_choices() -> list[tuple[str, str]]:
    """Every group that means something here: the house's, those that playbooks name, and those that people are in."""
    approve = {name for version in queries.current_playbooks() for name in queries.rule_of(version).groups}
    known = approve | set(Group.objects.values_list("name", flat=True))
    words = DOES | dict.fromkeys(approve - set(DOES), "approve access")
    others = sorted(known - set(DOES), key=lambda name: (name not in approve, name))
    return [(name, f"{name}: {words[name]}" if name in words else name) for name in [*DOES, *others]]
