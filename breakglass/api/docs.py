"""The docs page: written out by the server from the OpenAPI document. No script, nothing from elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString
from ninja import NinjaAPI
from ninja.openapi.docs import DocsBase

from breakglass.web.markdown import render as render_markdown


@dataclass(frozen=True)
class Field:
    name: str
    kind: str
    required: bool


@dataclass(frozen=True)
class Operation:
    """One thing the API does, ready to show."""

    anchor: str
    method: str
    path: str
    summary: str
    note: SafeString
    queries: tuple[Field, ...]
    body: tuple[Field, ...]
    body_note: SafeString
    status: str
    answer: tuple[Field, ...]
    answer_note: SafeString
    example: str


class Page(DocsBase):
    """Plain HTML with an anchor an operation."""

    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        schema = json.loads(json.dumps(api.get_openapi_schema(path_params=kwargs), default=str))
        base = request.build_absolute_uri("/").rstrip("/")
        context = {
            "schema": schema,
            "about": render_markdown(schema["info"]["description"]),
            "nouns": nouns(schema, base),
            "openapi_url": self.get_openapi_url(api, kwargs),
        }
        return render(request, "breakglass/api.html", context)


def nouns(schema: dict[str, Any], base: str) -> dict[str, list[Operation]]:
    """Every operation of an OpenAPI document, by its first tag."""
    found: dict[str, list[Operation]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            found.setdefault(tag, []).append(_operation(schema, base, path, method, operation))
    return found


def _operation(
    schema: dict[str, Any], base: str, path: str, method: str, operation: dict[str, Any]
) -> Operation:
    body = _resolve(schema, _json_of(operation.get("requestBody", {})))
    status, good = next((s, r) for s, r in operation["responses"].items() if str(s).startswith("2"))
    answer = _resolve(schema, _json_of(good))
    # A list's answer is told by what it is a list of.
    told = _resolve(schema, answer.get("properties", {}).get("items", {}).get("items", answer))
    note = operation.get("description", "")
    return Operation(
        anchor=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=note.split(". ")[0].rstrip("."),
        note=render_markdown(note),
        queries=tuple(
            Field(p["name"], _kind(schema, p["schema"]), p.get("required", False))
            for p in operation.get("parameters", [])
            if p["in"] == "query"
        ),
        body=_fields(schema, body),
        body_note=render_markdown(body.get("description", "")),
        status=str(status) if told is answer else f"{status}: a page of",
        answer=_fields(schema, told),
        answer_note=render_markdown(told.get("description", good.get("description", "").replace("OK", ""))),
        example=_example(base, path, method, body),
    )


def _json_of(holder: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = holder.get("content", {}).get("application/json", {}).get("schema", {})
    return found


def _resolve(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    name = part.get("$ref", "").rpartition("/")[2]
    return schema["components"]["schemas"][name] if name else part


def _fields(schema: dict[str, Any], model: dict[str, Any]) -> tuple[Field, ...]:
    required = set(model.get("required", ()))
    return tuple(
        Field(name, _kind(schema, part), name in required)
        for name, part in model.get("properties", {}).items()
    )


def _kind(schema: dict[str, Any], part: dict[str, Any]) -> str:
    if "$ref" in part:
        inner = _resolve(schema, part)
        return str(part["$ref"].rpartition("/")[2]) if "properties" in inner else _kind(schema, inner)
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(_kind(schema, option) for option in part["anyOf"]))
    if "enum" in part:
        return ", ".join(str(value) for value in part["enum"])
    if part.get("type") == "array":
        return f"list of {_kind(schema, part.get('items', {}))}"
    return str(part.get("format") or part.get("type") or part.get("const") or "any")


def _example(base: str, path: str, method: str, body: dict[str, Any]) -> str:
    line = f"curl -H 'Authorization: Bearer TOKEN' {base}{path.replace('{', '').replace('}', '')}"
    if method == "get":
        return line
    wanted = {name: f"<{name}>" for name in body.get("required", ()) or body.get("properties", {})}
    data = f" -H 'Content-Type: application/json' -d '{json.dumps(wanted)}'" if wanted else ""
    return f"{line} -X {method.upper()}{data}"
