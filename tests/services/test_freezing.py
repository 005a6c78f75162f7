"""Freezing in the books: who may, once, with its audit row; and against the ends that race with it."""

from __future__ import annotations

from functools import partial

import pytest

from breakglass import doorbell
from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import AuditEvent, Grant
from breakglass.services import people
from sessions import services
from sessions.models import SSHSession
from sessions.services import Totals
from sessions.states import EndReason
from tests.services import stage
from tests.services.racing import race, sound_trail
from tests.services.scene import Scene, last, refused, tags


def test_a_freeze_is_written_with_its_reason_and_rings(
    scene: Scene, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = stage.live(scene, grant)
    rung: list[str] = []
    monkeypatch.setattr(doorbell, "ring", lambda topic, **_: rung.append(topic))
    frozen = services.freeze(session.pk, scene.cast.ada, " is this\nthe right one? ", scene.now)
    assert (frozen.frozen_at, frozen.frozen_by) == (scene.now, scene.cast.ada)
    assert frozen.freeze_reason == "is this the right one?"
    row = last("session:frozen")
    assert (row.actor_name, row.data["reason"]) == ("ada", "is this the right one?")
    assert f"session:{session.pk}" in rung
    goes_on = services.unfreeze(session.pk, scene.cast.ben, scene.now)
    assert (goes_on.frozen_at, goes_on.frozen_by, goes_on.freeze_reason) == (None, None, "")
    row = last("session:unfrozen")
    assert (row.actor_name, row.data["reason"]) == ("ben", "is this the right one?")
    assert row.data["frozen_at"] == scene.now.isoformat(timespec="microseconds")


def test_twice_changes_nothing_and_is_no_error(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    services.unfreeze(session.pk, scene.cast.ada, scene.now)
    services.freeze(session.pk, scene.cast.ada, "first", scene.now)
    again = services.freeze(session.pk, scene.cast.ben, "second", scene.now)
    assert (again.freeze_reason, again.frozen_by) == ("first", scene.cast.ada)
    for _ in range(2):
        services.unfreeze(session.pk, scene.cast.ada, scene.now)
    assert tags(session)[2:] == ["session:frozen", "session:unfrozen"]


def test_who_may(scene: Scene, grant: Grant) -> None:
    session, cast = stage.live(scene, grant), scene.cast
    for person, code in (
        (cast.rita, Code.NOT_ALLOWED),
        (cast.vera, Code.NOT_ALLOWED),
        (cast.rob, Code.NOT_FOUND),
    ):
        with refused(code):
            services.freeze(session.pk, person, "no", scene.now)
        with refused(code):
            services.unfreeze(session.pk, person, scene.now)
    services.freeze(session.pk, cast.admin, "yes", scene.now)
    services.unfreeze(session.pk, cast.admin, scene.now)


def test_nobody_lets_their_own_session_go_on(scene: Scene) -> None:
    """Also who approves for others."""
    people.set_groups(scene.cast.rita, ["responders", "ot-leads"], by=None, now=scene.now)
    session = stage.live(scene, scene.granted())
    services.freeze(session.pk, scene.cast.rita, "let me think", scene.now)
    with refused(Code.NOT_ALLOWED):
        services.unfreeze(session.pk, scene.cast.rita, scene.now)


@pytest.mark.parametrize("how", ["ended", "being killed"])
def test_what_is_over_isnt_frozen(scene: Scene, grant: Grant, how: str) -> None:
    session = stage.live(scene, grant)
    if how == "ended":
        services.end_session(session.pk, EndReason.EXPIRED, Totals(0, 0), scene.now)
    else:
        services.kill(session.pk, scene.cast.ada, "enough", scene.now)
    with refused(Code.SESSION_NOT_LIVE):
        services.freeze(session.pk, scene.cast.ada, "too late", scene.now)
    with refused(Code.SESSION_NOT_LIVE):
        services.unfreeze(session.pk, scene.cast.ada, scene.now)


def test_a_frozen_session_is_killed_and_ends_as_any(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    services.freeze(session.pk, scene.cast.ada, "wait", scene.now)
    services.kill(session.pk, scene.cast.ada, "enough", scene.now)
    assert services.end_session(session.pk, EndReason.KILLED, Totals(0, 0), scene.now)
    session.refresh_from_db()
    assert (session.state, session.freeze_reason) == ("ended", "wait")


def test_freeze_unfreeze_kill_and_expiry_race_to_one_story(committed: Scene) -> None:
    cast, now = committed.cast, committed.now
    for _ in range(5):
        session = stage.live(committed, committed.granted())
        race(
            partial(services.freeze, session.pk, cast.ada, "stop", now),
            partial(services.unfreeze, session.pk, cast.ben, now),
            partial(services.freeze, session.pk, cast.ben, "stop too", now),
            partial(services.kill, session.pk, cast.ada, "enough", now),
            partial(services.end_session, session.pk, EndReason.EXPIRED, Totals(0, 0), now),
        )
        row = SSHSession.objects.get(pk=session.pk)
        story = [
            event.tag.rpartition(":")[2]
            for event in AuditEvent.objects.filter(subject=f"sshsession:{session.pk}").order_by("seq")
        ]
        assert row.state == "ended" and story.count("ended") == 1
        assert story[-1] == "ended", "nothing is frozen after the end"
        turns = [word for word in story if word in ("frozen", "unfrozen")]
        assert turns == ["frozen", "unfrozen", "frozen"][: len(turns)], "each turn follows the other"
        assert (row.frozen_at is not None) == (turns[-1:] == ["frozen"])
        assert row.receipt.cause == "expired"
    sound_trail()
