"""An emergency by program: the same job as by page, with the same second factors."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import AsyncRequestFactory

from breakglass.models import AuditEvent
from breakglass.services import audit
from sessions import services as data_plane
from sessions.services.recordings import store
from sessions.streaming import stream
from tests.api.scene import Plant, Things, opened_session

REASON = "The trend has stopped; restart the service"


@pytest.fixture
def asked(plant: Plant) -> Any:
    """Rita's request, as the API gave it back."""
    incident = plant.post("rita", "/incidents", {"title": "The historian stopped"}).body
    form = {
        "playbook": "historian-down",
        "incident": incident["label"],
        "assets": ["hist-01"],
        "reason": REASON,
    }
    answer = plant.post("rita", "/requests", form)
    assert answer.status == 201
    return answer.body


def test_from_plea_to_signed_review(plant: Plant, asked: Any) -> None:
    assert (asked["state"], asked["minutes"], asked["approvals_needed"]) == ("pending", 60, 1)
    assert [r["label"] for r in plant.get("ada", "/requests?waiting=true").body["items"]] == [asked["label"]]

    yes = plant.post(
        "ada", f"/requests/{asked['label']}/approve", {"otp": plant.otp("ada"), "comment": "go on"}
    )
    assert (yes.body["state"], yes.body["approvals"][0]["person"]) == ("approved", "ada")

    grant = plant.get("rita", f"/grants/{yes.body['grant']}").body
    assert (grant["state"], grant["digest"]) == ("active", asked["digest"])
    assert any(way.endswith("rita+operator@hist-01@127.0.0.1") for way in grant["ssh"])

    over = plant.post("rita", f"/grants/{grant['id']}/release").body
    assert (over["state"], over["ssh"]) == ("released", [])

    data_plane.open_due_reviews(plant.clock.now)
    (due,) = plant.get("vera", "/reviews?mine=true&state=due").body["items"]
    signed = plant.post(
        "vera", f"/reviews/{due['id']}/sign", {"verdict": "in_order", "otp": plant.otp("vera")}
    )
    assert (signed.body["state"], signed.body["reviewer"]) == ("signed", "vera")

    closed = plant.post("rita", f"/incidents/{asked['incident']['label']}/close")
    assert (closed.status, closed.body["state"]) == (200, "closed")
    assert audit.verify().ok


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/requests/{pending}/approve", {}),
        ("/requests/{pending}/deny", {"comment": "no"}),
        ("/grants/{live}/revoke", {"reason": "over"}),
    ],
)
def test_what_needs_a_second_factor_asks_for_otp(
    plant: Plant, things: Things, path: str, body: dict[str, str]
) -> None:
    answer = plant.post("ben", things.fill(path), body)
    assert (answer.status, answer.refusal, answer.body["needs"]) == (401, "second_factor_required", ["otp"])


def test_a_code_counts_once(plant: Plant, things: Things) -> None:
    code = plant.otp("ben")
    assert plant.post("ben", things.fill("/requests/{pending}/approve"), {"otp": code}).status == 200
    answer = plant.post("ben", things.fill("/grants/{live}/revoke"), {"otp": code, "reason": "over"})
    assert (answer.status, answer.refusal) == (403, "second_factor_used")


def test_a_wrong_code_changes_nothing_and_is_audited(plant: Plant, things: Things) -> None:
    path = things.fill("/requests/{pending}")
    wrong = f"{(int(plant.otp('ben')) + 1) % 10**6:06d}"
    assert plant.post("ben", f"{path}/approve", {"otp": wrong}).refusal == "second_factor_wrong"
    assert plant.get("ben", path).body["state"] == "pending"
    assert AuditEvent.objects.filter(tag="approvals:approval:refused").exists()


def test_nobody_approves_their_own_request_and_is_told_so_before_the_code(plant: Plant, asked: Any) -> None:
    answer = plant.post("rita", f"/requests/{asked['id']}/approve", {})
    assert (answer.status, answer.refusal) == (403, "own_request")


def test_an_unanswered_request_reads_as_lapsed_before_any_task_ran(plant: Plant, asked: Any) -> None:
    plant.clock.forward(minutes=30)
    assert plant.get("rita", f"/requests/{asked['id']}").body["state"] == "lapsed"
    code = plant.otp("ada")
    assert plant.post("ada", f"/requests/{asked['id']}/approve", {"otp": code}).refusal == "request_lapsed"


def test_a_grant_reads_as_expired_before_any_task_ran(plant: Plant, things: Things) -> None:
    plant.clock.forward(minutes=61)
    grant = plant.get("rita", things.fill("/grants/{live}")).body
    assert (grant["state"], grant["ssh"]) == ("expired", [])
    assert things.fill("{live}") not in [
        g["id"] for g in plant.get("rita", "/grants?live=true").body["items"]
    ]


def test_more_time_is_asked_for_and_approved_like_access(plant: Plant, things: Things) -> None:
    path = things.fill("/grants/{live}")
    before = plant.get("rita", path).body
    asked = plant.post(
        "rita", f"{path}/extend", {"reason": "the index is still being rebuilt", "minutes": 20}
    )
    assert (asked.status, asked.body["state"], asked.body["extends"]) == (201, "pending", before["id"])
    assert asked.body["grant"] is None
    assert (
        plant.post("rita", f"{path}/extend", {"reason": "and even more of it"}).refusal == "extension_pending"
    )
    given = plant.post("ben", f"/requests/{asked.body['id']}/approve", {"otp": plant.otp("ben")})
    assert (given.status, given.body["state"]) == (200, "approved")
    after = plant.get("rita", path).body
    moved = datetime.fromisoformat(after["ends_at"]) - datetime.fromisoformat(before["ends_at"])
    assert (moved, after["minutes"]) == (timedelta(minutes=20), before["minutes"] + 20)
    assert (before["longest_extension"] > 0, after["longest_extension"]) == (True, 0)
    assert plant.post("rita", f"{path}/extend", {"reason": "and even more of it"}).refusal == "no_more_time"


def test_a_session_is_frozen_with_a_reason_or_without_and_goes_on(plant: Plant, things: Things) -> None:
    path = things.fill("/sessions/{open}")
    frozen = plant.post("ben", f"{path}/freeze", {"reason": "is this the right machine?"})
    assert (frozen.status, frozen.body["frozen_by"]) == (200, "ben")
    assert frozen.body["freeze_reason"] == "is this the right machine?" and frozen.body["frozen_at"]
    assert plant.get("rita", path).body["frozen_by"] == "ben"
    goes_on = plant.post("admin", f"{path}/unfreeze")
    assert (goes_on.status, goes_on.body["frozen_at"], goes_on.body["frozen_by"]) == (200, None, None)
    assert plant.post("ben", f"{path}/freeze").body["freeze_reason"] == ""
    ended = plant.post("ben", things.fill("/sessions/{session}/freeze"), {})
    assert (ended.status, ended.refusal) == (409, "session_not_live")


def test_an_end_has_its_receipt_in_the_session_and_in_the_grant(plant: Plant, things: Things) -> None:
    assert plant.get("rita", things.fill("/sessions/{open}")).body["receipt"] is None
    receipt = plant.get("rita", things.fill("/sessions/{session}")).body["receipt"]
    assert (receipt["session"], receipt["cause"], receipt["asked_by"]) == ("S-1", "client_closed", "rita")
    assert (receipt["cut_ms"], receipt["client_gone_ms"], receipt["estimated"]) == (0.0, None, False)
    assert plant.get("rita", things.fill("/grants/{ended}")).body["receipts"] == [receipt]
    assert plant.get("rita", things.fill("/grants/{live}")).body["receipts"] == []
    listed = plant.get("rita", "/grants").body["items"]
    assert sorted(len(row["receipts"]) for row in listed) == [0, 1]


def test_a_kill_reaches_one_session_and_not_its_neighbour(plant: Plant, things: Things) -> None:
    neighbour = opened_session(plant, things.live)
    assert plant.post("ben", things.fill("/sessions/{open}/kill"), {"reason": "wrong machine"}).status == 200
    things.open_session.refresh_from_db()
    neighbour.refresh_from_db()
    assert things.open_session.kill_requested_by == plant.people["ben"]
    assert neighbour.kill_requested_at is None
    again = plant.post("ben", things.fill("/sessions/{open}/kill"), {})
    assert (again.status, again.body["kill_requested_at"] is not None) == (200, True)
    ended = plant.post("ben", things.fill("/sessions/{session}/kill"), {})
    assert (ended.status, ended.refusal) == (409, "session_not_live")


def test_requests_can_be_narrowed_by_the_state_that_the_clock_says(plant: Plant, asked: Any) -> None:
    def count(state: str) -> int:
        return int(plant.get("rita", f"/requests?state={state}").body["count"])

    assert (count("pending"), count("lapsed"), count("approved")) == (1, 0, 0)
    plant.clock.forward(minutes=30)
    assert (count("pending"), count("lapsed"), count("approved")) == (0, 1, 0)


def test_the_recording_comes_as_asciicast_and_its_download_is_audited(plant: Plant, things: Things) -> None:
    answer = plant.get("vera", things.fill("/sessions/{session}/recording.cast"))
    assert answer.headers["Content-Type"] == "application/x-asciicast"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="S-1.cast"'
    assert answer.body.startswith(b'{"width":80,"height":24')
    assert b"hello from the historian" in answer.body
    event = AuditEvent.objects.get(tag="recordings:recording:downloaded")
    assert event.actor_name == "vera"


def test_pieces_are_sent_as_they_come_and_do_not_hold_up_the_event_loop() -> None:
    answer = stream(AsyncRequestFactory().get("/"), iter([b"a", b"b"]), "application/x-asciicast")

    async def collect() -> list[bytes]:
        return [piece async for piece in answer]

    assert answer.is_async
    assert asyncio.run(collect()) == [b"a", b"b"]


def test_a_recording_that_is_still_written_is_not_given_out(plant: Plant, things: Things) -> None:
    answer = plant.get("vera", things.fill("/sessions/{open}/recording.cast"))
    assert (answer.status, answer.refusal) == (409, "recording_open")


def test_one_flipped_byte_keeps_the_recording_in_and_alarms(plant: Plant, things: Things) -> None:
    file = store().sealed_path(things.session.pk)
    sealed = bytearray(file.read_bytes())
    sealed[len(sealed) // 2] ^= 1
    file.chmod(0o600)
    file.write_bytes(bytes(sealed))
    answer = plant.get("vera", things.fill("/sessions/{session}/recording.cast"))
    assert (answer.status, answer.refusal) == (409, "recording_damaged")
    assert AuditEvent.objects.filter(tag="recordings:recording:damaged").exists()


def test_the_commands_of_a_session(plant: Plant, things: Things) -> None:
    (command,) = plant.get("otto", things.fill("/sessions/{session}/commands")).body["items"]
    assert (command["kind"], command["command"], command["exit_status"]) == ("exec", "uptime", 0)


def test_sessions_can_be_narrowed(plant: Plant, things: Things) -> None:
    def count(query: str) -> int:
        return int(plant.get("otto", f"/sessions?{query}").body["count"])

    assert count("person=rita&asset=hist-01&playbook=historian-down&incident=INC-1") == 2
    assert count("open=true") == 1
    assert [count(q) for q in ("person=rob", "asset=hmi-02", "playbook=x", "incident=INC-9")] == [0, 0, 0, 0]
    assert count("since=2020-01-01T00:00:00Z") == 2
    assert count("until=2020-01-01T00:00:00Z") == 0


def test_the_trail_comes_in_pages_that_do_not_shift(plant: Plant, things: Things) -> None:
    first = plant.get("otto", "/audit?limit=5").body
    assert (len(first["items"]), first["limit"]) == (5, 5)
    assert first["count"] > 5
    plant.post("rita", "/incidents", {"title": "Another thing happened"})
    before = first["items"][-1]["seq"]
    rest = plant.get("otto", f"/audit?limit=5&before={before}").body["items"]
    assert [event["seq"] for event in rest] == [before - n for n in range(1, 6)]
    tag = plant.get("otto", "/audit?tag=grants:grant:issued").body
    assert {event["tag"] for event in tag["items"]} == {"grants:grant:issued"}


def test_a_refused_plea_says_why_and_is_audited(plant: Plant, asked: Any) -> None:
    form = {
        "playbook": "historian-down",
        "incident": asked["incident"]["id"],
        "assets": ["hmi-02"],
        "reason": REASON,
    }
    answer = plant.post("rita", "/requests", form)
    assert (answer.status, answer.refusal) == (422, "asset_outside_playbook")
    event = AuditEvent.objects.get(tag="requests:request:refused")
    assert event.data["refusal"] == "asset_outside_playbook"


def test_a_lock_refuses_and_lifting_it_allows(plant: Plant, asked: Any) -> None:
    lock = {"kind": "person", "subject": "rita", "reason": "odd logins", "otp": plant.otp("admin")}
    placed = plant.post("admin", "/locks", lock)
    assert (placed.status, placed.body["subject"]) == (201, "rita")
    code = plant.otp("ada")
    answer = plant.post("ada", f"/requests/{asked['id']}/approve", {"otp": code})
    assert (answer.status, answer.refusal) == (423, "locked")
    lifted = plant.post("admin", f"/locks/{placed.body['id']}/lift", {"otp": plant.otp("admin")})
    assert lifted.body["lifted_by"] == "admin"
    assert plant.post("ada", f"/requests/{asked['id']}/approve", {"otp": plant.otp("ada")}).status == 200
