"""My ways for notices: add, try, switch off, remove. An address goes in and is never shown again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from breakglass import clock
from breakglass.domain.notice_kinds import KINDS, MOST_ADDRESS
from breakglass.domain.refusals import Refused
from breakglass.models import NoticeRoute
from breakglass.services import notice_routes, notices
from breakglass.web.who import person_of

EXAMPLES = (
    ("Slack", "https://hooks.slack.com/services/T0/B0/TOKEN"),
    ("Microsoft Teams", "https://HOST.logic.azure.com/workflows/..."),
    ("PagerDuty", "pagerduty://INTEGRATION_KEY@API_KEY"),
    ("Telegram", "tgram://BOT_TOKEN/CHAT"),
    ("ntfy", "ntfys://TOPIC"),
    ("Webhook", "https://HOST/PATH"),
)


class WayForm(forms.Form):
    name = forms.CharField(
        label="Name",
        max_length=64,
        help_text="Yours, such as: my phone. It is shown where this way failed.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Name it."},
    )
    # Not sent back in a form that returns: it holds a token.
    address = forms.CharField(
        label="Address",
        max_length=MOST_ADDRESS,
        help_text="What the service gives you to paste, or an Apprise address. It is kept encrypted and never shown again.",
        widget=forms.PasswordInput(
            attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}
        ),
        error_messages={"required": "Paste the address."},
    )


@sensitive_post_parameters("address")
@require_http_methods(["GET", "HEAD", "POST"])
def notice_ways(request: HttpRequest) -> HttpResponse:
    person = person_of(request)
    form = WayForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            added = notices.add_way(
                person, form.cleaned_data["name"], form.cleaned_data["address"], clock.now()
            )
        except Refused as no:
            form.add_error(next(iter(no.refusal.needs), None), no.refusal.message)
        else:
            messages.success(
                request, f"{added.name} is added. Try it now: then you know that it reaches you."
            )
            return redirect("notice_ways")
    return render(
        request, "breakglass/notice_ways.html", _facts(request, form), status=422 if form.errors else 200
    )


@require_POST
def notice_way_try(request: HttpRequest, route_id: UUID) -> HttpResponse:
    problem = notice_routes.try_out(person_of(request), route_id, clock.now())
    if problem:
        messages.error(request, f"The test didn't get through: {problem}.")
    else:
        messages.success(request, "The test was taken. Look whether it has arrived.")
    return redirect("notice_ways")


@require_POST
def notice_way_switch(request: HttpRequest, route_id: UUID) -> HttpResponse:
    on = request.POST.get("on") == "1"
    route = notice_routes.switch(person_of(request), route_id, on, clock.now())
    messages.success(request, f"{route.name} is {'used again' if on else 'not used for now'}.")
    return redirect("notice_ways")


@require_POST
def notice_way_remove(request: HttpRequest, route_id: UUID) -> HttpResponse:
    notices.remove_way(person_of(request), route_id, clock.now())
    messages.success(request, "It is removed, and its address with it.")
    return redirect("notice_ways")


def _facts(request: HttpRequest, form: WayForm) -> dict[str, Any]:
    person = person_of(request)
    ways = [
        {"route": route, "label": notice_routes.label_of(route)}
        for route in NoticeRoute.objects.filter(person=person)
    ]
    kinds = sorted({kind.label for kind in KINDS.values()}, key=str.casefold)
    return {"me": person, "ways": ways, "form": form, "kinds": kinds, "examples": EXAMPLES}
