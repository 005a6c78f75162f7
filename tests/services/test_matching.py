"""Two people compare a number before access is given, and nobody asks for access all the time."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from django.conf import settings
from django.test import override_settings

from breakglass.domain import matching as rules
from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import AccessRequest, Approval
from breakglass.services import approvals, extensions, matching, requests
from breakglass.services.requests import SubmitForm
from tests.services.racing import race, sound_trail, tally
from tests.services.scene import Scene, last, refused


def _wrong(request: AccessRequest) -> int:
    assert request.match_number is not None
    return (request.match_number - 10 + 1) % 90 + 10


def test_the_choices_are_three_hold_the_number_and_never_change(scene: Scene) -> None:
    for _ in range(4):
        request = scene.asked()
        offered = matching.choices(request, scene.cast.ada)
        assert len(set(offered)) == 3 and request.match_number in offered
        assert offered == matching.choices(request, scene.cast.ben)
        assert all(10 <= one <= 99 for one in offered)


@pytest.mark.parametrize("number", range(rules.LEAST, rules.MOST + 1))
def test_no_two_choices_share_a_digit(number: int) -> None:
    places = set()
    for turn in range(20):
        offered = rules.choices(number, bytes([turn]) * 32)
        assert len({one // 10 for one in offered}) == len({one % 10 for one in offered}) == 3
        places.add(offered.index(number))
    assert places == {0, 1, 2}


def test_a_wrong_number_is_refused_audited_and_uses_no_factor_up(scene: Scene) -> None:
    request, ada, code = scene.asked(), scene.cast.ada, scene.cast.code("ada", scene.now)
    with refused(Code.MATCH_NUMBER_WRONG):
        approvals.approve(request.pk, ada, code, "go", scene.now, number=_wrong(request))
    assert last("approval:refused").data["refusal"] == "match_number_wrong"
    assert not Approval.objects.exists()
    # There is nothing to pick from any more; what was typed right still counts, with the same code.
    assert matching.choices(request, ada) == ()
    assert len(matching.choices(request, scene.cast.ben)) == 3
    approvals.approve(request.pk, ada, code, "go", scene.now, number=request.match_number)
    assert last("approval:given").data["matched"] is True


def test_after_three_wrong_numbers_somebody_else_decides(scene: Scene) -> None:
    request, ada, code = scene.asked(), scene.cast.ada, scene.cast.code("ada", scene.now)
    for _ in range(3):
        with refused(Code.MATCH_NUMBER_WRONG):
            approvals.approve(request.pk, ada, code, "go", scene.now, number=_wrong(request))
    with refused(Code.NOT_ALLOWED):
        approvals.approve(request.pk, ada, code, "go", scene.now, number=request.match_number)
    ben = scene.cast.code("ben", scene.now)
    approvals.approve(request.pk, scene.cast.ben, ben, "go", scene.now, number=request.match_number)


def test_a_denial_needs_no_number(scene: Scene) -> None:
    request = scene.asked()
    approvals.deny(request.pk, scene.cast.ada, scene.cast.code("ada", scene.now), "no", scene.now)


# --- the cap


def _form(scene: Scene) -> SubmitForm:
    return SubmitForm(scene.version.slug, scene.incident.pk, ("hist-01",), "No data since 02:55")


def _cap(limit: int) -> override_settings:
    return override_settings(BREAKGLASS=settings.BREAKGLASS.model_copy(update={"requests_an_hour": limit}))


def test_the_cap_is_ten_where_nothing_else_is_set() -> None:
    assert type(settings.BREAKGLASS).model_fields["requests_an_hour"].default == 10


def test_whoever_has_asked_too_often_is_told_when_to_ask_again(scene: Scene) -> None:
    rita = scene.cast.rita
    with _cap(3):
        for _ in range(3):
            requests.submit(rita, _form(scene), scene.now)
            scene.time.forward(minutes=10)
        with refused(Code.TOO_MANY_REQUESTS) as said:
            requests.submit(rita, _form(scene), scene.now)
        assert "Ask again in 30 min" in said[0].help and said[0].status == 429
        assert last("request:refused").data["refusal"] == "too_many_requests"
        # Others ask as before, and she too once the first of them is an hour old.
        requests.submit(scene.cast.rob, _form(scene), scene.now)
        scene.time.forward(minutes=30)
        requests.submit(rita, _form(scene), scene.now)


def test_a_plea_for_more_time_counts_as_well(scene: Scene) -> None:
    scene.playbook(duration={"default_minutes": 60, "max_minutes": 120, "extensions": 2})
    grant = scene.granted()
    form = extensions.ExtendForm(grant.pk, "The index is still rebuilt", 10)
    with _cap(1), refused(Code.TOO_MANY_REQUESTS):
        extensions.ask(scene.cast.rita, form, scene.now)


def test_many_at_once_dont_slip_past_the_cap(committed: Scene) -> None:
    rita, now = committed.cast.rita, committed.now + timedelta(seconds=1)
    with _cap(2):
        outcomes = race(*[partial(requests.submit, rita, _form(committed), now)] * 5)
    assert tally(outcomes) == {"ok": 2, "too_many_requests": 3}
    assert AccessRequest.objects.filter(requester=rita).count() == 2
    sound_trail()
