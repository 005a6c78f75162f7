"""The override: alone, in time, aloud, and only where the playbook allows it (E12, law 2)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import AccessRequest, Approval, AuditEvent, Grant, Notice, NoticeDelivery, Person
from breakglass.services import approvals, extensions, override, people, requests
from tests.services import stage
from tests.services.racing import approving, halted_at, meanwhile, race, sound_trail, tally
from tests.services.scene import TWO, Scene, last, refused, tags

ALLOWED: dict[str, Any] = {"override_allowed": True}
REASON = "Nobody of the leads answers the phone"
Runner = Callable[[], object]


def unanswered(scene: Scene, person: Person | None = None, **changes: Any) -> AccessRequest:
    """A request that nobody has answered for 11 minutes, under a playbook that allows the override."""
    scene.playbook(**(ALLOWED | changes))
    request = scene.asked(person)
    scene.time.forward(minutes=11)
    return request


def alone(scene: Scene, request: AccessRequest, who: str = "sam", reason: str = REASON) -> AccessRequest:
    person = getattr(scene.cast, who)
    return override.decide(request.pk, person, scene.code(person), reason, scene.now)


def test_a_supervisor_decides_alone_and_the_grant_is_there(scene: Scene) -> None:
    request = unanswered(scene)
    done = alone(scene, request)
    grant = Grant.objects.get(request=request)
    assert (done.state, done.is_override, grant.state) == ("approved", True, "active")
    approval = Approval.objects.get(request=request)
    assert (approval.person, approval.comment) == (scene.cast.sam, REASON)
    row = last("override:given")
    assert (row.data["reason"], row.data["waited_seconds"]) == (REASON, 660)
    assert tags(request)[-2:] == ["override:given", "request:approved"]
    assert last("grant:issued").seq > row.seq


def test_everybody_is_told_at_once(scene: Scene) -> None:
    request = unanswered(scene)
    Notice.objects.all().delete()
    alone(scene, request)
    loud = Notice.objects.filter(subject__startswith="Override: Sam Whitfield decided alone")
    assert {notice.person.username for notice in loud} == {"ada", "ben", "kit", "otto", "admin", "sam"}
    assert all(REASON in notice.body for notice in loud)
    assert "override" in Notice.objects.get(person=scene.cast.rita).subject


def test_its_first_login_on_each_machine_is_told_to_the_house_within_one_transaction(scene: Scene) -> None:
    """The alarm at use: queued with the session's row, so it can't be forgotten (law 6)."""
    request = unanswered(scene)
    alone(scene, request)
    Notice.objects.all().delete()
    grant = Grant.objects.get(request=request)
    session = stage.opened(scene, grant)
    told = Notice.objects.filter(subject="Override in use: Rita Romero is on hist-01")
    assert {notice.person.username for notice in told if notice.person} == {
        "ada", "ben", "kit", "otto", "admin", "sam",
    }  # fmt: skip
    assert {notice.path for notice in told} == {f"/sessions/{session.pk}/"}
    due = NoticeDelivery.objects.filter(notice__in=told).values_list("next_try_at", flat=True)
    assert set(due) == {scene.now}
    stage.opened(scene, grant)
    assert told.count() == 6


def test_the_first_login_under_an_ordinary_grant_alarms_nobody(scene: Scene, grant: Grant) -> None:
    Notice.objects.all().delete()
    stage.opened(scene, grant)
    assert not Notice.objects.exists()


def test_not_before_its_time_and_not_a_moment_later_than_the_lapse(scene: Scene) -> None:
    scene.playbook(**ALLOWED)
    request = scene.asked()
    scene.time.forward(minutes=9, seconds=59)
    with refused(Code.OVERRIDE_TOO_EARLY) as said:
        alone(scene, request)
    assert "12:10:00 UTC" in said[0].message
    assert last("override:refused").data["refusal"] == "override_too_early"
    scene.time.forward(minutes=20, seconds=1)
    with refused(Code.REQUEST_LAPSED):
        alone(scene, request)
    assert not Grant.objects.exists()


def test_only_where_the_playbook_allows_it(scene: Scene) -> None:
    with refused(Code.OVERRIDE_NOT_OFFERED):
        alone(scene, unanswered(scene, override_allowed=False))


def test_never_for_vendors_nor_a_domain_controller(scene: Scene) -> None:
    request = unanswered(scene)
    # What counts is who sends the person, not what a group is called.
    people.set_vendor(scene.cast.rita, "Acme Drives", by=None, now=scene.now)
    with refused(Code.OVERRIDE_NOT_OFFERED) as said:
        alone(scene, request)
    assert "vendors" in said[0].message
    assert override.waiting_for(scene.cast.sam, scene.now) == []
    people.set_vendor(scene.cast.rita, "", by=None, now=scene.now)
    people.set_groups(scene.cast.rita, ["responders", "vendor-desk"], by=None, now=scene.now)
    assert override.waiting_for(scene.cast.sam, scene.now) == [request]
    scene.asset.kind = "directory"
    scene.asset.save()
    with refused(Code.OVERRIDE_NOT_OFFERED) as said:
        alone(scene, request)
    assert "domain controllers" in said[0].message


@pytest.mark.parametrize(
    ("who", "code"),
    [
        ("ada", Code.NOT_ALLOWED),
        ("admin", Code.NOT_ALLOWED),
        ("rita", Code.OWN_REQUEST),
        ("rob", Code.NOT_FOUND),
    ],
)
def test_only_supervisors_and_never_the_requester(scene: Scene, who: str, code: Code) -> None:
    request = unanswered(scene)
    with refused(code):
        alone(scene, request, who)


def test_a_supervisor_who_asks_doesnt_answer_themselves(scene: Scene) -> None:
    people.set_groups(scene.cast.sam, ["supervisors", "responders"], by=None, now=scene.now)
    with refused(Code.OWN_REQUEST):
        alone(scene, unanswered(scene, scene.cast.sam))


def test_a_disabled_supervisor_decides_nothing(scene: Scene) -> None:
    request = unanswered(scene)
    people.disable(scene.cast.sam, by=None, now=scene.now)
    with refused(Code.NOT_FOUND):
        alone(scene, request)
    assert override.waiting_for(scene.cast.sam, scene.now) == []


def test_it_takes_a_reason_and_a_fresh_factor(scene: Scene) -> None:
    request = unanswered(scene)
    with refused(Code.REASON_MISSING):
        alone(scene, request, reason="  urgent ")
    with refused(Code.SECOND_FACTOR_WRONG):
        wrong = scene.cast.wrong_code("sam", scene.now)
        override.decide(request.pk, scene.cast.sam, wrong, REASON, scene.now)
    request.refresh_from_db()
    assert (request.state, request.is_override) == ("pending", False)
    alone(scene, request)


def test_not_twice_and_not_after_an_answer(scene: Scene) -> None:
    request = unanswered(scene)
    alone(scene, request)
    with refused(Code.ALREADY_DECIDED):
        alone(scene, request)
    other = unanswered(scene)
    approvals.deny(other.pk, scene.cast.ada, scene.code(scene.cast.ada), "no", scene.now)
    with refused(Code.REQUEST_NOT_PENDING):
        alone(scene, other)


def test_one_of_two_answers_is_no_answer_yet_but_ones_own_is(scene: Scene) -> None:
    leads = {"groups": ["ot-leads", "supervisors"], "count": 2}
    request = unanswered(scene, approvers=leads)
    approvals.approve(request.pk, scene.cast.ada, scene.code(scene.cast.ada), "", scene.now)
    alone(scene, request)
    other = unanswered(scene, approvers=leads)
    approvals.approve(other.pk, scene.cast.sam, scene.code(scene.cast.sam), "", scene.now)
    with refused(Code.ALREADY_DECIDED):
        alone(scene, other)


def test_what_stands_against_the_request_stands_against_the_override(scene: Scene) -> None:
    request = unanswered(scene)
    people.disable(scene.cast.rita, by=None, now=scene.now)
    with refused(Code.PERSON_INACTIVE):
        alone(scene, request)
    assert not Grant.objects.exists()


def test_more_time_can_be_given_alone_too(scene: Scene) -> None:
    scene.playbook(**ALLOWED)
    grant = scene.granted()
    assert grant.ends_at is not None
    plea = extensions.ask(
        scene.cast.rita, extensions.ExtendForm(grant.pk, "the index is still being rebuilt", 10), scene.now
    )
    scene.time.forward(minutes=11)
    assert alone(scene, plea).state == "approved"
    assert Grant.objects.get(pk=grant.pk).ends_at == grant.ends_at + timedelta(minutes=10)


def test_who_goes_on_by_an_override_is_told_of_at_the_first_login_after_it(scene: Scene) -> None:
    scene.playbook(**ALLOWED)
    grant = scene.granted()
    stage.opened(scene, grant)
    told = Notice.objects.filter(subject__startswith="Override in use")
    plea = extensions.ask(
        scene.cast.rita, extensions.ExtendForm(grant.pk, "the index is still being rebuilt", 10), scene.now
    )
    scene.time.forward(minutes=11)
    alone(scene, plea)
    assert not told.exists()
    stage.opened(scene, Grant.objects.get(pk=grant.pk))
    assert told.count() == 6
    stage.opened(scene, Grant.objects.get(pk=grant.pk))
    assert told.count() == 6


# --- blocked by an overdue review


def test_an_overdue_review_of_the_requesters_access_blocks_their_next_override(scene: Scene) -> None:
    scene.playbook(**ALLOWED)
    old = scene.granted()
    assert old.ends_at is not None
    Grant.objects.filter(pk=old.pk).update(state="expired", ended_at=old.ends_at)
    scene.time.forward(hours=23)
    alone(scene, unanswered(scene))
    scene.time.forward(hours=3)
    with refused(Code.OVERRIDE_BLOCKED) as said:
        alone(scene, unanswered(scene))
    assert old.request.label in said[0].message
    # Somebody else's request isn't held up, and a signed review opens it again.
    alone(scene, unanswered(scene, scene.cast.rob))
    Grant.objects.filter(pk=old.pk).update(reviewed_at=scene.now)
    scene.time.forward(seconds=60)
    Grant.objects.filter(request__is_override=True).update(reviewed_at=scene.now)
    alone(scene, unanswered(scene))


# --- offered


def test_supervisors_are_told_once_when_the_time_has_come(scene: Scene) -> None:
    scene.playbook(**ALLOWED)
    request = scene.asked()
    assert override.offer_due(scene.now + timedelta(minutes=9, seconds=59)) == 0
    assert override.waiting_for(scene.cast.sam, scene.now + timedelta(minutes=9)) == []
    at = scene.now + timedelta(minutes=10)
    Notice.objects.all().delete()
    assert (override.offer_due(at), override.offer_due(at)) == (1, 0)
    notice = Notice.objects.get()
    assert (notice.person, notice.path) == (scene.cast.sam, f"/requests/{request.pk}/override/")
    assert override.waiting_for(scene.cast.sam, at) == [request]
    assert override.waiting_for(scene.cast.ada, at) == []
    assert override.offer_due(request.lapses_at) == 0


def test_one_that_cannot_be_looked_at_holds_up_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.playbook(**ALLOWED)
    bad, good = scene.asked(), scene.asked()
    why_never = override.why_never

    def stumble(request: AccessRequest) -> str:
        if request.pk == bad.pk:
            raise KeyError("a playbook of old")
        return why_never(request)

    monkeypatch.setattr(override, "why_never", stumble)
    assert override.offer_due(scene.now + timedelta(minutes=10)) == 1
    assert Notice.objects.filter(topic=f"override:{good.pk}").count() == 1


def test_nothing_is_offered_where_it_isnt_allowed(scene: Scene) -> None:
    unanswered(scene, override_allowed=False)
    assert override.offer_due(scene.now) == 0
    assert override.waiting_for(scene.cast.sam, scene.now) == []


# --- races


def _overriding(scene: Scene, request: AccessRequest) -> Runner:
    sam, now = scene.cast.sam, scene.now
    return partial(override.decide, request.pk, sam, scene.cast.code("sam", now), REASON, now)


def test_an_override_and_an_approval_at_once_make_one_grant(committed: Scene) -> None:
    for _ in range(4):
        request = unanswered(committed)
        outcomes = race(_overriding(committed, request), approving(committed, request, "ada"))
        assert tally(outcomes) == {"ok": 1, "request_not_pending": 1}
        request.refresh_from_db()
        assert Grant.objects.filter(request=request).count() == 1
        assert Approval.objects.filter(request=request).count() == 1
        assert request.is_override is (outcomes[1] == "request_not_pending")
    sound_trail()


def test_an_override_waits_for_the_approval_that_was_first(
    committed: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = unanswered(committed)
    with halted_at(monkeypatch, "breakglass.services.grants.issue") as gate:
        outcomes = meanwhile(gate, approving(committed, request, "ada"), _overriding(committed, request))
    assert outcomes[1] == "request_not_pending"
    request.refresh_from_db()
    assert not request.is_override
    assert Grant.objects.count() == 1


def test_a_lapse_between_the_look_and_the_decision_wins(
    committed: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = unanswered(committed)
    lapse = partial(requests.lapse_due, request.lapses_at)
    with halted_at(monkeypatch, "breakglass.services.step_up.verify", before=False) as gate:
        outcomes = meanwhile(gate, _overriding(committed, request), lapse)
    assert outcomes[0] == "request_lapsed"
    assert not Grant.objects.exists()
    assert not Approval.objects.exists()
    sound_trail()


def test_a_double_click_is_one_override(committed: Scene) -> None:
    committed.playbook(**TWO, **ALLOWED)
    request = committed.asked()
    committed.time.forward(minutes=11)
    outcomes = race(*[_overriding(committed, request)] * 3)
    assert tally(outcomes)["ok"] == 1
    assert AuditEvent.objects.filter(tag__endswith="override:given").count() == 1
    assert Grant.objects.filter(request=request).count() == 1


def test_two_sweeps_at_once_offer_once(committed: Scene) -> None:
    unanswered(committed)
    outcomes = race(*[partial(override.offer_due, committed.now)] * 3)
    assert sum(outcomes) == 1
