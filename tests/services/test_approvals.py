"""Consent: distinct people, never the requester, each with a second factor given for this very request."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import AccessRequest, Approval, Grant, Notice
from breakglass.services import approvals, incidents, locks, people, requests
from tests.services.scene import TWO, Scene, last, refused, tags


def _approve(scene: Scene, request: AccessRequest, name: str, code: str | None = None) -> AccessRequest:
    person = getattr(scene.cast, name)
    return approvals.approve(request.pk, person, code or scene.code(person), "go ahead", scene.now)


def test_one_yes_where_one_is_asked_for_issues_the_grant(scene: Scene, pending: AccessRequest) -> None:
    decided = _approve(scene, pending, "ada")
    assert (decided.state, decided.decided_at) == ("approved", scene.now)
    grant = Grant.objects.get()
    assert grant.ends_at == scene.now + timedelta(minutes=60)
    assert tags(pending, grant) == [
        "request:submitted",
        "approval:given",
        "request:approved",
        "grant:issued",
    ]
    assert Notice.objects.filter(person=scene.cast.rita, subject="REQ-1 was approved").count() == 1


def test_two_must_say_yes_where_two_are_asked_for(scene: Scene) -> None:
    scene.playbook(**TWO)
    request = scene.asked()
    assert _approve(scene, request, "ada").state == "pending"
    assert not Grant.objects.exists()
    assert _approve(scene, request, "ben").state == "approved"
    assert Grant.objects.count() == 1


def test_the_same_person_twice_is_one_person(scene: Scene) -> None:
    scene.playbook(**TWO)
    request = scene.asked()
    _approve(scene, request, "ada")
    scene.time.forward(seconds=30)
    with refused(Code.ALREADY_DECIDED):
        _approve(scene, request, "ada")
    assert not Grant.objects.exists()


def test_nobody_approves_their_own_request_even_as_an_approver(scene: Scene, pending: AccessRequest) -> None:
    people.set_groups(scene.cast.rita, ["responders", "ot-leads", "administrators"], by=None, now=scene.now)
    with refused(Code.OWN_REQUEST):
        _approve(scene, pending, "rita")
    with refused(Code.OWN_REQUEST):
        approvals.deny(pending.pk, scene.cast.rita, scene.code(scene.cast.rita), "no", scene.now)
    assert last("approval:refused").data["refusal"] == "own_request"
    assert not Approval.objects.exists()


def test_a_refused_approval_doesnt_burn_the_code(scene: Scene, pending: AccessRequest) -> None:
    people.set_groups(scene.cast.ada, ["reviewers"], by=None, now=scene.now)
    with refused(Code.NOT_AN_APPROVER):
        _approve(scene, pending, "ada")
    people.set_groups(scene.cast.ada, ["ot-leads"], by=None, now=scene.now)
    assert _approve(scene, pending, "ada").state == "approved"


@pytest.mark.parametrize("name", ["vera", "otto", "admin", "sam"])
def test_who_sees_the_request_but_is_no_approver_is_told_so(
    scene: Scene, pending: AccessRequest, name: str
) -> None:
    with refused(Code.NOT_AN_APPROVER) as said:
        _approve(scene, pending, name)
    assert "ot-leads" in said[0].help


@pytest.mark.parametrize("name", ["rob", "nora"])
def test_to_everybody_else_the_request_isnt_there(scene: Scene, pending: AccessRequest, name: str) -> None:
    with refused(Code.NOT_FOUND):
        _approve(scene, pending, name)
    with refused(Code.NOT_FOUND):
        approvals.approve(uuid4(), scene.cast.ada, scene.code(scene.cast.ada), "", scene.now)


def test_a_disabled_approver_doesnt_approve(scene: Scene, pending: AccessRequest) -> None:
    people.disable(scene.cast.ada, by=None, now=scene.now)
    with refused(Code.NOT_FOUND):
        _approve(scene, pending, "ada")


def test_a_code_counts_once_and_for_one_request(scene: Scene, pending: AccessRequest) -> None:
    other = scene.asked()
    code = scene.code(scene.cast.ada)
    _approve(scene, pending, "ada", code)
    with refused(Code.SECOND_FACTOR_USED):
        _approve(scene, other, "ada", code)
    other.refresh_from_db()
    assert other.state == "pending"
    assert Grant.objects.count() == 1


def test_anothers_code_is_a_wrong_code(scene: Scene, pending: AccessRequest) -> None:
    with refused(Code.SECOND_FACTOR_WRONG):
        _approve(scene, pending, "ada", scene.code(scene.cast.ben))


def test_the_code_before_last_is_too_old(scene: Scene, pending: AccessRequest) -> None:
    """Not older than 60 s: the step before the current one counts, the one before that doesn't."""
    old = scene.code(scene.cast.ada)
    scene.time.forward(seconds=60)
    with refused(Code.SECOND_FACTOR_WRONG):
        _approve(scene, pending, "ada", old)
    previous = scene.cast.code(scene.cast.ada, scene.now - timedelta(seconds=30))
    assert _approve(scene, pending, "ada", previous).state == "approved"


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "00000\x00"])
def test_what_is_no_code_at_all_is_refused(scene: Scene, pending: AccessRequest, code: str) -> None:
    person = scene.cast.ada
    with refused(Code.SECOND_FACTOR_REQUIRED if not code else Code.SECOND_FACTOR_WRONG):
        approvals.approve(pending.pk, person, code, "", scene.now)
    assert not Approval.objects.exists()


def test_one_no_is_enough_and_says_why(scene: Scene) -> None:
    scene.playbook(**TWO)
    request = scene.asked()
    _approve(scene, request, "ada")
    with refused(Code.BAD_INPUT) as said:
        approvals.deny(request.pk, scene.cast.ben, scene.code(scene.cast.ben), "  ", scene.now)
    assert said[0].needs == ("comment",)
    denied = approvals.deny(request.pk, scene.cast.ben, scene.code(scene.cast.ben), "not now", scene.now)
    assert denied.state == "denied"
    assert not Grant.objects.exists()
    assert Notice.objects.filter(person=scene.cast.rita, subject="REQ-1 was denied").count() == 1


@pytest.mark.parametrize("how", ["approved", "withdrawn", "denied"])
def test_what_is_decided_stays_decided(scene: Scene, pending: AccessRequest, how: str) -> None:
    cast = scene.cast
    if how == "approved":
        _approve(scene, pending, "ada")
    elif how == "denied":
        approvals.deny(pending.pk, cast.ada, scene.code(cast.ada), "no", scene.now)
    else:
        requests.withdraw(pending.pk, cast.rita, scene.now)
    with refused(Code.REQUEST_NOT_PENDING):
        _approve(scene, pending, "ben")
    with refused(Code.REQUEST_NOT_PENDING):
        approvals.deny(pending.pk, cast.ben, scene.code(cast.ben), "late", scene.now)


def test_a_request_whose_time_is_over_cant_be_approved_even_if_no_sweep_came_by(
    scene: Scene, pending: AccessRequest
) -> None:
    scene.time.set_wall(pending.lapses_at)
    with refused(Code.REQUEST_LAPSED):
        _approve(scene, pending, "ada")
    scene.time.set_wall(pending.lapses_at - timedelta(seconds=1))
    assert _approve(scene, pending, "ada").state == "approved"


def test_what_stands_against_the_request_now_counts_at_the_approval(
    scene: Scene, pending: AccessRequest
) -> None:
    cast = scene.cast
    lock = locks.place(cast.admin, "asset", "hist-01", "under repair", scene.code(cast.admin), scene.now)
    with refused(Code.LOCKED):
        _approve(scene, pending, "ada")
    scene.time.forward(seconds=30)
    locks.lift(cast.admin, lock.pk, scene.code(cast.admin), scene.now)
    people.disable(cast.rita, by=None, now=scene.now)
    with refused(Code.PERSON_INACTIVE):
        _approve(scene, pending, "ada")
    people.enable(cast.rita, by=None, now=scene.now)
    people.set_groups(cast.rita, [], by=None, now=scene.now)
    with refused(Code.NOT_ALLOWED):
        _approve(scene, pending, "ada")
    # A no is possible all the while.
    assert approvals.deny(pending.pk, cast.ada, scene.code(cast.ada), "no", scene.now).state == "denied"


def test_the_request_of_a_closed_incident_cant_be_approved(scene: Scene, pending: AccessRequest) -> None:
    incidents.close(scene.incident.pk, scene.cast.rita, scene.now)
    with refused(Code.REQUEST_NOT_PENDING):
        _approve(scene, pending, "ada")


def test_a_playbook_that_was_replaced_is_approved_as_it_was_asked_for(
    scene: Scene, pending: AccessRequest
) -> None:
    """E19: the pinned digest is what runs, and its approvers decide."""
    scene.playbook(approvers={"groups": ["site-managers"], "count": 1}, logins=["operator"])
    with refused(Code.NOT_AN_APPROVER):
        _approve(scene, pending, "sam")
    _approve(scene, pending, "ada")
    assert Grant.objects.get().playbook_id == pending.playbook_id != scene.version.pk


def test_every_refused_decision_is_in_the_trail_with_its_code(scene: Scene, pending: AccessRequest) -> None:
    with refused(Code.SECOND_FACTOR_WRONG):
        _approve(scene, pending, "ada", scene.cast.wrong_code("ada", scene.now))
    row = last("approval:refused")
    assert row.data["refusal"] == "second_factor_wrong"
    assert row.data["verdict"] == "approved"
    assert row.subject == f"accessrequest:{pending.pk}"
    assert row.actor_name == "ada"


def test_a_comment_of_any_kind_can_be_kept(scene: Scene, pending: AccessRequest) -> None:
    approvals.approve(
        pending.pk, scene.cast.ada, scene.code(scene.cast.ada), "ok\x00\ud800" + "x" * 9999, scene.now
    )
    comment = Approval.objects.get().comment
    assert comment.startswith("ok\ufffd\ufffdx")
    assert len(comment) == 2000


# --- taken back


def test_a_yes_is_taken_back_while_others_are_waited_for(scene: Scene) -> None:
    scene.playbook(**TWO)
    request = scene.asked()
    approvals.approve(request.pk, scene.cast.ada, scene.code(scene.cast.ada), "go", scene.now)
    approvals.take_back(request.pk, scene.cast.ada, scene.now)
    assert (last("approval:taken_back").actor_name, Approval.objects.count()) == ("ada", 0)
    scene.time.forward(seconds=30)
    done = approvals.approve(request.pk, scene.cast.ben, scene.code(scene.cast.ben), "go", scene.now)
    assert done.state == "pending" and not Grant.objects.exists()
    # Whoever took it back decides anew, with another factor.
    done = approvals.deny(request.pk, scene.cast.ada, scene.code(scene.cast.ada), "not now", scene.now)
    assert done.state == "denied"


def test_nothing_of_others_and_nothing_that_is_decided_is_taken_back(scene: Scene) -> None:
    scene.playbook(**TWO)
    request = scene.asked()
    approvals.approve(request.pk, scene.cast.ada, scene.code(scene.cast.ada), "go", scene.now)
    for who, code in (("ben", Code.BAD_INPUT), ("rita", Code.BAD_INPUT), ("rob", Code.NOT_FOUND)):
        with refused(code):
            approvals.take_back(request.pk, getattr(scene.cast, who), scene.now)
    approvals.approve(request.pk, scene.cast.ben, scene.code(scene.cast.ben), "go", scene.now)
    with refused(Code.REQUEST_NOT_PENDING):
        approvals.take_back(request.pk, scene.cast.ada, scene.now)
    assert Grant.objects.get().state == "active"
