"""Every endpoint, asked by every role: who gets in, who is told no, and who isn't even told that it is there."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from django.db import transaction

from breakglass.api import face
from tests.api.scene import Plant, Things
from tests.support.cast import new_key

# Who asks. All things are rita's, under historian-down, whose approvers are ada's and ben's group.
# nobody: no token. rob: another responder. ben: may approve. ivy: approves other playbooks only.
WHO = ("nobody", "rita", "rob", "ben", "ivy", "vera", "otto", "admin")

OTP = object()  # a fresh code of whoever asks
REASON = "The trend has stopped; restart the service"
KEY = new_key()[1]
ASK = {"playbook": "historian-down", "incident": "{incident}", "assets": ["hist-01"], "reason": REASON}


class Row(NamedTuple):
    """What is asked, and the answer to each of WHO."""

    method: str
    path: str
    answers: str
    body: dict[str, Any] | None = None


TABLE = [
    #                                      nobody rita rob ben ivy vera otto admin
    Row("GET", "/requests", "                 401 200 200 200 200 200 200 200"),
    Row("POST", "/requests", "                401 201 201 403 403 403 403 403", ASK),
    Row("GET", "/requests/{pending}", "       401 200 404 200 404 200 200 200"),
    Row("POST", "/requests/{pending}/approve", "401 403 404 200 404 403 403 403", {"otp": OTP}),
    Row("POST", "/requests/{pending}/deny", " 401 403 404 200 404 403 403 403", {"otp": OTP, "comment": "no"}),
    # 422: they may, but gave no yes.
    Row("POST", "/requests/{pending}/take-back", "401 422 404 422 404 422 422 422"),
    # Nobody here is a supervisor.
    Row("POST", "/requests/{pending}/override", "401 403 404 403 404 403 403 403", {"otp": OTP, "reason": "nobody answers"}),
    Row("POST", "/requests/{pending}/withdraw", "401 200 404 403 404 403 403 403"),
    Row("GET", "/grants", "                   401 200 200 200 200 200 200 200"),
    Row("GET", "/grants/{live}", "            401 200 404 200 404 200 200 200"),
    Row("POST", "/grants/{live}/release", "   401 200 404 403 404 403 403 403"),
    Row("POST", "/grants/{live}/revoke", "    401 403 404 200 404 403 403 200", {"otp": OTP, "reason": "over"}),
    Row("POST", "/grants/{live}/extend", "    401 201 404 403 404 403 403 403", {"reason": "not done yet, reindexing"}),
    Row("POST", "/grants/{live}/connect-code", "401 201 404 403 404 403 403 403", {"otp": OTP}),
    Row("POST", "/grants/{live}/certificate", "401 201 404 403 404 403 403 403", {"otp": OTP, "public_key": KEY}),
    Row("POST", "/grants/{live}/certificate/{serial}/revoke", "401 404 404 403 404 403 403 403"),
    Row("GET", "/grants/{ended}/evidence", "  401 403 404 403 404 200 200 200"),
    Row("GET", "/incidents", "                401 200 200 200 200 200 200 200"),
    Row("POST", "/incidents", "               401 201 201 201 201 403 403 201", {"title": "Pump 3 stopped"}),
    Row("GET", "/incidents/{incident}", "     401 200 200 200 200 200 200 200"),
    # 409: allowed, but a review is not signed yet.
    Row("POST", "/incidents/{incident}/close", "401 403 403 409 403 403 403 409"),
    Row("GET", "/playbooks", "                401 200 200 200 200 200 200 200"),
    Row("GET", "/playbooks/historian-down", " 401 200 200 200 200 200 200 200"),
    Row("GET", "/assets", "                   401 200 200 200 200 200 200 200"),
    Row("GET", "/assets/hist-01", "           401 200 200 200 200 200 200 200"),
    Row("POST", "/assets/hist-01/legacy-algorithms", "401 403 403 403 403 403 403 200", {"allowed": True, "otp": OTP}),
    Row("GET", "/locks", "                    401 403 403 403 403 403 403 200"),
    Row("POST", "/locks", "                   401 403 403 403 403 403 403 201",
        {"kind": "asset", "subject": "bms-04", "reason": "odd logins", "otp": OTP}),
    Row("POST", "/locks/{lock}/lift", "       401 403 403 403 403 403 403 200", {"otp": OTP}),
    Row("GET", "/audit", "                    401 403 403 403 403 403 200 403"),
    # 404: allowed, but no checkpoint was signed yet. 422: nobody says which two sizes.
    Row("GET", "/audit/checkpoint", "         401 403 403 403 403 403 404 403"),
    Row("GET", "/audit/{row}/proof", "        401 403 403 403 403 403 404 403"),
    Row("GET", "/audit/consistency", "        401 422 422 422 422 422 422 422"),
    Row("GET", "/sessions", "                 401 200 200 200 200 200 200 200"),
    Row("GET", "/sessions/{session}", "       401 200 404 200 404 200 200 200"),
    Row("GET", "/sessions/{session}/recording.cast", "401 200 404 403 404 200 200 403"),
    Row("GET", "/sessions/{session}/commands", "401 200 404 403 404 200 200 403"),
    Row("GET", "/sessions/{session}/files", "401 200 404 403 404 200 200 403"),
    Row("GET", "/sessions/{session}/chat", "  401 200 404 200 404 200 200 200"),
    Row("POST", "/sessions/{open}/chat", "    401 201 404 201 404 201 201 201", {"text": "Disk first"}),
    Row("GET", "/search?q=uname", "           401 200 200 200 200 200 200 200"),
    Row("GET", "/sessions/{session}/files/{file}/content", "401 200 404 403 404 200 200 403"),
    Row("GET", "/sessions/{session}/recording", "401 403 404 403 404 200 200 403"),
    Row("POST", "/sessions/{session}/hold", " 401 403 404 403 404 403 200 403", {"reason": "a claim"}),
    # 409: allowed, but it isn't held.
    Row("POST", "/sessions/{session}/unhold", "401 403 404 403 404 403 409 403", {"reason": "settled"}),
    Row("POST", "/sessions/{open}/kill", "    401 403 404 200 404 403 403 200", {"reason": "wrong machine"}),
    Row("POST", "/sessions/{open}/freeze", "  401 403 404 200 404 403 403 200"),
    Row("POST", "/sessions/{open}/unfreeze", "401 403 404 200 404 403 403 200"),
    Row("GET", "/reviews", "                  401 403 403 403 403 200 200 403"),
    Row("GET", "/reviews/{review}", "         401 404 404 404 404 200 200 404"),
    Row("POST", "/reviews/{review}/claim", "  401 404 404 404 404 200 403 404"),
    Row("POST", "/reviews/{review}/release", "401 404 404 404 404 200 403 404"),
    Row("GET", "/reviews/{review}/findings", "401 404 404 404 404 200 200 404"),
    Row("POST", "/reviews/{review}/findings", "401 404 404 404 404 201 403 404",
        {"category": "unsafe", "severity": "low", "text": "Restarted twice"}),
    Row("GET", "/findings", "                 401 403 403 403 403 200 200 403"),
    Row("GET", "/findings/{finding}", "       401 404 404 404 404 200 200 404"),
    # 409: allowed, but its review isn't signed yet, or it is open.
    Row("POST", "/findings/{finding}/follow", "401 404 404 404 404 409 409 404", {"owner": "OT data services"}),
    Row("POST", "/findings/{finding}/close", "401 404 404 404 404 409 409 404", {"note": "Explained"}),
    Row("POST", "/findings/{finding}/reopen", "401 404 404 404 404 409 409 404", {"note": "Not explained"}),
    Row("POST", "/findings/{finding}/withdraw", "401 404 404 404 404 200 404 404"),
    Row("POST", "/reviews/{review}/sign", "   401 404 404 404 404 200 403 404",
        {"verdict": "in_order", "otp": OTP}),
]  # fmt: skip


def test_the_table_names_every_endpoint() -> None:
    schema = face.build().get_openapi_schema(path_prefix="")
    offered = {(method.upper(), path) for path, methods in schema["paths"].items() for method in methods}
    assert len(offered) == len(TABLE)
    assert {(row.method, _pattern(row.path.partition("?")[0])) for row in TABLE} == {
        (m, _pattern(p)) for m, p in offered
    }


@pytest.mark.parametrize("noun", sorted({row.path.split("/")[1] for row in TABLE}))
def test_each_role_gets_the_answer_of_the_table(plant: Plant, things: Things, noun: str) -> None:
    rows = [row for row in TABLE if row.path.split("/")[1] == noun]
    found = {f"{row.method} {row.path}": _answers(plant, things, row) for row in rows}
    assert found == {f"{row.method} {row.path}": " ".join(row.answers.split()) for row in rows}


def test_a_stranger_cannot_tell_what_is_hidden_from_what_is_not_there(plant: Plant, things: Things) -> None:
    missing = "00000000-0000-4000-8000-000000000000"
    for path in ("/requests/{}", "/grants/{}", "/sessions/{}", "/sessions/{}/recording.cast"):
        noun = path.split("/")[1]
        there = {"requests": things.pending, "grants": things.live, "sessions": things.session}[noun]
        hidden = plant.get("rob", path.format(there.pk))
        absent = plant.get("rob", path.format(missing))
        assert (hidden.status, hidden.body) == (absent.status, absent.body)
        assert hidden.refusal == "not_found"


def test_lists_show_only_what_may_be_seen(plant: Plant, things: Things) -> None:
    seen = {who: [plant.get(who, f"/{noun}").body["count"] for noun in ("requests", "grants", "sessions")]
            for who in WHO[1:]}  # fmt: skip
    assert seen["rita"] == [3, 2, 2]
    assert seen["rob"] == [0, 0, 0]
    assert seen["ivy"] == [0, 0, 0]
    assert seen["ben"] == [3, 2, 2]
    assert seen["vera"] == seen["otto"] == seen["admin"] == [3, 2, 2]


def test_the_lists_and_the_rule_agree_for_everybody(plant: Plant, things: Things) -> None:
    """The lists filter in the database; `may` decides on the single thing. Neither shows what the other hides."""
    everything = {noun: [row["id"] for row in plant.get("otto", f"/{noun}").body["items"]]
                  for noun in ("requests", "grants", "sessions")}  # fmt: skip
    for who in WHO[1:]:
        for noun, ids in everything.items():
            listed = {row["id"] for row in plant.get(who, f"/{noun}").body["items"]}
            assert listed == {i for i in ids if plant.get(who, f"/{noun}/{i}").status == 200}, (who, noun)


def test_only_administrators_read_addresses_and_nobody_reads_secrets(plant: Plant) -> None:
    for who in WHO[1:]:
        asset = plant.get(who, "/assets/hist-01").body
        assert asset["address"] == ("127.0.0.1:22" if who == "admin" else None)
        assert not {"secret", "host", "credential", "password"} & set(asset)


def test_only_approvers_read_what_is_unusual(plant: Plant, things: Things) -> None:
    path = f"/requests/{things.pending.pk}"
    assert plant.get("ben", path).body["unusual"]
    assert plant.get("rita", path).body["unusual"] == []


def test_a_reviewer_who_approved_does_not_sign(plant: Plant, things: Things) -> None:
    group = plant.people["vera"].groups.get()
    plant.people["ada"].groups.add(group)
    answer = plant.post("ada", f"/reviews/{things.review.pk}/sign", {"verdict": "in_order"})
    assert (answer.status, answer.refusal) == (403, "review_conflict")


def _answers(plant: Plant, things: Things, row: Row) -> str:
    return " ".join(str(_status(plant, things, row, None if who == "nobody" else who)) for who in WHO)


def _status(plant: Plant, things: Things, row: Row, who: str | None) -> int:
    body = None
    if row.body is not None:
        code = plant.otp(who) if OTP in row.body.values() and who else "123456"
        body = {key: code if value is OTP else _fill(things, value) for key, value in row.body.items()}
    with transaction.atomic():
        answer = plant.call(who, row.method, things.fill(row.path), body)
        transaction.set_rollback(True)
    if answer.status >= 400:
        assert answer.refusal
    return answer.status


def _fill(things: Things, value: Any) -> Any:
    return things.fill(value) if isinstance(value, str) else value


def _pattern(path: str) -> str:
    """The path with every variable part alike, whatever the table writes in its place."""
    known = {"historian-down": "{x}", "hist-01": "{x}"}
    return "/".join("{x}" if step.startswith("{") else known.get(step, step) for step in path.split("/"))
