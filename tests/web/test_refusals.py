"""Each refusal leads on: a button for the next best thing, and who can help."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import RequestFactory

from breakglass import clock
from breakglass.domain.refusals import RefusalCode, parameters, refusal
from breakglass.models import TotpFactor
from breakglass.web import next_step, refused
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene

pytestmark = pytest.mark.django_db


def _page(
    enter: Enter, username: str, code: RefusalCode, path: str = "/x/", method: str = "get", **about: str
) -> str:
    """The page as that person reads it, whatever raised the refusal."""
    request = getattr(RequestFactory(), method)(path)
    request.user = stage.person(username)
    request.user.otp_device = TotpFactor.objects.get(user=request.user)
    request.user.is_verified = lambda: True
    filled = dict.fromkeys(parameters(code), "x") | about
    return refused.page(request, refusal(code, **filled)).content.decode()


def _button(text: str) -> tuple[str, str]:
    found = re.search(r'<a class="btn" href="([^"]*)">([^<]*)</a>', text)
    assert found
    return found[1], found[2]


def test_each_refusal_has_a_next_thing_or_a_reason_why_not() -> None:
    """A new code: give it a line in breakglass/web/next_step.py."""
    assert set(next_step.NEXT).isdisjoint(next_step.NOTHING)
    assert {*next_step.NEXT, *next_step.NOTHING} == set(RefusalCode)
    assert all(len(why) >= 30 for why in next_step.NOTHING.values()), "say why"


def test_each_page_has_its_code_and_a_button_that_leads_somewhere(scene: Scene, enter: Enter) -> None:
    places = set()
    for code in next_step.NEXT:
        text = _page(enter, "rita", code)
        assert f"<code>{code}</code>" in text
        places.add(_button(text)[0].partition("#")[0])
    rita = enter("rita")
    for url in places - {"/x/"}:
        # 302: she has logged in already; 403: another's work, which its own page says.
        assert rita.get(url).status_code in {200, 302, 403}, url


def test_without_a_grant_the_form_for_that_machine_is_next(scene: Scene, enter: Enter) -> None:
    url, label = _button(_page(enter, "rita", RefusalCode.NO_GRANT, asset="hmi-02"))
    assert url == "/playbooks/hmi-failover/request/?asset=hmi-02"
    assert label.startswith("Ask for ")
    assert _button(_page(enter, "rita", RefusalCode.NO_GRANT, asset="no-such"))[0] == "/playbooks/"


def test_a_lapsed_request_is_asked_for_again_with_its_own_words(scene: Scene, enter: Enter) -> None:
    incident = stage.open_incident("Line 9 is dark", clock.now())
    ask = stage.ask("rita", "historian-down", incident, clock.now() - timedelta(hours=2))
    answer = enter("rita").post(f"/requests/{ask.pk}/withdraw/")
    assert answer.status_code == 409
    text = answer.content.decode()
    assert "request_lapsed" in text
    assert _button(text) == (
        f"/playbooks/historian-down/request/?again={ask.pk}",
        "Ask again with the same words",
    )


def test_a_closed_incident_leads_to_a_new_one(scene: Scene, enter: Enter) -> None:
    assert _button(_page(enter, "rita", RefusalCode.INCIDENT_CLOSED))[0] == "/incidents/open/"


def test_those_who_can_help_are_named_with_their_addresses(scene: Scene, enter: Enter) -> None:
    locked = _page(enter, "rita", RefusalCode.LOCKED, who="An administrator")
    admin = stage.person("admin")
    assert admin.full_name in locked
    assert f'href="mailto:{admin.email}"' in locked
    leads = _page(enter, "rita", RefusalCode.NOT_AN_APPROVER, who="ot-leads")
    assert "Ben" in leads and "Ada" in leads
    assert "Who can help" not in _page(enter, "rita", RefusalCode.NOT_FOUND)


def test_a_stranger_reads_no_names(scene: Scene, enter: Enter) -> None:
    answer = enter("nobody").post("/login/", {"username": "x", "password": "y"})
    assert "@plant.example" not in answer.content.decode()


def test_a_click_that_was_refused_isnt_repeated_by_a_link(scene: Scene, enter: Enter) -> None:
    text = _page(enter, "rita", RefusalCode.UNCONFIRMED, path="/grants/1/release/", method="post")
    assert _button(text)[0] == "/"


def test_no_other_site_gets_into_the_button(scene: Scene, enter: Enter) -> None:
    request = RequestFactory().post("/x/", headers={"Referer": "https://evil.example/"})
    request.user = stage.person("rita")
    request.user.is_verified = lambda: True
    step = next_step.step_after(request, refusal(RefusalCode.THROTTLED, seconds=3))
    assert step is not None
    assert step.url == "/"
