"""The middleware at the door: nobody passes without both factors, unless a view says it is open to all.

It also turns refusals into pages, forbids caching of what people see, and tells the browser the server's time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from breakglass import clock
from breakglass.domain.refusals import Refused
from breakglass.web import refused
from breakglass.web.who import has_both_factors

# The REST face authenticates by itself; health is for machines.
OPEN_PATHS = ("/api/", "/healthz")

PERMISSIONS_POLICY = (
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), microphone=(), "
    "midi=(), payment=(), serial=(), usb=()"
)


class Doorkeeper:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if not response.has_header("Cache-Control"):
            response["Cache-Control"] = "no-store, private"
        response["X-Server-Time"] = str(int(clock.now().timestamp() * 1000))
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return response

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        if getattr(view, "open_to_all", False) or request.path.startswith(OPEN_PATHS):
            return None
        if has_both_factors(request.user):
            return None
        if getattr(request, "htmx", False) or request.headers.get("Accept") == "text/event-stream":
            return HttpResponse("Log in first.", status=401, content_type="text/plain")
        wanted = f"?{urlencode({'next': request.get_full_path()})}" if request.method == "GET" else ""
        return redirect(reverse("login") + wanted)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, Refused) and not request.path.startswith("/api/"):
            return refused.page(request, exception.refusal)
        return None
