"""The first login of who was added on the page People: an enrolment code instead of a password, and a password of their own."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from breakglass import clock
from breakglass.domain.refusals import Refused
from breakglass.services import membership
from breakglass.web import login
from breakglass.web.code_form import put_beside
from breakglass.web.enrol import EnrolmentCodeForm, keep_code
from breakglass.web.who import has_both_factors, open_to_all


class FirstLoginForm(EnrolmentCodeForm):
    field_order = ("username", "enrolment_code", "password", "again")

    username = forms.CharField(
        label="User name",
        max_length=150,
        widget=forms.TextInput(
            attrs={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}
        ),
        error_messages={"required": "Type your user name."},
    )
    password = forms.CharField(
        label="Choose a password",
        strip=False,
        max_length=1024,
        help_text="12 characters or more; some words that you will remember are good. Nobody else ever knows it.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        error_messages={"required": "Choose a password."},
    )
    again = forms.CharField(
        label="The password again",
        strip=False,
        max_length=1024,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        error_messages={"required": "Type it once more."},
    )

    def clean_again(self) -> str:
        again = str(self.cleaned_data["again"])
        if "password" in self.cleaned_data and again != self.cleaned_data["password"]:
            raise forms.ValidationError("The two passwords differ.")
        return again


@open_to_all
@sensitive_post_parameters("password", "again", "enrolment_code")
@require_http_methods(["GET", "POST"])
def first_login(request: HttpRequest) -> HttpResponse:
    """Leads to where the second factor is enrolled; opens nothing by itself."""
    if has_both_factors(request.user):
        return redirect("home")
    form = FirstLoginForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        given, now = form.cleaned_data, clock.now()
        username = given["username"].strip().lower()
        try:
            person, code = membership.begin(username, given["enrolment_code"], given["password"], now)
        except Refused as no:
            put_beside(form, no.refusal, line="enrolment_code", password="password")
        else:
            login.begin_half(request, person)
            keep_code(request, person, code, now)
            return redirect("login_enrol")
    return render(request, "breakglass/first_login.html", {"form": form}, status=422 if form.errors else 200)
