"""Joins the nouns to one API under /api/v1/, the data plane's by name, and keeps every answer in shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import re_path
from django.urls.resolvers import URLPattern
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI

from breakglass.api import assets, audit, docs, errors, grants, incidents, locks, playbooks, requests
from breakglass.api.auth import Bearer
from breakglass.domain.refusals import RefusalCode, refusal

DESCRIPTION = """\
Emergency access by program: the same rules, people and audit trail as the pages.

Send `Authorization: Bearer TOKEN`; a token is made on your profile page. Where the page asks for a code of your
second factor, send it as the field `otp`; a code counts once. Lists come in pages (`limit`, `offset`). An error is always
`{"refusal": CODE, "message": ..., "needs": [...]}`. Things are named by their id, or by the label that people
say (`REQ-12`, `INC-3`, `S-7`)."""

NOUNS = {
    "/requests": requests.router,
    "/grants": grants.router,
    "/incidents": incidents.router,
    "/playbooks": playbooks.router,
    "/assets": assets.router,
    "/locks": locks.router,
    "/audit": audit.router,
}


class Face(NinjaAPI):
    """Its document never changes while it runs, and anybody may ask for it: it is made once."""

    def get_openapi_schema(self, **where: Any) -> Any:
        key = repr(sorted(where.items()))
        known: dict[str, Any] = self.__dict__.setdefault("_documents", {})
        if key not in known:
            known[key] = super().get_openapi_schema(**where)
        return known[key]


def build() -> NinjaAPI:
    """The API with every noun of both planes."""
    api = Face(
        title="Breakglass",
        version="1",
        description=DESCRIPTION,
        auth=Bearer(),
        docs=docs.Page(),
        urls_namespace="api-v1",
    )
    errors.guard(api)
    for prefix, router in NOUNS.items():
        api.add_router(prefix, router)
    api.add_router("", import_string(settings.DATA_PLANE_API))
    return api


def urls() -> tuple[list[Any], str, str]:
    """What `breakglass.urls` includes at /api/v1/."""
    patterns, app_name, namespace = build().urls
    return [*map(_in_shape, patterns), re_path(r"^.*$", nothing_here)], app_name, namespace


@csrf_exempt
def nothing_here(request: HttpRequest) -> HttpResponse:
    """An address that the API doesn't have."""
    return errors.respond(refusal(RefusalCode.NOT_FOUND, what="address in the API"))


def _in_shape(pattern: Any) -> Any:
    if isinstance(pattern, URLPattern):
        pattern.callback = _shaped(pattern.callback)
    return pattern


def _shaped(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """The view, whose method errors and escaped exceptions are answered in the API's one shape."""

    @wraps(view)
    def shaped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if "\x00" in request.path:
            return nothing_here(request)
        try:
            if request.method == "POST" and not request.body:
                request._body = (
                    b"{}"  # nothing at all is an empty object: missing fields are then told by name
                )
            response = view(request, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  the outermost edge: logged whole, told without a trace
            return errors.answer(request, error)
        if response.status_code != 405:
            return response
        allowed = response.headers.get("Allow", "")
        problem = replace(errors.bad_input(f"{request.method} isn't offered here; {allowed} is."), status=405)
        answer = errors.respond(problem)
        answer["Allow"] = allowed
        return answer

    return shaped
