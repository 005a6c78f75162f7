"""Asking for access: what is kept, who is told, and how an unanswered request ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from breakglass import queries
from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import AccessRequest, AuditEvent, Notice
from breakglass.services import incidents, people, playbooks, requests
from breakglass.services.requests import SubmitForm
from tests.services.scene import Scene, last, refused, tags, trail_text
from tests.support import cast as house

HOSTILE = "Hist \x00 down \ud800 \u202e now, please"


def _form(scene: Scene, **changes: Any) -> SubmitForm:
    form = SubmitForm(scene.version.slug, scene.incident.pk, ("hist-01",), "No data since 02:55")
    return replace(form, **changes)


def test_a_request_pins_what_was_asked_and_when_it_escalates_and_lapses(scene: Scene) -> None:
    request = scene.asked()
    assert request.playbook == scene.version
    assert [asset.name for asset in request.assets.all()] == ["hist-01"]
    assert (request.state, request.minutes, request.login) == ("pending", 60, "")
    assert request.escalates_at == scene.now + timedelta(minutes=5)
    assert request.lapses_at == scene.now + timedelta(minutes=30)
    row = last("request:submitted")
    assert row.actor == f"person:{scene.cast.rita.pk}"
    assert row.data["digest"] == scene.version.digest
    assert row.data["reason"] == "No data since 02:55"


def test_requests_are_numbered_without_a_gap(scene: Scene) -> None:
    assert [scene.asked().number for _ in range(3)] == [1, 2, 3]


def test_a_changed_playbook_doesnt_change_what_was_asked_for(scene: Scene) -> None:
    request = scene.asked()
    old = scene.version
    scene.playbook(duration={"default_minutes": 5, "max_minutes": 5})
    request.refresh_from_db()
    assert request.playbook_id == old.pk != scene.version.pk


def test_the_approvers_are_told_and_the_requester_is_not(scene: Scene) -> None:
    people.set_groups(scene.cast.rita, ["responders", "ot-leads"], by=None, now=scene.now)
    scene.asked()
    told = set(Notice.objects.values_list("person__username", flat=True))
    assert told >= {"ada", "ben"}
    assert told.isdisjoint({"rita", "rob", "vera", "otto", "admin"})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"playbook": "no-such"}, Code.NOT_FOUND),
        ({"playbook": "x" * 5000}, Code.NOT_FOUND),
        ({"incident_id": uuid4()}, Code.NOT_FOUND),
        ({"assets": ()}, Code.BAD_INPUT),
        ({"assets": ("hist-99",)}, Code.ASSET_OUTSIDE_PLAYBOOK),
        ({"assets": ("hist-01", "hist\x00")}, Code.ASSET_OUTSIDE_PLAYBOOK),
        ({"login": "root"}, Code.LOGIN_NOT_IN_GRANT),
        ({"minutes": 121}, Code.DURATION_OUT_OF_BOUNDS),
        ({"minutes": 0}, Code.DURATION_OUT_OF_BOUNDS),
        ({"reason": "help"}, Code.REASON_MISSING),
        ({"reason": "x" * 100_000}, Code.BAD_INPUT),
        ({"playbook": "hist\x00\ud800"}, Code.NOT_FOUND),
    ],
)
def test_a_refused_request_leaves_nothing_but_its_audit_row(
    scene: Scene, changes: dict[str, Any], code: Code
) -> None:
    with refused(code):
        requests.submit(scene.cast.rita, _form(scene, **changes), scene.now)
    assert not AccessRequest.objects.exists()
    assert not Notice.objects.exists()
    row = last("request:refused")
    assert row.data["refusal"] == code
    assert row.actor == f"person:{scene.cast.rita.pk}"


def test_who_isnt_named_as_a_requester_is_refused(scene: Scene) -> None:
    with refused(Code.NOT_ALLOWED):
        requests.submit(scene.cast.vera, _form(scene), scene.now)


def test_a_retired_playbook_a_closed_incident_and_a_disabled_person_are_refused(scene: Scene) -> None:
    other = house.incident(scene.cast.rita, scene.now)
    incidents.close(other.pk, scene.cast.rita, scene.now)
    with refused(Code.INCIDENT_CLOSED):
        requests.submit(scene.cast.rita, _form(scene, incident_id=other.pk), scene.now)
    playbooks.retire(scene.version.slug, scene.now)
    with refused(Code.NOT_FOUND):
        requests.submit(scene.cast.rita, _form(scene), scene.now)
    people.disable(scene.cast.rob, by=None, now=scene.now)
    with refused(Code.PERSON_INACTIVE):
        requests.submit(scene.cast.rob, _form(scene), scene.now)


def test_whatever_is_typed_as_a_reason_can_be_kept_and_hashed(scene: Scene) -> None:
    """NUL breaks PostgreSQL and lone surrogates break hashes: neither gets that far."""
    request = requests.submit(scene.cast.rita, _form(scene, reason=HOSTILE), scene.now)
    assert request.reason == "Hist \ufffd down \ufffd \u202e now, please"


def test_the_same_asset_named_twice_is_one_asset(scene: Scene) -> None:
    request = scene.asked(assets=("hist-01", "hist-01"))
    assert request.assets.count() == 1


# --- withdrawn, lapsed, escalated


def test_the_requester_takes_it_back_once(scene: Scene, pending: AccessRequest) -> None:
    withdrawn = requests.withdraw(pending.pk, scene.cast.rita, scene.now)
    assert (withdrawn.state, withdrawn.decided_at) == ("withdrawn", scene.now)
    with refused(Code.REQUEST_NOT_PENDING):
        requests.withdraw(pending.pk, scene.cast.rita, scene.now)
    assert tags(pending) == ["request:submitted", "request:withdrawn"]


@pytest.mark.parametrize("other", ["rob", "ada", "admin"])
def test_nobody_else_takes_it_back(scene: Scene, pending: AccessRequest, other: str) -> None:
    with refused(Code.NOT_FOUND):
        requests.withdraw(pending.pk, getattr(scene.cast, other), scene.now)
    with refused(Code.NOT_FOUND):
        requests.withdraw(uuid4(), scene.cast.rita, scene.now)


def test_an_unanswered_request_lapses_at_its_moment_and_the_requester_is_told(
    scene: Scene, pending: AccessRequest
) -> None:
    Notice.objects.all().delete()
    assert requests.lapse_due(pending.lapses_at - timedelta(microseconds=1)) == 0
    assert requests.lapse_due(pending.lapses_at) == 1
    assert requests.lapse_due(pending.lapses_at + timedelta(hours=1)) == 0
    pending.refresh_from_db()
    assert pending.state == "lapsed"
    assert [notice.person for notice in Notice.objects.all()] == [scene.cast.rita]


def test_a_lapsed_request_cant_be_withdrawn_whether_or_not_a_sweep_came_by(
    scene: Scene, pending: AccessRequest
) -> None:
    with refused(Code.REQUEST_LAPSED):
        requests.withdraw(pending.pk, scene.cast.rita, pending.lapses_at)
    requests.lapse_due(pending.lapses_at)
    with refused(Code.REQUEST_LAPSED):
        requests.withdraw(pending.pk, scene.cast.rita, pending.lapses_at)


def test_an_unanswered_request_escalates_once(scene: Scene, pending: AccessRequest) -> None:
    Notice.objects.all().delete()
    assert requests.escalate_due(pending.escalates_at - timedelta(microseconds=1)) == 0
    assert requests.escalate_due(pending.escalates_at) == 1
    assert requests.escalate_due(pending.escalates_at + timedelta(minutes=1)) == 0
    assert set(Notice.objects.values_list("person__username", flat=True)) >= {"ada", "ben"}
    assert tags(pending) == ["request:submitted", "request:escalated"]


def test_escalation_wakes_the_supervisors_too_and_they_see_what_they_were_woken_for(
    scene: Scene, pending: AccessRequest
) -> None:
    people.set_groups(scene.cast.nora, ["supervisors"], by=None, now=scene.now)
    requests.escalate_due(pending.escalates_at)
    assert Notice.objects.filter(person=scene.cast.nora).count() == 1
    assert queries.request_for(scene.cast.nora, pending.pk) == pending
    assert list(queries.visible_requests(scene.cast.nora)) == [pending]


def test_what_is_decided_or_over_doesnt_escalate(scene: Scene, pending: AccessRequest) -> None:
    second = scene.asked()
    requests.withdraw(pending.pk, scene.cast.rita, scene.now)
    assert requests.escalate_due(second.lapses_at) == 0


def test_reasons_are_in_the_trail_but_no_code_or_password_is(scene: Scene) -> None:
    scene.granted()
    text = trail_text()
    assert "No data since 02:55" in text
    assert AuditEvent.objects.filter(tag__endswith="approval:given").exists()
    for person in scene.cast.people.values():
        assert scene.cast.password(person) not in text
        assert scene.code(person) not in text
