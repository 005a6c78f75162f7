"""Whatever goes wrong is said in one shape, with a fitting status, and without a word about our insides."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import OperationalError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from breakglass.services import incidents
from tests.api.scene import Plant, Things

ASK = {
    "playbook": "historian-down",
    "incident": "INC-1",
    "assets": ["hist-01"],
    "reason": "The trend has stopped",
}


def test_an_address_that_is_not_there(plant: Plant) -> None:
    for path in ("/", "/nothing", "/requests/", "/requests/x/approve/now", "/reviews/one"):
        for who in (None, "rita"):
            answer = plant.get(who, path)
            assert (answer.status, answer.refusal) == (404, "not_found"), path


ABSENT: list[Any] = ["REQ-9999", "req-x", "0", "%00", "a%2Fb", "..", "REQ-\u0663", "x" * 3000]


def test_a_thing_that_is_not_there(plant: Plant) -> None:
    for name in ABSENT:
        for noun in ("requests", "grants", "sessions", "incidents", "assets", "playbooks"):
            answer = plant.get("otto", f"/{noun}/{name}")
            assert (answer.status, answer.refusal) == (404, "not_found"), (noun, name)


def test_a_method_that_is_not_offered(plant: Plant) -> None:
    answer = plant.call("rita", "DELETE", "/requests")
    assert (answer.status, answer.refusal) == (405, "bad_input")
    assert set(answer.headers["Allow"].split(", ")) >= {"GET", "POST"}


NO_JSON: list[Any] = [b"{", b"\xff\xfe", b"[1,2", b"nonsense"]


def test_a_body_that_is_no_json(plant: Plant) -> None:
    for body in NO_JSON:
        answer = plant.call("rita", "POST", "/requests", body)
        assert (answer.status, answer.refusal) == (400, "bad_input"), body


def test_no_body_at_all_is_an_empty_one(plant: Plant, things: Things) -> None:
    assert plant.post("ben", things.fill("/requests/{pending}/approve")).refusal == "second_factor_required"
    assert plant.post("ben", things.fill("/sessions/{open}/kill")).status == 200
    assert set(plant.post("rita", "/requests").body["needs"]) == {"playbook", "incident", "assets", "reason"}


def test_missing_fields_are_named_as_needs(plant: Plant) -> None:
    answer = plant.post("rita", "/requests", {"playbook": "historian-down"})
    assert (answer.status, answer.refusal) == (422, "bad_input")
    assert set(answer.body["needs"]) == {"incident", "assets", "reason"}


def test_a_mistyped_field_is_told_and_not_ignored(plant: Plant) -> None:
    answer = plant.post("rita", "/requests", {**ASK, "minuets": 5})
    assert answer.refusal == "bad_input"
    assert "minuets: isn't a field" in answer.body["message"]


WRONG: list[Any] = [
    {**ASK, "minutes": "x"},
    {**ASK, "minutes": 10**30},
    {**ASK, "assets": "hist-01"},
    {**ASK, "assets": ["x"] * 21},
    {**ASK, "reason": "a\x00b, and more"},
    {**ASK, "reason": 5},
    {**ASK, "login": ["operator"]},
    [],
    "text",
    None,
]


def test_values_of_the_wrong_kind_are_refused(plant: Plant) -> None:
    for body in WRONG:
        answer = plant.post("rita", "/requests", body)
        assert answer.status in (400, 422), body
        assert answer.refusal == "bad_input"


def test_a_body_that_is_too_large(plant: Plant) -> None:
    answer = plant.call("rita", "POST", "/requests", b'{"reason": "' + b"x" * 3_000_000 + b'"}')
    assert (answer.status, answer.refusal) == (413, "bad_input")


UNBOUNDED: list[Any] = ["limit=0", "limit=501", "limit=x", "offset=-1", "offset=99999999999"]


def test_paging_is_bounded(plant: Plant) -> None:
    for query in UNBOUNDED:
        assert plant.get("rita", f"/requests?{query}").refusal == "bad_input", query


NONSENSE: list[Any] = [
    "since=yesterday",
    "since=2026-11-21T10:00:00",
    "person=%00",
    "open=perhaps",
    "person=" + "x" * 99,
]


def test_filters_that_make_no_sense_are_refused(plant: Plant) -> None:
    for query in NONSENSE:
        assert plant.get("otto", f"/sessions?{query}").refusal == "bad_input", query


def test_our_own_fault_is_logged_whole_and_told_without_a_trace(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: Any) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(incidents, "open_incident", break_down)
    with caplog.at_level(logging.ERROR):
        answer = plant.post("rita", "/incidents", {"title": "Pump 3 stopped"})
    assert (answer.status, answer.refusal) == (500, "internal")
    assert "swordfish" not in str(answer.body)
    assert "swordfish" in caplog.text


def test_a_database_that_is_away_is_said_to_be_away(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_database(*_: Any) -> None:
        raise OperationalError("connection refused at 10.1.2.3")

    monkeypatch.setattr(incidents, "open_incident", no_database)
    answer = plant.post("rita", "/incidents", {"title": "Pump 3 stopped"})
    assert (answer.status, answer.refusal) == (503, "database_unavailable")
    assert "10.1.2.3" not in str(answer.body)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.text(max_size=5), max_size=3),
)
FIELDS = ["otp", "comment", "reason", "title", "kind", "subject", "verdict", "note", "playbook", "incident", "assets",
          "login", "minutes"]  # fmt: skip
POSTS = ["/requests", "/requests/{pending}/deny", "/grants/{live}/revoke", "/incidents", "/locks", "/locks/{lock}/lift",
         "/sessions/{open}/kill", "/reviews/{review}/sign"]  # fmt: skip


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sampled_from(["rita", "ben", "vera", "admin"]),
    st.sampled_from(POSTS),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5),
)
def test_no_body_whatever_breaks_it(
    plant: Plant, things: Things, who: str, path: str, body: dict[str, Any]
) -> None:
    assert plant.post(who, things.fill(path), body).status < 500


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        ["/requests", "/grants", "/sessions", "/reviews", "/locks", "/incidents", "/assets", "/audit"]
    ),
    st.sampled_from(
        ["state", "waiting", "mine", "since", "until", "person", "incident", "tag", "before", "limit"]
    ),
    st.text(max_size=20),
)
def test_no_filter_whatever_breaks_it(plant: Plant, path: str, name: str, value: str) -> None:
    query = urlencode({name: value.encode("utf-8", "replace")})
    assert plant.get("otto", f"{path}?{query}").status < 500


EXTREME: list[Any] = [
    "since=0001-01-01T00:00:00%2B14:00",
    "until=9999-12-31T23:59:59-14:00",
    "incident=INC-99999999999999999999",
]


def test_extreme_filters_find_nothing_and_break_nothing(plant: Plant) -> None:
    for query in EXTREME:
        assert plant.get("otto", f"/sessions?{query}").status in (200, 422), query


def test_extreme_numbers_find_nothing_and_break_nothing(plant: Plant) -> None:
    assert plant.get("otto", f"/reviews/{10**30}").status == 404
    assert plant.get("otto", f"/playbooks/historian-down?version={10**30}").status in (404, 422)
    assert plant.get("otto", f"/audit?before={10**30}").status == 422
