"""How a recording is kept, in the API."""

from __future__ import annotations

from datetime import timedelta

from sessions import services
from sessions.models import Recording
from sessions.states import RecordingState
from tests.api.scene import Plant, Things


def test_an_auditor_holds_and_lifts_it(plant: Plant, things: Things) -> None:
    at = f"/sessions/{things.session.label}"
    before = plant.get("vera", f"{at}/recording").body
    assert (before["state"], before["held_at"], before["keep_until"]) == ("sealed", None, None)
    held = plant.post("otto", f"{at}/hold", {"reason": "a claim"})
    assert (held.status, held.body["held_by"], held.body["hold_reason"]) == (200, "otto", "a claim")
    again = plant.post("otto", f"{at}/hold", {"reason": "a claim"})
    assert (again.status, again.refusal) == (409, "recording_hold")
    lifted = plant.post("otto", f"{at}/unhold", {"reason": "settled"})
    assert (lifted.status, lifted.body["held_at"], lifted.body["held_by"]) == (200, None, None)
    for word in ("hold", "unhold"):
        unsaid = plant.post("otto", f"{at}/{word}", {})
        assert (unsaid.status, unsaid.refusal, unsaid.body["needs"]) == (422, "bad_input", ["reason"])


def test_a_deleted_one_answers_that_it_was(plant: Plant, things: Things) -> None:
    now = plant.clock.now
    Recording.objects.filter(session=things.session).update(
        keep_until=now - timedelta(days=1), state=RecordingState.DELETED, deleted_at=now
    )
    at = f"/sessions/{things.session.label}"
    for path in ("recording.cast", "files/9.1/content"):
        answer = plant.get("vera", f"{at}/{path}")
        assert (answer.status, answer.refusal) == (410, "recording_deleted")
    assert plant.get("vera", f"{at}/recording").body["state"] == "deleted"
    assert plant.get("vera", at).body["recording"] == "deleted"
    assert plant.post("otto", f"{at}/hold", {"reason": "late"}).refusal == "recording_deleted"
    assert services.delete_due(now) == 1, "what was decided is finished"
