"""The wallboard, for the control room's screen and for whoever is logged in; and the administrators' page of kiosks.

A kiosk only looks: what its cookie opens is this page and nothing else. The page renews itself by fragments and asks for
the screens every two seconds; it loads itself anew when the server's version changes, so it runs for weeks.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from breakglass import clock
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refuse
from breakglass.domain.requests import RequestState
from breakglass.models import AccessRequest, Person
from breakglass.queries import visible_requests
from breakglass.web import live
from breakglass.web.step_up import StepUpForm
from breakglass.web.who import demand, has_both_factors, open_to_all, person_of
from sessions import services
from sessions.models import Kiosk
from sessions.services import kiosks, wall

COOKIE = "breakglass_wallboard"
PATH = "/wallboard/"
TEMPLATE = "gateway/parts/wallboard_live.html"
FROM_THE_WALL = "from the wallboard"


class PairForm(forms.Form):
    code = forms.CharField(
        label="Pairing code",
        max_length=32,
        help_text="An administrator makes one under Wallboards.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autofocus": True, "spellcheck": "false"}),
        error_messages={"required": "Type the pairing code."},
    )


class KioskForm(StepUpForm):
    name = forms.CharField(
        label="Where does it hang?",
        max_length=64,
        help_text="Such as: Control room 2. It is shown to people whose screens it shows.",
        error_messages={"required": "Name the screen."},
    )
    days = forms.IntegerField(
        label="For how many days?", initial=90, min_value=1, max_value=kiosks.LONGEST_DAYS
    )


@open_to_all
@require_safe
def wallboard(request: HttpRequest) -> HttpResponse:
    viewer = viewer_of(request)
    if viewer is None:
        return render(request, "gateway/wallboard_pair.html", {"form": PairForm()})
    html, _ = live.block(request, TEMPLATE, _context(viewer))
    kiosk = viewer if isinstance(viewer, Kiosk) else None
    return render(request, "gateway/wallboard.html", {"live": html, "kiosk": kiosk, "version": _version()})


@open_to_all
@sensitive_post_parameters("code")
@require_POST
def pair(request: HttpRequest) -> HttpResponse:
    """The device becomes the kiosk whose code was typed."""
    form = PairForm(request.POST)
    refused: Refusal | None = None
    if form.is_valid():
        try:
            paired = kiosks.pair(form.cleaned_data["code"], _address(request), clock.now())
        except Refused as no:
            refused = no.refusal
        else:
            return _with_cookie(redirect("wallboard"), paired)
    status = refused.status if refused else 422
    return render(request, "gateway/wallboard_pair.html", {"form": form, "refusal": refused}, status=status)


@open_to_all
@require_safe
def wallboard_live(request: HttpRequest) -> HttpResponse:
    viewer = viewer_of(request)
    if viewer is None:
        return _closed()
    html, mark = live.block(request, TEMPLATE, _context(viewer))
    return HttpResponse(status=204) if request.GET.get("seen") == mark else HttpResponse(html)


@open_to_all
@require_safe
def wallboard_events(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    return _closed() if viewer_of(request) is None else live.stream(["sessions"])


@open_to_all
@require_POST
def wallboard_screens(request: HttpRequest) -> HttpResponse:
    """What is on the screens: `{id: {"columns": 80, "rows": [...]}}`, plain text; `silent`: the disk doesn't answer, and they
    are old. A POST: that somebody looks is written down."""
    viewer = viewer_of(request)
    if viewer is None:
        return _closed()
    found, is_silent = wall.screens(viewer, clock.now())
    facts = {str(pk): {"columns": columns, "rows": rows} for pk, (columns, rows) in found.items()}
    return JsonResponse({"version": _version(), "screens": facts, "silent": is_silent})


@require_POST
def wallboard_freeze(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """One tap, for people who are logged in; a kiosk can't."""
    services.freeze(session_id, person_of(request), FROM_THE_WALL, clock.now())
    return redirect("wallboard")


@require_POST
def wallboard_unfreeze(request: HttpRequest, session_id: UUID) -> HttpResponse:
    services.unfreeze(session_id, person_of(request), clock.now())
    return redirect("wallboard")


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def kiosk_list(request: HttpRequest) -> HttpResponse:
    """Which screens there are; POST sets up one more and shows its pairing code, once."""
    person, now = person_of(request), clock.now()
    demand(person, Verb.MANAGE_KIOSKS)
    posted = request.POST if request.method == "POST" else None
    form = KioskForm(posted, person=person, action=kiosks.ACT, subject_field="name")
    refused: Refusal | None = None
    issued: kiosks.IssuedKiosk | None = None
    if posted is not None and form.is_valid():
        try:
            data = form.cleaned_data
            issued = kiosks.make(person, data["name"], data["days"], form.answer, now)
        except Refused as no:
            refused = _beside_the_code(form, no.refusal)
        else:
            form = KioskForm(None, person=person, action=kiosks.ACT, subject_field="name")
    rows = kiosks.standing(now).select_related("created_by")
    context = {"kiosks": rows, "form": form, "refusal": refused, "issued": issued}
    status = refused.status if refused else 422 if form.errors else 200
    return render(request, "gateway/kiosks.html", context, status=status)


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def kiosk_revoke(request: HttpRequest, kiosk_id: UUID) -> HttpResponse:
    person, now = person_of(request), clock.now()
    demand(person, Verb.MANAGE_KIOSKS)
    kiosk = kiosks.standing(now).filter(pk=kiosk_id).first()
    if kiosk is None:
        raise refuse(RefusalCode.NOT_FOUND, what="kiosk")
    posted = request.POST if request.method == "POST" else None
    form = StepUpForm(posted, person=person, action=kiosks.REVOKE, subject=kiosk_id)
    refused: Refusal | None = None
    if posted is not None and form.is_valid():
        try:
            kiosks.revoke(kiosk_id, person, form.answer, now)
        except Refused as no:
            refused = _beside_the_code(form, no.refusal)
        else:
            return redirect("kiosks")
    status = refused.status if refused else 422 if form.errors else 200
    return render(
        request,
        "gateway/kiosk_revoke.html",
        {"kiosk": kiosk, "form": form, "refusal": refused},
        status=status,
    )


def viewer_of(request: HttpRequest) -> Person | Kiosk | None:
    """The person who is logged in, or the kiosk that this device is; a person's own right goes first."""
    if isinstance(request.user, Person) and has_both_factors(request.user):
        return request.user
    return kiosks.of_device(request.COOKIES.get(COOKIE, ""), _address(request), clock.now())


def _context(viewer: Person | Kiosk) -> dict[str, Any]:
    tiles, more = wall.tiles(viewer)
    requests = AccessRequest.objects.all() if isinstance(viewer, Kiosk) else visible_requests(viewer)
    return {
        "tiles": tiles,
        "more": more,
        "waiting_escort": sum(tile.session.escort_missing_at is not None for tile in tiles),
        "frozen": sum(tile.session.frozen_at is not None for tile in tiles),
        "requests": requests.filter(state=RequestState.PENDING, lapses_at__gt=clock.now()).count(),
    }


def _version() -> str:
    """Another one once the page's own files have changed: in use their names carry a hash."""
    return static("breakglass/js/wallboard.js") + static("breakglass/css/wallboard.css")


def _with_cookie(response: HttpResponse, paired: kiosks.PairedKiosk) -> HttpResponse:
    left = paired.row.expires_at - clock.now()
    response.set_cookie(
        COOKIE,
        paired.secret,
        max_age=int(left.total_seconds()),
        path=PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )
    return response


def _closed() -> HttpResponse:
    return HttpResponse("This screen may not look any more.", status=401, content_type="text/plain")


def _beside_the_code(form: forms.Form, no: Refusal) -> Refusal | None:
    if "otp" not in no.needs and no.code is not RefusalCode.THROTTLED:
        return no
    form.add_error("code", f"{no.message} {no.help}".strip())
    return None


def _address(request: HttpRequest) -> str:
    return request.META.get("REMOTE_ADDR") or "127.0.0.1"
