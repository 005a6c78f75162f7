"""Reads for screens: lists hold what `may` allows and nothing else; approvers are told what is unusual."""

from __future__ import annotations

from datetime import timedelta

import pytest

from breakglass import queries
from breakglass.domain.permissions import Verb, may
from breakglass.models import AccessRequest, Grant
from breakglass.services import approvals, grants, people
from breakglass.unusual import unusual_facts
from sessions import queries as data_plane
from sessions.models import SSHSession
from sessions.queries import SessionFilter
from tests.services import stage
from tests.services.scene import ARMED, TWO, Scene
from tests.support import cast as house


@pytest.fixture
def busy(scene: Scene) -> Scene:
    """Requests, grants and sessions of two people under two playbooks with other approvers."""
    cast = scene.cast
    stage.live(scene, scene.granted())
    stage.live(scene, scene.granted(cast.rob))
    scene.playbook("site-only", approvers={"groups": ["site-managers"], "count": 1})
    stage.live(scene, scene.granted(cast.nora, cast.sam))
    scene.asked(cast.rita)
    people.set_groups(cast.kit, ["ot-leads", "site-managers"], by=None, now=scene.now)
    people.disable(cast.ben, by=None, now=scene.now)
    return scene


def test_lists_hold_what_may_allows_and_nothing_else(busy: Scene) -> None:
    """A list is filtered in the database, a page by `may`: both say the same of every person."""
    for person in busy.cast.people.values():
        actor = queries.actor_of(person)
        requests = {
            row.pk
            for row in AccessRequest.objects.all()
            if may(actor, Verb.SEE_REQUEST, queries.thing_of_request(row))
        }
        held = {
            row.pk for row in Grant.objects.all() if may(actor, Verb.SEE_GRANT, queries.thing_of_grant(row))
        }
        sessions = {
            row.pk
            for row in SSHSession.objects.all()
            if may(actor, Verb.SEE_SESSION, data_plane.thing_of_session(row))
        }
        assert {row.pk for row in queries.visible_requests(person)} == requests, person
        assert {row.pk for row in queries.visible_grants(person)} == held, person
        assert {row.pk for row in data_plane.sessions_for(person, SessionFilter())} == sessions, person
    assert len(queries.visible_requests(busy.cast.rita)) == 2
    assert len(queries.visible_requests(busy.cast.vera)) == 4


def test_an_inbox_holds_what_waits_for_this_very_person(scene: Scene) -> None:
    cast = scene.cast
    scene.playbook(**TWO)
    first = scene.asked()
    second = scene.asked(cast.rob)
    assert list(queries.inbox_of(cast.ada, scene.now)) == [first, second]
    approvals.approve(first.pk, cast.ada, scene.code(cast.ada), "", scene.now)
    assert list(queries.inbox_of(cast.ada, scene.now)) == [second]
    assert list(queries.inbox_of(cast.ben, scene.now)) == [first, second]
    for other in (cast.rita, cast.vera, cast.admin, cast.sam):
        assert list(queries.inbox_of(other, scene.now)) == []
    assert list(queries.inbox_of(cast.ben, first.lapses_at)) == []


def test_an_approvers_own_request_isnt_in_their_inbox(scene: Scene) -> None:
    people.set_groups(scene.cast.rita, ["responders", "ot-leads"], by=None, now=scene.now)
    scene.asked()
    assert list(queries.inbox_of(scene.cast.rita, scene.now)) == []


def test_live_grants_are_those_that_run_or_wait_at_this_moment(scene: Scene) -> None:
    running = scene.granted()
    scene.playbook(**ARMED)
    waiting = scene.granted()
    over = scene.granted()
    grants.release(over.pk, scene.cast.rita, scene.now)
    assert set(queries.live_grants(scene.cast.rita, scene.now)) == {running, waiting}
    assert waiting.use_by
    assert running.ends_at
    assert set(queries.live_grants(scene.cast.rita, waiting.use_by)) == {running}
    assert set(queries.live_grants(scene.cast.rita, running.ends_at)) == set()


# --- what is unusual


def test_a_first_and_only_request_at_noon_on_a_monday(scene: Scene) -> None:
    assert unusual_facts(scene.asked()) == ["First use of this playbook by this person"]


def test_the_second_of_a_day_and_one_after_a_no(scene: Scene) -> None:
    first = scene.asked()
    approvals.deny(first.pk, scene.cast.ada, scene.code(scene.cast.ada), "no", scene.now)
    scene.time.forward(minutes=10)
    assert unusual_facts(scene.asked()) == [
        "Request number 2 by this person today",
        "An earlier request for this incident was denied",
    ]
    scene.time.forward(days=1)
    other = house.incident(scene.cast.rita, scene.now)
    assert unusual_facts(scene.asked(case=other)) == []


@pytest.mark.parametrize(
    ("offset", "unusual"),
    [
        (timedelta(hours=-6), False),  # Monday 06:00
        (timedelta(hours=-6, seconds=-1), True),
        (timedelta(hours=7, seconds=-1), False),
        (timedelta(hours=7), True),  # 19:00
        (timedelta(days=5), True),  # Saturday noon
        (timedelta(days=6), True),
    ],
)
def test_nights_and_weekends_are_outside_usual_hours(scene: Scene, offset: timedelta, unusual: bool) -> None:
    scene.time.set_wall(scene.now + offset)
    assert any("Outside usual hours" in fact for fact in unusual_facts(scene.asked())) is unusual


# --- lists of sessions


def test_sessions_are_found_by_who_where_why_and_when(busy: Scene) -> None:
    vera = busy.cast.vera

    def found(**wanted: object) -> list[str]:
        return sorted(s.person.username for s in data_plane.sessions_for(vera, SessionFilter(**wanted)))  # type: ignore[arg-type]

    assert found() == ["nora", "rita", "rob"]
    assert found(person="rita") == ["rita"]
    assert found(asset="hist-01", playbook="site-only") == ["nora"]
    assert found(incident="INC-1") == found(incident="inc-1") == found()
    assert found(incident="INC-2") == found(incident="x\x00") == found(incident="\u0661") == []
    assert found(person="rita\x00") == found(asset="\x00") == found(playbook="\x00\ud800") == []
    assert found(since=busy.now + timedelta(seconds=1)) == []
    assert found(until=busy.now) == found()
    SSHSession.objects.filter(person=busy.cast.rob).update(
        state="ended", end_reason="killed", ended_at=busy.now
    )
    assert found(open_only=True) == ["nora", "rita"]
