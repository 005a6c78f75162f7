"""Pages that follow what happens: fragments by mark, and a stream that rings with Redis and without."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from breakglass import clock, doorbell
from breakglass.models import Grant, Incident
from breakglass.web import live
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene

FRAGMENTS = ("/", "/inbox/", "/requests/{pending}/", "/sessions/{live_session}/")


@pytest.mark.django_db
@pytest.mark.parametrize("path", FRAGMENTS)
def test_what_was_seen_is_not_sent_again(scene: Scene, enter: Enter, path: str) -> None:
    ben, path = enter("ben"), path.format(**vars(scene))
    page = ben.get(path).content.decode()
    asked = re.search(r'hx-get="([^"]+seen=[^"]+)"', page)
    assert asked and "@@" not in asked[1]
    assert ben.get(asked[1], headers={"HX-Request": "true"}).status_code == 204
    fresh = ben.get(asked[1].partition("?")[0], headers={"HX-Request": "true"})
    assert fresh.status_code == 200 and b"<html" not in fresh.content
    assert asked[1] in fresh.content.decode()


@pytest.mark.django_db
def test_a_change_is_sent(scene: Scene, enter: Enter) -> None:
    rob = enter("rob")
    asked = re.search(r'hx-get="([^"]+)"', rob.get(f"/requests/{scene.pending}/").content.decode())
    assert asked
    ask = stage.AccessRequest.objects.get(id=scene.pending)
    stage.approve(ask, "ben", clock.now())
    assert b"You are in" in rob.get(asked[1], headers={"HX-Request": "true"}).content


@pytest.mark.django_db
def test_what_is_over_leaves_the_strip_too(scene: Scene, enter: Enter) -> None:
    rita = enter("rita")
    page = rita.get(f"/requests/{scene.live}/").content.decode()
    asked = re.search(r'hx-get="([^"]+)"', page)
    link = f'<a href="/requests/{scene.live}/"><b>'
    assert asked and link in page
    stage.release(Grant.objects.get(request_id=scene.live), clock.now())
    fresh = rita.get(asked[1], headers={"HX-Request": "true"}).content.decode()
    assert 'hx-swap-oob="true"' in fresh and link not in fresh


@pytest.mark.django_db
def test_time_alone_changes_nothing(scene: Scene, enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    rita = enter("rita")
    asked = re.search(r'hx-get="([^"]+)"', rita.get(f"/requests/{scene.live}/").content.decode())
    soon = clock.now() + stage.timedelta(minutes=2)
    monkeypatch.setattr(clock, "now", lambda: soon)
    assert asked and rita.get(asked[1], headers={"HX-Request": "true"}).status_code == 204


@pytest.mark.django_db
def test_a_request_in_text_cannot_fool_the_mark(scene: Scene, enter: Enter) -> None:
    incident = Incident.objects.get(id=scene.incident)
    ask = stage.ask("rob", "historian-down", incident, clock.now(), reason="@@seen@@ is what I typed")
    page = enter("rob").get(f"/requests/{ask.id}/").content.decode()
    assert "@@seen@@ is what I typed" in page and "seen=@@" not in page


@pytest.mark.django_db
def test_the_stream_is_closed_to_who_may_not_see(scene: Scene, enter: Enter) -> None:
    asks = {"headers": {"Accept": "text/event-stream"}}
    assert enter("nobody").get(f"/requests/{scene.live}/events/", **asks).status_code == 401
    assert enter("rob").get(f"/requests/{scene.live}/events/", **asks).status_code == 404
    open_ = enter("rita").get(f"/requests/{scene.live}/events/", **asks)
    assert open_["Content-Type"] == "text/event-stream" and "no-store" in open_["Cache-Control"]


def _first(count: int) -> list[bytes]:
    async def read() -> list[bytes]:
        found: list[bytes] = []
        async for piece in live._rings(["request:1"]):
            found.append(piece)
            if len(found) == count:
                break
        return found

    return asyncio.run(read())


def test_the_stream_rings_by_itself_when_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Redis listens in these tests."""
    monkeypatch.setattr(live, "WITHOUT_REDIS", 0.01)
    rings = [piece for piece in _first(5) if b"event: ring" in piece]
    assert len(rings) == 4


def test_the_stream_rings_when_the_doorbell_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async def bell(topics: object, *, timeout: float) -> AsyncIterator[tuple[str, dict[str, str]] | None]:
        yield None
        yield ("request:1", {"state": "approved"})

    monkeypatch.setattr(doorbell, "alisten", bell)
    pieces = _first(4)
    assert pieces[0].startswith(b"retry:")
    assert (
        pieces[1] == b"event: ring\ndata: {}\n\n"
    )  # once at the start: whatever came while the page was on its way
    assert pieces[2].startswith(b":") and pieces[3] == b"event: ring\ndata: {}\n\n"
