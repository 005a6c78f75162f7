"""The OpenAPI document is sound, complete and open; the docs page needs nothing from elsewhere and no exception."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from ninja import NinjaAPI

PUBLIC = [
    "GET /requests", "POST /requests", "GET /requests/{ref}", "POST /requests/{ref}/approve",
    "POST /requests/{ref}/deny", "POST /requests/{ref}/withdraw", "GET /grants", "GET /grants/{ref}",
    "POST /grants/{ref}/release", "POST /grants/{ref}/revoke", "POST /grants/{ref}/extend",
    "POST /grants/{ref}/connect-code", "POST /grants/{ref}/certificate", "GET /sessions",
    "GET /sessions/{ref}", "POST /sessions/{ref}/kill", "POST /sessions/{ref}/freeze",
    "POST /sessions/{ref}/unfreeze", "GET /sessions/{ref}/recording.cast", "GET /sessions/{ref}/commands", "GET /sessions/{ref}/files",
    "GET /sessions/{ref}/files/{label}/content",
    "POST /reviews/{number}/claim", "POST /reviews/{number}/release", "GET /reviews/{number}/findings",
    "POST /reviews/{number}/findings", "GET /findings", "GET /findings/{number}", "POST /findings/{number}/follow",
    "POST /findings/{number}/close", "POST /findings/{number}/reopen", "POST /findings/{number}/withdraw",
    "GET /sessions/{ref}/chat", "POST /sessions/{ref}/chat",
    "GET /reviews", "GET /locks", "POST /locks", "GET /incidents", "POST /incidents", "GET /playbooks", "GET /assets",
    "GET /audit",
]  # fmt: skip


@pytest.fixture
def document(db: None) -> Any:
    return Client().get("/api/v1/openapi.json").json()


def operations(document: Any) -> list[tuple[str, str, Any]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_it_names_every_address_of_the_public_surface(document: Any) -> None:
    offered = {f"{method} {path.removeprefix('/api/v1')}" for method, path, _ in operations(document)}
    assert set(PUBLIC) <= offered


def test_it_is_a_sound_openapi_3_1_document(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "Breakglass"
    names = document["components"]["schemas"]
    for ref in _refs(document):
        assert ref.removeprefix("#/components/schemas/") in names, ref
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for _, path, operation in operations(document):
        declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path))
        assert operation["description"].strip(), path


def test_every_operation_needs_a_token_and_declares_the_shape_of_its_errors(document: Any) -> None:
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for _, path, operation in operations(document):
        assert operation["security"], path
        for status in ("401", "403", "404", "422", "500"):
            content = operation["responses"][status]["content"]["application/json"]
            assert content["schema"]["$ref"].endswith("/Problem"), path


def test_anybody_may_ask_for_it_often(document: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made once: asking costs nobody anything."""
    monkeypatch.setattr(NinjaAPI, "get_openapi_schema", None)
    assert Client().get("/api/v1/openapi.json").json() == document


def test_the_docs_page_stands_under_the_strict_policy(document: Any) -> None:
    response = Client().get("/api/v1/docs")
    html = response.content.decode()
    assert response.status_code == 200
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "<style" not in html
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"\s(style|on\w+)=", html)
    assert not re.search(r"""(src|href)=["'](https?:)?//""", html)


def test_the_docs_page_shows_every_operation_with_an_example(document: Any) -> None:
    html = Client().get("/api/v1/docs").content.decode()
    for method, path, operation in operations(document):
        assert f'id="{operation["operationId"]}"' in html
        assert f"{method} {path}" in html
    assert html.count("curl -H") >= len(operations(document))


def _refs(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in _refs(value)]
    if isinstance(node, list):
        return [ref for value in node for ref in _refs(value)]
    return []
