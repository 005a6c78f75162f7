"""What the player posts of what was watched: as JSON while it plays, as a form when the page goes away."""

from __future__ import annotations

import json

import pytest

from sessions.models import Coverage
from tests.web.conftest import Enter
from tests.web.stage import Scene


def test_json_and_a_beacons_form_add_up(scene: Scene, enter: Enter) -> None:
    vera, path = enter("vera"), f"/sessions/{scene.ended_session}/coverage/"
    first = vera.post(path, json.dumps({"ranges": [[0, 9], [8, 10]]}), content_type="application/json")
    assert first.json()["ranges"] == [[0, 10]]
    second = vera.post(path, {"ranges": "[[10, 18]]"})
    assert second.json() == {"percent": 50, "ranges": [[0, 18]], "seconds": 36.0}


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
    assert vera.post(f"/sessions/{scene.ended_session}/coverage/", {"ranges": "[[0, 9]]"}).status_code == 403
    assert not Coverage.objects.exists()
