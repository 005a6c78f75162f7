"""What the player posts of what was watched: as JSON while it plays, as a form when the page goes away."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from breakglass import clock
from sessions.models import Coverage, SSHSession
from tests.web.conftest import Enter
from tests.web.stage import Scene


def opened(vera: Client, scene: Scene) -> dict[str, object]:
    """What a player that has fetched the recording can show."""
    address = f"/sessions/{scene.ended_session}"
    index = vera.post(f"{address}/viewing/").json()
    last = len(index["starts"]) - 1
    ticket = index["ticket"]
    answer = vera.get(
        reverse("session_chunks", args=[scene.ended_session, 0, last]), headers={"X-Viewing": ticket}
    )
    assert answer.status_code == 200
    return {"viewing": ticket, "served": [answer["X-Served"]]}


def test_json_and_a_beacons_form_add_up(scene: Scene, enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    vera, path = enter("vera"), f"/sessions/{scene.ended_session}/coverage/"
    proof = opened(vera, scene)
    later = clock.now() + timedelta(minutes=1)  # nobody watches more than sixteen times as fast
    monkeypatch.setattr(clock, "now", lambda: later)
    length = SSHSession.objects.get(pk=scene.ended_session).recording.seconds
    half, rest = round(length / 2, 2), round(length, 2)
    body = json.dumps({"ranges": [[0, half / 2], [half / 3, half]], **proof})
    first = vera.post(path, body, content_type="application/json")
    assert first.json()["ranges"] == [[0, half]]
    second = vera.post(path, {"told": json.dumps({"ranges": [[half, rest]], **proof})})
    assert second.json() == {"percent": 100, "ranges": [[0, rest]], "seconds": length}


def test_without_a_viewing_nothing_counts(scene: Scene, enter: Enter) -> None:
    vera, path = enter("vera"), f"/sessions/{scene.ended_session}/coverage/"
    for told in ({}, {"viewing": 7, "served": "x"}, {"viewing": "x", "served": [7]}):
        body = json.dumps({"ranges": [[0, 1]], **told})
        answer = vera.post(path, body, content_type="application/json")
        assert (answer.status_code, answer.json()["refusal"]) == (403, "not_allowed")
        assert vera.post(path, {"told": body}).status_code == 403
    assert not Coverage.objects.exists()


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"7", b"{", b'{"ranges": NaN}', b'{"ranges": [[0, 1e999]]}', b"\xff\xfe", b"[" * 9000],
)
def test_what_cant_be_read_is_refused_in_words(scene: Scene, enter: Enter, body: bytes) -> None:
    answer = enter("vera").post(
        f"/sessions/{scene.ended_session}/coverage/", body, content_type="application/json"
    )
    assert (answer.status_code, answer.json()["refusal"]) == (422, "bad_input")
    assert not Coverage.objects.exists()


def test_without_the_token_nothing_is_taken(scene: Scene, enter: Enter) -> None:
    vera = enter("vera")
    vera.handler.enforce_csrf_checks = True
    assert vera.post(f"/sessions/{scene.ended_session}/coverage/", {"told": "{}"}).status_code == 403
    assert not Coverage.objects.exists()
