"""Every error of the API has one shape, `{"refusal", "message", "needs"}`, whoever raised it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError

from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refusal
from breakglass.space import is_full_disk

log = logging.getLogger(__name__)


class Problem(Schema):
    """A coded no: `refusal` is stable and meant for programs, `message` says what to do, `needs` what is missing."""

    refusal: str
    message: str
    needs: list[str]


PROBLEMS = frozenset({400, 401, 403, 404, 405, 409, 413, 422, 423, 429, 500, 503, 507})


def answers(ok: Any, status: int = 200) -> dict[Any, Any]:
    """What an operation answers with: `ok`, or a Problem."""
    return {status: ok, PROBLEMS: Problem}


def respond(problem: Refusal) -> HttpResponse:
    """The refusal as a response."""
    response = JsonResponse(problem.as_dict(), status=problem.status)
    response["Cache-Control"] = "no-store"
    if problem.status == 401 and problem.code is RefusalCode.TOKEN_REQUIRED:
        response["WWW-Authenticate"] = 'Bearer realm="breakglass"'
    return response


def bad_input(text: str, status: int = 422, needs: tuple[str, ...] = ()) -> Refusal:
    """A refusal of the input's form."""
    return replace(refusal(RefusalCode.BAD_INPUT, problem=text, needs=needs), status=status)


def refusal_of(error: Exception) -> Refusal | None:
    """How the API says this error, or None when it is our own fault."""
    match error:
        case Refused():
            return error.refusal
        case AuthenticationError():
            return refusal(RefusalCode.TOKEN_REQUIRED)
        case ValidationError():
            return _validation(error)
        case Http404():
            return refusal(RefusalCode.NOT_FOUND, what="thing")
        case PermissionDenied():
            return refusal(RefusalCode.NOT_ALLOWED, verb="do that", who="an administrator")
        case RequestDataTooBig() | TooManyFieldsSent():
            return bad_input("The body is too large.", 413)
        case UnreadablePostError() | SuspiciousOperation():
            return bad_input("The request can't be read.", 400)
        case OperationalError() | InterfaceError():
            full = is_full_disk(error)
            return refusal(RefusalCode.DISK_FULL if full else RefusalCode.DATABASE_UNAVAILABLE)
        case HttpError():
            return bad_input(_sentence(error.message), error.status_code)
    return None


def guard(api: NinjaAPI) -> None:
    """Route every error of the API through `refusal_of`."""

    def handle(request: HttpRequest, error: Any) -> HttpResponse:
        return answer(request, error)

    for kind in (Exception, Http404, HttpError, ValidationError):
        api.add_exception_handler(kind, handle)


def answer(request: HttpRequest, error: Exception) -> HttpResponse:
    """The response to an error. Our own faults are logged whole and told without a trace."""
    problem = refusal_of(error)
    if problem is None:
        log.error("%s %s failed", request.method, request.path, exc_info=error)
        problem = refusal(RefusalCode.INTERNAL)
    elif problem.status >= 500:
        log.warning("%s %s: %s", request.method, request.path, error)
    return respond(problem)


def _validation(error: ValidationError) -> Refusal:
    names: list[str] = []
    parts: list[str] = []
    for detail in error.errors:
        name = _field(detail)
        if detail.get("type") == "missing" and name not in names:
            names.append(name)
        parts.append(f"{name}: {_reason(detail)}")
    return bad_input("; ".join(parts) + ".", needs=tuple(names))


def _field(detail: Mapping[str, Any]) -> str:
    # The location begins with where it is from (body, query, path) and the name of our own parameter.
    steps = [str(step) for step in detail.get("loc", ())]
    inner = steps[2:] if steps[:1] == ["body"] and len(steps) > 2 else steps[1:]
    return ".".join(inner) or "body"


def _reason(detail: Mapping[str, Any]) -> str:
    kind = detail.get("type")
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "isn't a field of this"
    return str(detail.get("msg", "is wrong")).removeprefix("Value error, ")


def _sentence(text: str) -> str:
    return text.rstrip(".") + "."
