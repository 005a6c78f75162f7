"""Searching and reading transcripts in the browser and the API: links to seconds, hostile text as text, nobody else's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyte
import pytest
from django.test import Client

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.models import AuditEvent, Grant
from breakglass.services import tokens
from sessions.models import SearchLook, SSHSession
from sessions.services import search_index, transcripts
from tests.recording.hostile_corpus import HOSTILE
from tests.recording.test_transcripts import recorded, typed
from tests.services import stage
from tests.services.scene import Scene
from tests.support.cast import Cast
from tests.support.clock import FrozenClock
from tests.web.conftest import Enter

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(cast: Cast, time: FrozenClock, settings: Any, tmp_path: Path) -> Scene:
    stage.keep_in(settings, tmp_path)
    return Scene(cast, time)


@pytest.fixture
def grant(scene: Scene) -> Grant:
    return scene.granted()


@pytest.fixture
def session(scene: Scene, grant: Grant) -> SSHSession:
    shown = typed(
        ("systemctl restart historian", b"<b>restarted</b> & fine\r\n"),
        ("cat notes", b"".join(case.data for case in HOSTILE if len(case.data) < 4000)),
    )
    done = recorded(scene, grant, shown)
    transcripts.render_due(scene.now)
    search_index.index_due()
    return done


def test_a_hit_leads_to_its_second(session: SSHSession, enter: Enter) -> None:
    page = enter("rita").post("/search/", {"q": "restart"}).content.decode()
    assert f"/sessions/{session.pk}/replay/?t=" in page and "<mark>restart</mark>" in page
    answer = enter("rita").post("/search/", {"q": "restart"}, headers={"HX-Request": "true"})
    part = answer.content.decode()
    assert answer["HX-Replace-Url"] == "/search/?q=restart"
    assert "<html" not in part and "<mark>restart</mark>ed" in part


def test_a_hits_link_opens_the_replay_where_the_text_is_on_the_screen(
    session: SSHSession, enter: Enter
) -> None:
    client = enter("rita")
    page = client.post("/search/", {"q": "restarted", "kind": "output"}).content.decode()
    links = re.findall(rf'href="(/sessions/{session.pk}/replay/\?t=(\d+))"', page)
    (link, second) = links[0]
    assert client.get(link).status_code == 200
    events = b"".join(client.get(f"/sessions/{session.pk}/recording.cast")).decode().splitlines()[1:]
    for until, there in ((int(second) + 1, True), (int(second) - 1, False)):
        screen = pyte.Screen(80, 24)
        stream = pyte.Stream(screen)
        for time, code, data in map(json.loads, events):
            if code == "o" and time <= until:
                stream.feed(data)
        assert any("restarted" in line for line in screen.display) is there


def test_a_program_with_shells_inside_says_so(scene: Scene, grant: Grant, enter: Enter) -> None:
    inside = b"\x1b[?1049h\x1b[2J\x1b[Hops@hist-01:~$ uptime\r\n up 3 days\r\n\x1b[?1049l"
    done = recorded(scene, grant, typed(("tmux attach", inside)))
    transcripts.render_due(scene.now)
    client = enter("rita")
    page = client.get(f"/sessions/{done.pk}/transcript/").content.decode()
    text = b"".join(client.get(f"/sessions/{done.pk}/transcript.txt")).decode()
    for said in (page, text):
        assert "Full-screen program" in said or "full-screen" in said
        assert "What was run inside it is not told apart" in said


def test_what_was_shown_is_text_and_nothing_else(session: SSHSession, enter: Enter) -> None:
    client = enter("rita")
    for word in ("restarted", "alert", "onerror", "onload", "click", "textarea"):
        page = client.post("/search/", {"q": word}).content.decode()
        assert "<mark>" in page, word
        for harm in ("<script>alert", "<img src=x", "<svg/onload", "\x1b", "\u202e", 'href="javascript'):
            assert harm not in page, (word, harm)
    page = client.get(f"/sessions/{session.pk}/transcript/").content.decode()
    assert "&lt;b&gt;restarted&lt;/b&gt; &amp; fine" in page and "systemctl restart historian" in page
    for harm in ("<script>alert", "<img src=x", "<svg/onload", "\x1b", "\u202e", 'href="javascript'):
        assert harm not in page, harm
    text = b"".join(client.get(f"/sessions/{session.pk}/transcript.txt")).decode()
    assert "$ systemctl restart historian   (inferred" in text
    assert not any(char in text for char in "\x1b\x00\u202e\x9b\r")


def test_others_find_nothing_of_it(session: SSHSession, enter: Enter) -> None:
    for name in ("rob", "nora"):
        page = enter(name).post("/search/", {"q": "restart"}).content.decode()
        assert "Nothing found" in page and str(session.pk) not in page
    assert "Nothing found" in enter("ada").post("/search/", {"q": "systemctl"}).content.decode()
    assert enter("ada").post("/search/", {"q": "hist-01"}).content.decode().count("data-hit") == 1
    assert SearchLook.objects.get().text == "hist-01"


def test_a_link_asks_nothing_and_a_foreign_page_can_ask_nothing(session: SSHSession, enter: Enter) -> None:
    """Nobody's name gets into the trail by what another page has their browser do."""
    otto = enter("otto")
    page = otto.get("/search/?q=restart").content.decode()
    assert 'value="restart"' in page and "data-hit" not in page and "Press Search" in page
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = otto.cookies
    assert strict.post("/search/", {"q": "restart"}).status_code == 403
    assert not SearchLook.objects.exists()
    assert not AuditEvent.objects.filter(tag=AuditTag.RECORDINGS_SEARCHED).exists()


def test_reading_a_transcript_is_on_record(session: SSHSession, enter: Enter) -> None:
    client = enter("otto")
    client.get(f"/sessions/{session.pk}/transcript/")
    b"".join(client.get(f"/sessions/{session.pk}/transcript.txt"))
    rows = AuditEvent.objects.filter(tag=AuditTag.TRANSCRIPT_VIEWED).order_by("seq")
    assert [row.data["download"] for row in rows] == [False, True]


def test_the_api_lists_inferred_commands_below_their_channel_and_searches(
    session: SSHSession, scene: Scene
) -> None:
    secret = tokens.issue_known(scene.cast.otto, "tests", clock.now())[1]
    client = Client(headers={"authorization": f"Bearer {secret}"})
    answer = client.get(f"/api/v1/sessions/{session.pk}/commands")
    assert answer.status_code == 200, answer.content
    rows = json.loads(answer.content)["items"]
    assert [(row["kind"], row["command"], row["exact"]) for row in rows[:2]] == [
        ("shell", "", True),
        ("shell", "systemctl restart historian", False),
    ]
    assert rows[1]["output"] == "<b>restarted</b> & fine" and rows[1]["began"] < rows[1]["ended"]
    found = json.loads(client.get("/api/v1/search?q=systemctl+rest").content)
    (one,) = found["items"]
    assert one["label"] == session.label and one["hits"][0]["kind"] == "command"
    assert one["hits"][0]["at"] == rows[1]["began"]
