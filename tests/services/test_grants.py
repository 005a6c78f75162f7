"""Grants: issued once, started once, ended once; the clock has the last word."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from breakglass import queries
from breakglass.domain import policy
from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import Asset, Grant, Notice, PlaybookVersion
from breakglass.services import grants, people
from tests.services.scene import ARMED, Scene, last, refused, tags
from tests.support import cast as house

INSTANT = timedelta(microseconds=1)


def _armed(scene: Scene) -> Grant:
    scene.playbook(**ARMED)
    return scene.granted()


def _decide(scene: Scene, login: str | None = None) -> policy.Decision:
    facts = queries.access_facts(scene.cast.rita.pk, "hist-01")
    return policy.decide(policy.Connect("hist-01", login), facts, scene.now)


# --- issued


def test_a_grant_is_of_one_person_one_incident_and_the_named_machines(scene: Scene) -> None:
    grant = scene.granted(minutes=45)
    assert (grant.person, grant.incident_id, grant.playbook_id) == (
        scene.cast.rita,
        scene.incident.pk,
        scene.version.pk,
    )
    assert (grant.state, grant.starts_at, grant.ends_at) == (
        "active",
        scene.now,
        scene.now + timedelta(minutes=45),
    )
    assert list(grant.assets.all()) == [scene.asset]
    assert last("grant:issued").data["digest"] == scene.version.digest


def test_a_named_login_is_the_only_one(scene: Scene) -> None:
    from breakglass.services.assets import LoginForm, store_login

    store_login(scene.asset, LoginForm("histadmin", "certificate"), by=None, now=scene.now)
    scene.playbook(logins=["operator", "histadmin"])
    assert scene.granted().logins == ["operator", "histadmin"]
    assert scene.granted(login="histadmin").logins == ["histadmin"]


def test_a_request_never_has_two_grants(scene: Scene, grant: Grant) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        grants.issue(grant.request, scene.now)


def test_no_row_can_say_that_a_grant_runs_without_an_end(grant: Grant) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Grant.objects.filter(pk=grant.pk).update(ends_at=None)
    with pytest.raises(IntegrityError), transaction.atomic():
        Grant.objects.filter(pk=grant.pk).update(minutes=241)
    with pytest.raises(IntegrityError), transaction.atomic():
        Grant.objects.filter(pk=grant.pk).update(state="eternal")


# --- armed, activated


def test_an_armed_grant_has_no_end_yet_and_must_be_used_in_time(scene: Scene) -> None:
    grant = _armed(scene)
    assert (grant.state, grant.starts_at, grant.ends_at) == ("armed", None, None)
    assert grant.use_by == scene.now + timedelta(minutes=30)


def test_the_first_use_starts_the_clock_and_the_second_doesnt(scene: Scene) -> None:
    grant = _armed(scene)
    first = scene.time.forward(minutes=10)
    assert grants.activate(grant.pk, first).ends_at == first + timedelta(minutes=60)
    assert grants.activate(grant.pk, scene.time.forward(minutes=10)).ends_at == first + timedelta(minutes=60)
    assert tags(grant) == ["grant:issued", "grant:activated"]


def test_an_armed_grant_is_void_at_its_last_moment_whether_or_not_a_sweep_came_by(scene: Scene) -> None:
    grant = _armed(scene)
    assert grant.use_by is not None
    with refused(Code.GRANT_USE_WINDOW_OVER):
        grants.activate(grant.pk, grant.use_by)
    assert grants.expire_due(grant.use_by) == 1
    with refused(Code.GRANT_ENDED):
        grants.activate(grant.pk, grant.use_by)


@pytest.mark.parametrize("how", ["released", "revoked", "expired"])
def test_an_ended_grant_doesnt_start_again(scene: Scene, how: str) -> None:
    grant = _armed(scene)
    cast = scene.cast
    if how == "released":
        grants.release(grant.pk, cast.rita, scene.now)
    elif how == "revoked":
        grants.revoke(grant.pk, cast.ben, "not needed", scene.code(cast.ben), scene.now)
    else:
        grants.expire_due(scene.time.forward(minutes=31))
    with refused(Code.GRANT_ENDED):
        grants.activate(grant.pk, scene.now)


# --- ended


def test_the_holder_is_done(scene: Scene, grant: Grant) -> None:
    released = grants.release(grant.pk, scene.cast.rita, scene.now)
    assert (released.state, released.ended_at, released.ended_by) == ("released", scene.now, scene.cast.rita)
    with refused(Code.GRANT_ENDED):
        grants.release(grant.pk, scene.cast.rita, scene.now)
    assert tags(grant) == ["grant:issued", "grant:released"]


@pytest.mark.parametrize("other", ["rob", "ada", "admin"])
def test_nobody_else_releases_it(scene: Scene, grant: Grant, other: str) -> None:
    with refused(Code.GRANT_FOREIGN):
        grants.release(grant.pk, getattr(scene.cast, other), scene.now)
    with refused(Code.NOT_FOUND):
        grants.release(uuid4(), scene.cast.rita, scene.now)


@pytest.mark.parametrize("who", ["ada", "ben", "admin"])
def test_approvers_and_administrators_revoke_with_a_code_and_a_reason(
    scene: Scene, grant: Grant, who: str
) -> None:
    person = getattr(scene.cast, who)
    scene.time.forward(seconds=30)
    with refused(Code.BAD_INPUT):
        grants.revoke(grant.pk, person, " ", scene.code(person), scene.now)
    with refused(Code.SECOND_FACTOR_WRONG):
        grants.revoke(grant.pk, person, "enough", scene.cast.wrong_code(person, scene.now), scene.now)
    revoked = grants.revoke(grant.pk, person, "enough\x00", scene.code(person), scene.now)
    assert (revoked.state, revoked.ended_by, revoked.end_note) == ("revoked", person, "enough\ufffd")
    with refused(Code.GRANT_ENDED):
        grants.revoke(grant.pk, person, "again", "000000", scene.now)


@pytest.mark.parametrize("who", ["rita", "rob", "vera", "otto", "sam"])
def test_nobody_else_revokes(scene: Scene, grant: Grant, who: str) -> None:
    person = getattr(scene.cast, who)
    with refused(Code.NOT_ALLOWED):
        grants.revoke(grant.pk, person, "enough", scene.code(person), scene.now)


def test_the_clock_ends_it_at_its_moment_and_once(scene: Scene, grant: Grant) -> None:
    Notice.objects.all().delete()
    assert grant.ends_at is not None
    assert grants.expire_due(grant.ends_at - INSTANT) == 0
    assert not grants.expire(grant.pk, grant.ends_at - INSTANT)
    assert grants.expire_due(grant.ends_at) == 1
    assert grants.expire_due(grant.ends_at + timedelta(hours=1)) == 0
    assert not grants.expire(grant.pk, grant.ends_at)
    assert tags(grant) == ["grant:issued", "grant:expired"]
    assert [notice.person for notice in Notice.objects.all()] == [scene.cast.rita]


def test_however_late_it_is_written_down_it_ended_at_its_end(scene: Scene, grant: Grant) -> None:
    assert grant.ends_at is not None
    grants.expire_due(grant.ends_at + timedelta(hours=30))
    grant.refresh_from_db()
    assert grant.ended_at == grant.ends_at


def test_a_grant_that_is_over_cant_be_released_or_revoked_whether_or_not_a_sweep_came_by(
    scene: Scene, grant: Grant
) -> None:
    assert grant.ends_at is not None
    with refused(Code.GRANT_ENDED) as said:
        grants.release(grant.pk, scene.cast.rita, grant.ends_at)
    assert "expired" in said[0].message
    with refused(Code.GRANT_ENDED):
        grants.revoke(grant.pk, scene.cast.ben, "late", scene.code(scene.cast.ben), grant.ends_at)


def test_the_scheduled_end_of_an_unknown_grant_is_no_fault(db: None, scene: Scene) -> None:
    assert not grants.expire(uuid4(), scene.now)


# --- what a grant lets in


def test_the_way_in_is_there_while_the_grant_runs_and_not_before_or_after(scene: Scene) -> None:
    """E13: before, during, after, from the rows in the database."""
    assert isinstance(_decide(scene), policy.Deny)
    grant = scene.granted()
    decision = _decide(scene)
    assert isinstance(decision, policy.Allow)
    assert decision.obligations is not None
    assert decision.obligations.grant_id == grant.pk
    assert decision.obligations.ends_at == grant.ends_at
    scene.time.forward(minutes=60)
    assert isinstance(_decide(scene), policy.Deny)


def test_the_end_of_one_grant_leaves_the_overlapping_one(scene: Scene) -> None:
    first, second = scene.granted(), scene.granted()
    grants.release(second.pk, scene.cast.rita, scene.now)
    decision = _decide(scene)
    assert isinstance(decision, policy.Allow)
    assert decision.obligations is not None
    assert decision.obligations.grant_id == first.pk


def test_many_old_grants_dont_hide_the_one_that_runs(scene: Scene) -> None:
    running = scene.granted(minutes=120)
    for _ in range(51):
        request = scene.asked()
        grants.release(grants.issue(request, scene.now).pk, scene.cast.rita, scene.now)
    decision = _decide(scene)
    assert isinstance(decision, policy.Allow)
    assert decision.obligations is not None
    assert decision.obligations.grant_id == running.pk


def test_a_machine_that_takes_an_old_name_inherits_no_grant(scene: Scene, grant: Grant) -> None:
    Asset.objects.filter(pk=scene.asset.pk).update(name="hist-01-old")
    house.machine(scene.now)
    decision = _decide(scene)
    assert isinstance(decision, policy.Deny)
    assert decision.refusal.code is Code.NO_GRANT


def test_a_disabled_holder_is_out_and_in_again_while_it_runs(scene: Scene, grant: Grant) -> None:
    people.disable(scene.cast.rita, by=None, now=scene.now)
    denied = _decide(scene)
    assert isinstance(denied, policy.Deny)
    assert denied.refusal.code is Code.PERSON_INACTIVE
    people.enable(scene.cast.rita, by=None, now=scene.now)
    assert isinstance(_decide(scene), policy.Allow)


def test_a_playbook_that_was_tampered_with_lets_nobody_in(scene: Scene) -> None:
    """E19: what was approved by its digest is what runs, or nothing does."""
    version = scene.playbook("tampered-later")
    scene.granted()
    queries._SPECS.pop(version.digest)
    PlaybookVersion.objects.filter(pk=version.pk).update(
        spec={**version.spec, "channels": ["shell", "exec", "sftp"]}
    )
    with pytest.raises(ValueError, match="doesn't match its digest"):
        _decide(scene)
