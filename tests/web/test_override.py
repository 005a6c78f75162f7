"""The override on the pages: offered to supervisors when its time has come, read before it is done, told afterwards."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from breakglass import clock
from breakglass.models import AccessRequest, Grant, Notice
from breakglass.services import matching, people
from sessions.models import Review
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene

ALARMS = ("sam", "ben", "vera", "otto", "admin")
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
    answer = sam.post(link, _yes(scene.pending))
    assert answer.status_code == 409 and AccessRequest.objects.get(pk=scene.pending).state == "pending"


def test_it_says_how_loud_it_is_and_does_it(silent: UUID, enter: Enter) -> None:
    sam, link = enter("sam"), f"/requests/{silent}/override/"
    page = sam.get(link).content.decode()
    assert "You decide alone. This is loud:" in page and "Two reviewers" in page and "Ada Novak" in page
    code = stage.fresh_code("sam", clock.now())
    number = stage.number(silent)
    short = sam.post(link, {"reason": "busy", "code": code, "number": number})
    assert short.status_code == 422 and b"10 characters" in short.content
    assert sam.post(link, {"reason": REASON, "number": number}).status_code == 422
    assert b"Pick the number" in sam.post(link, {"reason": REASON, "code": code}).content
    done = sam.post(link, {"reason": REASON, "code": code, "number": number}, follow=True).content.decode()
    assert "Sam Whitfield decided alone: an override" in done
    ask = AccessRequest.objects.get(pk=silent)
    assert (ask.state, ask.is_override) == ("approved", True)
    told = Notice.objects.filter(subject__startswith="Override: Sam").values_list(
        "person__username", flat=True
    )
    assert {"ada", "ben", "admin", "otto"} <= set(told)
    assert b"approved already" in sam.get(link).content or b"decided on this request" in sam.get(link).content


def test_a_wrong_number_lets_nobody_in_and_uses_no_code_up(silent: UUID, enter: Enter) -> None:
    """As for an approval: the supervisor calls who asks, or they don't mean the same request."""
    sam, link = enter("sam"), f"/requests/{silent}/override/"
    right, ask = int(stage.number(silent)), AccessRequest.objects.get(pk=silent)
    name = ask.requester.get_full_name()
    assert f"Which number does {name} see?" in sam.get(link).content.decode()
    wrong = next(one for one in matching.choices(ask, stage.person("sam")) if one != right)
    said = sam.post(link, _yes(silent) | {"number": str(wrong)})
    assert said.status_code == 422 and b"the number that the requester sees" in said.content
    assert AccessRequest.objects.get(pk=silent).state == "pending"
    assert f"Type the number that {name} sees" in sam.get(link).content.decode()
    assert sam.post(link, _yes(silent)).status_code == 302


def _yes(request_id: UUID) -> dict[str, str]:
    code = stage.fresh_code("sam", clock.now())
    return {"reason": REASON, "code": code, "number": stage.number(request_id)}


def test_while_it_runs_every_page_of_who_looks_after_the_house_says_so(silent: UUID, enter: Enter) -> None:
    words = "Sam Whitfield decided alone"
    assert words not in enter("otto").get("/playbooks/").content.decode()
    assert enter("sam").get("/waiting/").json()["waiting"] == 1
    assert enter("sam").post(f"/requests/{silent}/override/", _yes(silent)).status_code == 302
    for who in ALARMS:
        page = enter(who).get("/playbooks/").content.decode()
        assert words in page and "not logged in" in page and f"/requests/{silent}/" in page, who
    # Another responder isn't told, and whose it is reads it on the request itself.
    for who in ("rita", "rob", "nora"):
        assert 'id="alarms"' not in enter(who).get("/playbooks/").content.decode(), who
        assert words not in enter(who).get("/alarms/").content.decode(), who


def test_the_notice_asks_again_by_itself_and_goes_with_the_grant(silent: UUID, enter: Enter) -> None:
    otto = enter("otto")
    enter("sam").post(f"/requests/{silent}/override/", _yes(silent))
    rows = otto.get("/alarms/").content.decode()
    seen = rows.partition('name="seen" value="')[2][:16]
    assert otto.get("/alarms/", {"seen": seen}).status_code == 204
    grant = Grant.objects.get(request=silent)
    stage.open_session(grant, clock.now(), asset=grant.assets.get().name, login=grant.logins[0])
    assert "logged in now" in otto.get("/alarms/", {"seen": seen}).content.decode()
    stage.release(grant, clock.now())
    assert "decided alone" not in otto.get("/alarms/").content.decode()


def test_the_badge_says_that_a_review_is_of_an_override(scene: Scene, enter: Enter) -> None:
    plain = enter("vera").get("/playbooks/").content.decode()
    assert "count alarm" not in plain and "of an override" not in plain
    Review.objects.filter(pk=scene.review).update(needs_second=True)
    for who, says in (("vera", "due, 1 of an override"), ("otto", "of an override")):
        page = enter(who).get("/playbooks/").content.decode()
        assert "count alarm" in page and says in page, who
