"""A refusal as a page or as a fragment: the code, what it means, what to do next and who can help."""

from __future__ import annotations

import sys

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import loader

from breakglass.domain.refusals import Refusal, RefusalCode, refusal
from breakglass.space import is_full_disk
from breakglass.web import next_step


def page(request: HttpRequest, refused: Refusal) -> HttpResponse:
    """The refusal with its own status; a fragment for htmx, a whole page otherwise."""
    if getattr(request, "htmx", False):
        return render(request, "breakglass/parts/refusal.html", {"refusal": refused}, status=refused.status)
    context = {
        "refusal": refused,
        "step": next_step.step_after(request, refused),
        "helpers": next_step.helpers_for(request, refused),
    }
    return render(request, "breakglass/refused.html", context, status=refused.status)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF check failed: almost always a page from before the last login."""
    return page(
        request,
        Refusal(
            code=RefusalCode.BAD_INPUT,
            message="This form didn't come from a fresh page of ours.",
            help="Nothing was changed. Go back, reload the page, and send it again.",
            status=403,
        ),
    )


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return page(
        request, refusal(RefusalCode.BAD_INPUT, problem="The browser sent something that can't be read.")
    )


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return page(request, refusal(RefusalCode.NOT_ALLOWED, verb="do that", who="an administrator"))


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return page(request, refusal(RefusalCode.NOT_FOUND, what="page"))


def _code_of(broken: BaseException | None) -> RefusalCode:
    if is_full_disk(broken):
        return RefusalCode.DISK_FULL
    return RefusalCode.DATABASE_UNAVAILABLE if isinstance(broken, DatabaseError) else RefusalCode.INTERNAL


def server_error(request: HttpRequest) -> HttpResponse:
    """Our own fault. The page needs no database: that may be what broke."""
    broken = sys.exc_info()[1]
    said = refusal(_code_of(broken))
    return HttpResponse(
        loader.get_template("breakglass/broken.html").render({"refusal": said}), status=said.status
    )
