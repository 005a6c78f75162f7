"""The pages around watching: who may begin, whose watch a stream belongs to, the chat, and how a session is ended."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import pytest
from django.test import Client

from breakglass import clock
from breakglass.models import Grant, PlaybookVersion
from breakglass.services import playbooks
from playbooks.schema import PlaybookSpec
from sessions import services
from sessions.models import ChatMessage, SSHSession, Watch
from sessions.services import watching
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene, person

HOSTILE = "</script><img src=x onerror=alert(1)> \u202egnp.exe \x1b]52;c;cm0=\x07"


def url(scene: Scene, rest: str = "") -> str:
    return f"/sessions/{scene.live_session}/{rest}"


def begun(client: Client, scene: Scene) -> UUID:
    answer = client.post(url(scene, "watch/begin/"))
    assert answer.status_code == 200, answer.content
    return UUID(answer.json()["watch"])


def rule(scene: Scene, **changes: object) -> SSHSession:
    """The live session's playbook, as if it had said so when the session began."""
    session = SSHSession.objects.select_related("grant").get(pk=scene.live_session)
    version = PlaybookVersion.objects.get(pk=session.grant.playbook_id)
    spec = PlaybookSpec.from_plain({**version.spec, **changes}, stored=True)
    playbooks.publish([spec], clock.now())
    changed = PlaybookVersion.objects.get(slug=version.slug, retired_at=None)
    Grant.objects.filter(pk=session.grant_id).update(playbook=changed)
    if changes.get("escort"):
        SSHSession.objects.filter(pk=session.pk).update(escort_needed=True, escort_missing_at=clock.now())
    return SSHSession.objects.get(pk=session.pk)


def test_who_watches_is_on_the_page_of_everybody_in_it(scene: Scene, enter: Enter) -> None:
    ben, rita = enter("ben"), enter("rita")
    page = ben.get(url(scene, "watch/")).content.decode()
    assert "Freeze" in page and "End it" in page and "vendor/xterm.js" in page
    assert "Nobody watches just now" in rita.get(url(scene, "watchers/")).content.decode()
    watch = begun(ben, scene)
    assert "Ben Haddad" in rita.get(url(scene, "watchers/")).content.decode()
    assert "(you)" in ben.get(url(scene, "watchers/")).content.decode()
    assert "Watch live" in ben.get(url(scene)).content.decode()
    assert "Watch live" not in rita.get(url(scene)).content.decode()
    ben.post(url(scene, "watch/leave/"), {"watch": watch})
    assert "Nobody watches just now" in rita.get(url(scene, "watchers/")).content.decode()


def test_a_stream_is_only_for_the_person_of_its_watch_while_that_goes_on(scene: Scene, enter: Enter) -> None:
    ben, vera = enter("ben"), enter("vera")
    watch = begun(ben, scene)
    for claimed in (str(uuid4()), "x", ""):
        assert ben.get(url(scene, "watch/stream/"), {"watch": claimed}).status_code == 204
    assert vera.get(url(scene, "watch/stream/"), {"watch": watch}).status_code == 204
    assert vera.post(url(scene, "watch/beat/"), {"watch": watch}).status_code == 410
    vera.post(url(scene, "watch/leave/"), {"watch": watch})
    assert Watch.objects.get(pk=watch).ended_at is None
    stream = ben.get(url(scene, "watch/stream/"), {"watch": watch})
    assert stream["Content-Type"] == "text/event-stream"
    assert ben.post(url(scene, "watch/beat/"), {"watch": watch}).status_code == 204
    ben.post(url(scene, "watch/leave/"), {"watch": watch})
    assert ben.get(url(scene, "watch/stream/"), {"watch": watch}).status_code == 204
    assert ben.post(url(scene, "watch/beat/"), {"watch": watch}).status_code == 410


def test_nobody_watches_themselves_and_no_stranger_anybody(scene: Scene, enter: Enter) -> None:
    for who, status in (("rita", 403), ("rob", 404)):
        client = enter(who)
        for path in ("watch/", "watch/live/", f"watch/stream/?watch={uuid4()}"):
            assert client.get(url(scene, path)).status_code == status
        assert client.post(url(scene, "watch/begin/")).status_code == status
    assert enter("rob").get(url(scene, "chat/")).status_code == 404
    assert enter("rob").post(url(scene, "chat/say/"), {"text": "hello"}).status_code == 404
    assert not Watch.objects.exists() and not ChatMessage.objects.exists()


def test_chat_is_read_by_all_of_them_and_hostile_text_is_only_text(scene: Scene, enter: Enter) -> None:
    ben, rita = enter("ben"), enter("rita")
    answer = ben.post(url(scene, "chat/say/"), {"text": HOSTILE}, headers={"HX-Request": "true"})
    assert answer.status_code == 200 and answer["HX-Trigger"] == "chat-sent"
    page = rita.get(url(scene, "chat/")).content.decode()
    assert "<img" not in page and "\x1b" not in page and "\u202e" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    refused = rita.post(url(scene, "chat/say/"), {"text": "x" * 1001}, headers={"HX-Request": "true"})
    assert refused.status_code == 200 and "HX-Trigger" not in refused.headers
    assert "That is 1001 characters" in refused.content.decode()
    assert rita.post(url(scene, "chat/say/"), {"text": "Yes."}).status_code == 302
    assert [row.person.username for row in ChatMessage.objects.all()] == ["ben", "rita"]


def test_the_watcher_freezes_without_leaving_the_page(scene: Scene, enter: Enter) -> None:
    ben = enter("ben")
    done = ben.post(url(scene, "freeze/"), {"reason": "wrong machine"}, headers={"HX-Request": "true"})
    assert done.status_code == 204
    live = ben.get(url(scene, "watch/live/")).content.decode()
    assert "Frozen by Ben Haddad" in live and "wrong machine" in live and "Let it go on" in live
    assert ben.post(url(scene, "unfreeze/"), headers={"HX-Request": "true"}).status_code == 204
    assert "act-freeze" in ben.get(url(scene, "watch/live/")).content.decode()


def test_a_kill_asks_for_a_factor_where_the_playbook_does(scene: Scene, enter: Enter) -> None:
    rule(scene, kill_needs_factor=True)
    ben = enter("ben")
    assert 'name="code"' in ben.get(url(scene, "watch/")).content.decode()
    for code, says in (("", "Type the code"), ("000000", "wrong or too old")):
        answer = ben.post(url(scene, "kill/"), {"reason": "enough", "code": code})
        assert answer.status_code == 422 and says in answer.content.decode()
        assert "enough" in answer.content.decode(), "what was typed stays"
    assert SSHSession.objects.get(pk=scene.live_session).kill_requested_at is None
    right = {"reason": "enough", "code": stage.fresh_code("ben", clock.now())}
    assert ben.post(url(scene, "kill/"), right).status_code == 302
    assert SSHSession.objects.get(pk=scene.live_session).kill_requested_at is not None


def test_an_escort_is_called_told_what_they_are_and_found_by_the_page(scene: Scene, enter: Enter) -> None:
    rule(scene, escort=["auditors"])
    otto, ben = enter("otto"), enter("ben")
    assert "Watch as the escort" in otto.get(url(scene)).content.decode()
    listed = otto.get("/sessions/").content.decode()
    assert "Waiting for an escort" in listed and url(scene, "watch/") in listed
    assert "Waiting for an escort" not in ben.get("/sessions/").content.decode()
    begun(ben, scene)
    assert "Watching it yourself doesn't count" in ben.get(url(scene, "watch/")).content.decode()
    answer = otto.post(url(scene, "watch/begin/"))
    assert json.loads(answer.content)["escort"] is True
    assert "You are the escort" in otto.get(url(scene, "watch/")).content.decode()
    assert SSHSession.objects.get(pk=scene.live_session).escort_missing_at is None
    assert "Waiting for an escort" not in otto.get("/sessions/").content.decode()


@pytest.mark.parametrize("who", ["ben"])
def test_what_is_over_is_not_watched_and_keeps_its_chat(scene: Scene, enter: Enter, who: str) -> None:
    client = enter(who)
    client.post(url(scene, "chat/say/"), {"text": "Disk first."})
    begun(client, scene)
    stage.record(SSHSession.objects.get(pk=scene.live_session), stage.SCREEN)
    stage.end_session(SSHSession.objects.get(pk=scene.live_session), clock.now())
    answer = client.post(url(scene, "watch/begin/"))
    assert (answer.status_code, answer.json()["refusal"]) == (409, "session_not_live")
    assert "The session is over" in client.get(url(scene, "watch/")).content.decode()
    assert "Disk first." in client.get(url(scene)).content.decode()
    assert watching.sweep(clock.now()) == 1
    row = Watch.objects.get(person=person(who))
    assert row.ended_at is not None
    with pytest.raises(Exception, match="over already"):
        services.freeze(scene.live_session, person(who), "", clock.now())
