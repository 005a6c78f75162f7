"""What a session did to files, in the API: the rows, and the kept copies with the viewing on record."""

from __future__ import annotations

import hashlib

from breakglass.models import AuditEvent
from sessions.services.recordings import store
from tests.api.scene import MOVED, Plant, Things


def test_the_rows_say_what_was_moved(plant: Plant, things: Things) -> None:
    body = plant.get("vera", f"/sessions/{things.session.pk}/files").body
    assert (body["count"], body["limit"], body["offset"]) == (1, 100, 0)
    (row,) = body["items"]
    assert (row["label"], row["verb"], row["path"], row["direction"]) == (
        "9.1",
        "write",
        "/srv/patch.tar",
        "up",
    )
    assert (row["bytes"], row["sha256"]) == (len(MOVED), hashlib.sha256(MOVED).hexdigest())
    assert (row["outcome"], row["kept"]) == ("done", True)
    assert plant.get("vera", f"/sessions/{things.session.pk}/files?offset=1").body["items"] == []
    assert plant.get("vera", f"/sessions/{things.open_session.pk}/files").body["count"] == 0


def test_a_kept_copy_is_given_as_it_was_moved_and_that_is_on_record(plant: Plant, things: Things) -> None:
    answer = plant.get("otto", f"/sessions/{things.session.label}/files/9.1/content")
    assert answer.body == MOVED
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    event = AuditEvent.objects.get(tag="recordings:file:downloaded")
    assert event.actor_name == "otto" and event.data["path"] == "/srv/patch.tar"
    for label in ("9.2", "9", "x", "-1.1", "9.99999999999999999999", "²9.1"):
        missing = plant.get("otto", f"/sessions/{things.session.label}/files/{label}/content")
        assert (missing.status, missing.refusal) == (404, "not_found"), label


def test_a_kept_copy_that_was_changed_is_not_given(plant: Plant, things: Things) -> None:
    path = store().kept_path(things.session.pk, 9, 1)
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(bytes(data))
    assert (
        plant.get("otto", f"/sessions/{things.session.pk}/files/9.1/content").refusal == "recording_damaged"
    )
    path.unlink()
    assert (
        plant.get("otto", f"/sessions/{things.session.pk}/files/9.1/content").refusal == "recording_damaged"
    )
    assert not AuditEvent.objects.filter(tag="recordings:file:downloaded").exists()
