"""Incidents: opened when something happened; closing one ends what came of it and waits for reviews (E12)."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import AccessRequest, Grant, Incident
from breakglass.services import grants, incidents
from tests.services.scene import Scene, last, refused, tags
from tests.support import cast as house


def test_incidents_are_numbered_and_in_the_trail(scene: Scene) -> None:
    second = house.incident(scene.cast.ada, scene.now, "  HMI \n down\x00 ")
    assert (scene.incident.label, second.label) == ("INC-1", "INC-2")
    assert second.title == "HMI down\ufffd"
    assert last("incident:opened").data == {"incident": "INC-2", "title": "HMI down\ufffd"}


@pytest.mark.parametrize("title", ["", "  ", "down", "\n\n\n\n\n\n", "x" * 161])
def test_a_title_that_says_nothing_is_refused(scene: Scene, title: str) -> None:
    with refused(Code.BAD_INPUT):
        incidents.open_incident(scene.cast.rita, title, scene.now)


@pytest.mark.parametrize("who", ["vera", "otto"])
def test_those_who_look_afterwards_open_none(scene: Scene, who: str) -> None:
    with refused(Code.NOT_ALLOWED):
        incidents.open_incident(getattr(scene.cast, who), "Historian is down", scene.now)


def test_closing_withdraws_what_waits_and_revokes_what_runs(scene: Scene) -> None:
    other = house.incident(scene.cast.rita, scene.now)
    grant, elsewhere = scene.granted(), scene.granted(case=other)
    pending, waiting_elsewhere = scene.asked(), scene.asked(case=other)
    closed = incidents.close(scene.incident.pk, scene.cast.rita, scene.now)
    assert (closed.closed_at, closed.closed_by) == (scene.now, scene.cast.rita)
    for row in (grant, elsewhere, pending, waiting_elsewhere):
        row.refresh_from_db()
    assert (grant.state, pending.state) == ("revoked", "withdrawn")
    assert (elsewhere.state, waiting_elsewhere.state) == ("active", "pending")
    assert last("incident:closed").data == {"incident": "INC-1", "withdrawn": 1, "revoked": 1}
    assert tags(grant)[-1] == "grant:revoked"


def test_an_incident_closes_once(scene: Scene) -> None:
    incidents.close(scene.incident.pk, scene.cast.rita, scene.now)
    with refused(Code.INCIDENT_CLOSED):
        incidents.close(scene.incident.pk, scene.cast.rita, scene.now)
    with refused(Code.NOT_FOUND):
        incidents.close(uuid4(), scene.cast.rita, scene.now)


@pytest.mark.parametrize("who", ["rita", "ada", "ben", "admin"])
def test_opener_approvers_and_administrators_close_it(scene: Scene, pending: AccessRequest, who: str) -> None:
    incidents.close(scene.incident.pk, getattr(scene.cast, who), scene.now)
    assert not Incident.objects.get(pk=scene.incident.pk).is_open


@pytest.mark.parametrize("who", ["rob", "vera", "otto", "sam"])
def test_nobody_else_closes_it(scene: Scene, pending: AccessRequest, who: str) -> None:
    with refused(Code.NOT_ALLOWED):
        incidents.close(scene.incident.pk, getattr(scene.cast, who), scene.now)


def test_an_approver_of_something_else_doesnt_close_it(scene: Scene) -> None:
    """Nothing was asked for it: nobody approves for it."""
    with refused(Code.NOT_ALLOWED):
        incidents.close(scene.incident.pk, scene.cast.ada, scene.now)


def test_it_doesnt_close_while_a_review_is_open(scene: Scene, grant: Grant) -> None:
    grants.release(grant.pk, scene.cast.rita, scene.now)
    with refused(Code.INCIDENT_BUSY):
        incidents.close(scene.incident.pk, scene.cast.rita, scene.now)
    Grant.objects.filter(pk=grant.pk).update(reviewed_at=scene.now)
    incidents.close(scene.incident.pk, scene.cast.rita, scene.now)


def test_what_the_clock_ended_needs_its_review_too_even_if_no_sweep_came_by(
    scene: Scene, grant: Grant
) -> None:
    assert grant.ends_at is not None
    with refused(Code.INCIDENT_BUSY):
        incidents.close(scene.incident.pk, scene.cast.rita, grant.ends_at)
    grant.refresh_from_db()
    assert grant.state == "active"
    incidents.close(scene.incident.pk, scene.cast.rita, grant.ends_at - timedelta(microseconds=1))


def test_a_refused_closing_changes_nothing(scene: Scene, grant: Grant) -> None:
    pending = scene.asked()
    released = scene.granted()
    grants.release(released.pk, scene.cast.rita, scene.now)
    with refused(Code.INCIDENT_BUSY):
        incidents.close(scene.incident.pk, scene.cast.rita, scene.now)
    pending.refresh_from_db()
    grant.refresh_from_db()
    assert (pending.state, grant.state) == ("pending", "active")


def test_a_request_whose_time_is_over_lapsed_and_was_not_withdrawn(
    scene: Scene, pending: AccessRequest
) -> None:
    incidents.close(scene.incident.pk, scene.cast.rita, pending.lapses_at)
    pending.refresh_from_db()
    assert pending.state == "lapsed"
    assert last("incident:closed").data["withdrawn"] == 0
