"""Judging through the REST face: claims, findings and chat say and refuse what the pages do."""

from __future__ import annotations

from breakglass.services import people
from sessions.models import Review
from tests.api.scene import Plant, Things


def test_a_finding_from_the_first_word_to_the_last(plant: Plant, things: Things) -> None:
    path = f"/reviews/{things.review.pk}"
    new = {
        "category": "unsafe",
        "severity": "high",
        "text": "Restarted twice",
        "session": things.session.label,
        "at": 0,
    }
    made = plant.post("vera", f"{path}/findings", new)
    assert (made.status, made.body["at"], made.body["open"]) == (201, 0, False)
    number = made.body["id"]
    assert [row["id"] for row in plant.get("otto", f"{path}/findings").body["items"]][-1] == number
    assert plant.get("vera", "/findings").body["count"] == 0, "they come with the signature"
    early = plant.post("otto", f"/findings/{number}/close", {"note": "Explained"})
    assert (early.status, early.refusal) == (409, "review_not_due")
    plant.post(
        "vera", f"{path}/sign", {"verdict": "questions", "note": "Why twice?", "otp": plant.otp("vera")}
    )
    found = plant.get("otto", "/findings?severity=high").body["items"]
    assert [row["id"] for row in found] == [number] and found[0]["open"] and found[0]["due_at"]
    assert plant.post("otto", f"/findings/{number}/follow", {"owner": "OT data services"}).body["owner"]
    closed = plant.post("otto", f"/findings/{number}/close", {"note": "The runbook says once now"}).body
    assert (closed["open"], closed["closed_by"]) == (False, "otto")
    again = plant.post("otto", f"/findings/{number}/close", {"note": "once more"})
    assert (again.status, again.refusal) == (409, "finding_closed")
    assert plant.post("otto", f"/findings/{number}/reopen", {"note": "It says so nowhere"}).body["open"]


def test_a_finding_that_is_none_is_refused_as_on_the_page(plant: Plant, things: Things) -> None:
    path = f"/reviews/{things.review.pk}/findings"
    good = {"category": "unsafe", "severity": "high", "text": "Restarted twice"}
    for bad, need in (
        ({"category": "bad"}, "category"),
        ({"severity": "bad"}, "severity"),
        ({"text": " "}, "text"),
        ({"at": 3.0}, "session"),
        ({"at": 1e300, "session": things.session.label}, "at"),
    ):
        answer = plant.post("vera", path, good | bad)
        assert (answer.status, answer.refusal, answer.body["needs"]) == (422, "bad_input", [need])
    assert plant.post("vera", path, good | {"session": things.open_session.label}).status == 404
    assert plant.post("vera", path, good | {"later": True}).status == 422


def test_a_claim_keeps_others_from_doing_the_same(plant: Plant, things: Things) -> None:
    people.set_groups(plant.people["nora"], ["reviewers"], by=None, now=plant.clock.now)
    path = f"/reviews/{things.review.pk}"
    mine = plant.post("vera", f"{path}/claim").body
    assert (mine["claimed_by"], bool(mine["claimed_until"])) == ("vera", True)
    other = plant.post("nora", f"{path}/claim")
    assert (other.status, other.refusal, other.body["needs"]) == (409, "review_claimed", ["over"])
    signing = plant.post("nora", f"{path}/sign", {"verdict": "in_order", "otp": plant.otp("nora")})
    assert (signing.status, signing.refusal) == (409, "review_claimed")
    assert plant.post("nora", f"{path}/claim", {"over": True}).body["claimed_by"] == "nora"
    assert plant.post("nora", f"{path}/release").body["claimed_by"] is None
    assert Review.objects.get(pk=things.review.pk).claimed_at is None


def test_chat_and_the_escort_are_in_the_sessions_shape(plant: Plant, things: Things) -> None:
    path = f"/sessions/{things.open_session.label}"
    said = plant.post("ben", f"{path}/chat", {"text": "Disk first\u202e"})
    assert (said.status, said.body["person"]) == (201, "ben") and "\u202e" not in said.body["text"]
    assert [row["text"] for row in plant.get("rita", f"{path}/chat").body["items"]] == [said.body["text"]]
    empty = plant.post("ben", f"{path}/chat", {"text": " "})
    assert (empty.status, empty.refusal) == (422, "bad_input")
    seen = plant.get("rita", path).body
    assert (seen["chat_messages"], seen["escort_needed"], seen["escort_groups"]) == (1, False, [])
    assert seen["escort_missing_at"] is None
    over = plant.post("ben", f"/sessions/{things.session.label}/chat", {"text": "too late"})
    assert (over.status, over.refusal) == (409, "session_not_live")
