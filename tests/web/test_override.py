"""The override on the pages: offered to supervisors when its time has come, read before it is done, told afterwards."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from breakglass import clock
from breakglass.models import AccessRequest, Notice
from breakglass.services import people
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene

REASON = "Nobody of the leads answers their phone"


@pytest.fixture
def silent(scene: Scene) -> UUID:
    """A request that nobody has answered for 11 minutes; Sam is a supervisor and nothing else."""
    people.set_groups(stage.person("sam"), ["supervisors"], by=None, now=clock.now())
    moved = {
        "submitted_at": clock.now() - timedelta(minutes=11),
        "escalates_at": clock.now() - timedelta(minutes=6),
    }
    AccessRequest.objects.filter(pk=scene.pending).update(**moved)
    return scene.pending


def test_it_is_offered_in_the_inbox_and_on_the_request(silent: UUID, enter: Enter) -> None:
    link = f"/requests/{silent}/override/"
    inbox = enter("sam").get("/inbox/").content.decode()
    assert "you may decide alone" in inbox and link in inbox
    assert link in enter("sam").get(f"/requests/{silent}/").content.decode()
    for who in ("ben", "vera"):
        assert link not in enter(who).get(f"/requests/{silent}/").content.decode()


def test_it_is_not_offered_before_its_time(scene: Scene, enter: Enter) -> None:
    people.set_groups(stage.person("sam"), ["supervisors"], by=None, now=clock.now())
    sam, link = enter("sam"), f"/requests/{scene.pending}/override/"
    assert link not in sam.get("/inbox/").content.decode()
    page = sam.get(link).content.decode()
    assert "nobody decides alone before" in page and "until you may" in page and "<textarea" not in page
    answer = sam.post(link, {"reason": REASON, "code": stage.fresh_code("sam", clock.now())})
    assert answer.status_code == 409 and AccessRequest.objects.get(pk=scene.pending).state == "pending"


def test_it_says_how_loud_it_is_and_does_it(silent: UUID, enter: Enter) -> None:
    sam, link = enter("sam"), f"/requests/{silent}/override/"
    page = sam.get(link).content.decode()
    assert "You decide alone. This is loud:" in page and "Two reviewers" in page and "Ada Novak" in page
    code = stage.fresh_code("sam", clock.now())
    short = sam.post(link, {"reason": "busy", "code": code})
    assert short.status_code == 422 and b"10 characters" in short.content
    assert sam.post(link, {"reason": REASON}).status_code == 422
    done = sam.post(link, {"reason": REASON, "code": code}, follow=True).content.decode()
    assert "Sam Whitfield decided alone: an override" in done
    ask = AccessRequest.objects.get(pk=silent)
    assert (ask.state, ask.is_override) == ("approved", True)
    told = Notice.objects.filter(subject__startswith="Override: Sam").values_list(
        "person__username", flat=True
    )
    assert {"ada", "ben", "admin", "otto"} <= set(told)
    assert b"approved already" in sam.get(link).content or b"decided on this request" in sam.get(link).content
