"""From the start page to a request: found by typing, filled in, never with what somebody didn't ask for."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from breakglass import clock
from breakglass.models import AccessRequest, Asset, Notice, NoticeDelivery, NoticeRoute
from breakglass.web import tags
from tests.support.receiver import receiver
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene

pytestmark = pytest.mark.django_db
REASON = "Trends stopped at 02:10, restart the service"


def _text(client: Client, path: str, **more: Any) -> str:
    return client.get(path, **more).content.decode()


def _found(client: Client, words: str) -> str:
    return client.get("/find/", {"q": words}, headers={"HX-Request": "true"}).content.decode()


def test_the_start_page_leads_to_the_form_in_one_click(scene: Scene, enter: Enter) -> None:
    text = _text(enter("rita"), "/")
    last = AccessRequest.objects.filter(requester__username="rita", extends=None).order_by("-number")[0]
    assert f"Ask again: {last.playbook.title}" in text
    assert 'href="/playbooks/historian-down/request/"' in text


def test_who_never_asked_isnt_offered_to_ask_again(scene: Scene, enter: Enter) -> None:
    AccessRequest.objects.filter(requester__username="rita").update(requester=stage.person("ben"))
    assert "Ask again" not in _text(enter("rita"), "/")


def test_the_form_begins_with_the_newest_incident_and_no_reason(scene: Scene, enter: Enter) -> None:
    newest = stage.open_incident("Line 9 is dark", clock.now())
    text = _text(enter("rita"), "/playbooks/historian-down/request/")
    assert f'<option value="{newest.id}" selected>' in text
    assert re.search(r'<textarea name="reason"[^>]* autofocus[^>]*>\s*</textarea>', text)


def test_asking_again_fills_in_ones_own_words(scene: Scene, enter: Enter) -> None:
    ask = AccessRequest.objects.filter(requester__username="rita", playbook__slug="historian-down")[0]
    path = f"/playbooks/historian-down/request/?again={ask.pk}"
    text = _text(enter("rita"), path)
    assert ask.reason.split(";")[0] in text
    assert f"Filled in from <b>{ask.label}</b>" in text
    assert ask.reason.split(";")[0] not in _text(enter("rob"), path)  # another's words stay theirs
    assert (
        enter("rita")
        .get("/playbooks/historian-down/request/?again=../../x&incident=%00&asset=%27")
        .status_code
        == 200
    )


def test_typing_finds_what_one_may_ask_for(scene: Scene, enter: Enter) -> None:
    text = _found(enter("rita"), "historian line")
    assert 'data-url="/playbooks/historian-down/request/?asset=hist-01"' in text
    assert 'role="option"' in text
    for words in ("HIST-01", "hist"):
        assert "asset=hist-01" in _found(enter("rita"), words)
    assert "No machine is called that" in _found(enter("rita"), "no-such")
    assert _found(enter("rita"), "").strip() == ""


def test_what_one_may_not_ask_for_says_who_can(scene: Scene, enter: Enter) -> None:
    text = _found(enter("vera"), "hist-01")
    assert 'role="option"' not in text
    assert "Only responders can ask for it." in text


def test_hostile_words_find_nothing_and_do_nothing(scene: Scene, enter: Enter) -> None:
    Asset.objects.filter(name="bms-04").update(title="<script>alert(1)</script> %_' OR 1=1")
    rita = enter("rita")
    for words in ("<script>", "%", "_'", "\x00", "\u202e", "x" * 10_000, "'; --", "\ud83d"):
        answer = rita.get("/find/", {"q": words.encode("utf-8", "replace")}, headers={"HX-Request": "true"})
        assert answer.status_code == 200
        assert b"<script>alert" not in answer.content
    assert "hist-01" not in _found(rita, "%")


def test_it_works_without_scripts(scene: Scene, enter: Enter) -> None:
    text = _text(enter("rita"), "/find/?q=hist-01")
    assert "<html" in text
    assert "/playbooks/historian-down/request/?asset=hist-01" in text


def test_a_machine_that_was_found_is_the_one_that_is_picked(scene: Scene, enter: Enter) -> None:
    card = _text(enter("rita"), "/playbooks/historian-down/request/?asset=hist-01")
    assert 'name="reason"' in card
    assert (
        "nothing" not in card
        or enter("rita").get("/playbooks/historian-down/request/?asset=nothing").status_code == 200
    )


def test_a_request_that_reached_nobody_says_so_to_its_requester_and_the_administrators(
    scene: Scene, enter: Enter
) -> None:
    incident = stage.open_incident("Line 9 is dark", clock.now())
    ask = stage.ask("rita", "historian-down", incident, clock.now())
    told = Notice.objects.get(topic=f"request:{ask.pk}", person__username="ben")
    NoticeDelivery.objects.filter(notice=told).update(problem="550 no such mailbox", tries=1)
    page = _text(enter("rita"), f"/requests/{ask.pk}/")
    assert "Not everybody could be told" in page
    assert re.search(r"couldn&#x27;t be told by mail \(550 no such mailbox\)\. Tell them by phone\.", page)
    assert "Notices that reached nobody" in _text(enter("admin"), "/")
    assert "Notices that reached nobody" not in _text(enter("rita"), "/")


def test_the_badge_counts_what_waits_for_this_person(scene: Scene, enter: Enter) -> None:
    ask = stage.ask("rita", "historian-down", stage.open_incident("Line 9", clock.now()), clock.now())
    said = enter("ben").get("/waiting/").json()
    assert said["waiting"] >= 1
    assert said["newest"] == str(ask.pk)
    assert enter("rita").get("/waiting/").json() == {"waiting": 0, "newest": "", "says": ""}


def test_a_way_is_added_tried_switched_and_removed(scene: Scene, enter: Enter, settings: Any) -> None:
    settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"notice_networks": "127.0.0.0/8"})
    ben = enter("ben")
    with receiver() as chat:
        added = ben.post("/profile/notices/", {"name": "pager", "address": chat.address}, follow=True)
        assert "pager is added" in added.content.decode()
        assert chat.address not in added.content.decode()
        route = NoticeRoute.objects.get()
        assert (
            "The test was taken"
            in ben.post(f"/profile/notices/{route.pk}/try/", follow=True).content.decode()
        )
        assert len(chat.got) == 1
    off = ben.post(f"/profile/notices/{route.pk}/switch/", {"on": "0"}, follow=True)
    assert "pager is not used for now" in off.content.decode()
    assert enter("rita").post(f"/profile/notices/{route.pk}/remove/").status_code == 404
    assert "It is removed" in ben.post(f"/profile/notices/{route.pk}/remove/", follow=True).content.decode()
    assert not NoticeRoute.objects.exists()


def test_a_wrong_address_isnt_sent_back(scene: Scene, enter: Enter) -> None:
    answer = enter("ben").post("/profile/notices/", {"name": "pager", "address": "file:///etc/SECRET77"})
    text = answer.content.decode()
    assert answer.status_code == 422
    assert "SECRET77" not in text
    assert "must begin with https://" in text
    assert 'value="pager"' in text


@pytest.mark.parametrize(
    ("left", "says", "words"),
    [
        (601, "left", ""),
        (599, "left", "ends soon"),
        (59, "left", "ends in under a minute"),
        (599, "until it lapses", "about to lapse"),
        (30, "until it lapses", "lapses in under a minute"),
        (-1, "left", ""),
    ],
)
def test_what_is_about_to_end_says_so_in_words(left: int, says: str, words: str) -> None:
    now = clock.now()
    shown = tags.nearly({"now": now}, now + timedelta(seconds=left), says)
    assert f">{words}</span>" in shown
    assert tags.nearly({"now": now}, now, "until more people are woken") == ""


def test_the_words_stand_on_the_pages(scene: Scene, enter: Enter, frozen_soon: AccessRequest) -> None:
    for path in ("/", f"/requests/{frozen_soon.pk}/"):
        assert ">about to lapse</span>" in _text(enter("rita"), path)
    assert ">about to lapse</span>" in _text(enter("ben"), "/inbox/")
    assert ">about to lapse</span>" in _text(enter("ben"), f"/requests/{frozen_soon.pk}/decide/")


@pytest.fixture
def frozen_soon(scene: Scene) -> AccessRequest:
    """A request of Rita's that lapses in five minutes, unanswered since."""
    ask = stage.ask("rita", "historian-down", stage.open_incident("Line 9", clock.now()), clock.now())
    now = clock.now()
    AccessRequest.objects.filter(pk=ask.pk).update(
        escalates_at=now, escalated_at=now, lapses_at=now + timedelta(minutes=5)
    )
    return ask
