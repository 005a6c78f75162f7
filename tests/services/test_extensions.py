"""More time: the same approvers, once unless the playbook says otherwise, at most four hours, never after the end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from breakglass import queries, tasks
from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import AccessRequest, Grant, Notice
from breakglass.services import approvals, extensions, grants, incidents, people, requests
from breakglass.services.extensions import ExtendForm
from playbooks.digest import canonical_bytes
from tests.services.racing import approving, halted_at, meanwhile, race, sound_trail
from tests.services.scene import ARMED, TWO, Scene, last, refused, tags
from tests.support import cast as house

ROUNDS = 6
SECOND = timedelta(seconds=1)
REASON = "The index is still being rebuilt"


def more(scene: Scene, grant: Grant, minutes: int | None = 30, reason: str = REASON) -> AccessRequest:
    return extensions.ask(scene.cast.rita, ExtendForm(grant.pk, reason, minutes), scene.now)


def say_yes(scene: Scene, plea: AccessRequest, name: str = "ada") -> AccessRequest:
    scene.time.forward(seconds=30)
    return approvals.approve(
        plea.pk, getattr(scene.cast, name), scene.code(getattr(scene.cast, name)), "", scene.now
    )


def again(grant: Grant) -> Grant:
    return Grant.objects.select_related("playbook").get(pk=grant.pk)


def test_more_time_moves_the_end_and_makes_no_second_grant(scene: Scene, grant: Grant) -> None:
    assert grant.ends_at
    plea = more(scene, grant)
    assert (again(grant).ends_at, plea.extends_id, plea.incident_id) == (
        grant.ends_at,
        grant.pk,
        grant.incident_id,
    )
    assert [row.pk for row in queries.inbox_of(scene.cast.ada, scene.now)] == [plea.pk]
    assert say_yes(scene, plea).state == "approved"
    assert again(grant).ends_at == grant.ends_at + timedelta(minutes=30)
    assert again(grant).minutes == grant.minutes + 30
    assert list(Grant.objects.all()) == [grant]
    assert tags(grant)[-1] == "grant:extended"
    assert last("grant:extended").data["request"] == plea.label
    sound_trail()


def test_approvers_read_that_it_is_more_time(scene: Scene, grant: Grant) -> None:
    plea = more(scene, grant)
    subject = Notice.objects.filter(topic=f"request:{plea.pk}", person=scene.cast.ada).get().subject
    assert "asks for 30 more minutes" in subject
    assert plea.title.startswith("More time: ")


def test_the_requester_never_consents_and_the_code_counts_once(scene: Scene, grant: Grant) -> None:
    plea = more(scene, grant)
    with refused(Code.OWN_REQUEST):
        approvals.approve(plea.pk, scene.cast.rita, scene.code(scene.cast.rita), "", scene.now)
    with refused(Code.SECOND_FACTOR_WRONG):
        approvals.approve(plea.pk, scene.cast.ada, scene.cast.wrong_code("ada", scene.now), "", scene.now)
    assert again(grant).ends_at == grant.ends_at


def test_where_two_must_agree_one_yes_moves_nothing(scene: Scene) -> None:
    scene.playbook(**TWO)
    scene.time.forward(seconds=30)
    grant = house.approved(scene.asked(), [scene.cast.ada, scene.cast.ben], scene.now)
    plea = more(scene, grant)
    say_yes(scene, plea)
    assert again(grant).ends_at == grant.ends_at
    say_yes(scene, plea, "ben")
    assert again(grant).ends_at != grant.ends_at


def test_once_a_grant_unless_the_playbook_says_otherwise(scene: Scene) -> None:
    for allowed in (1, 0, 2):
        changes = {"duration": {"default_minutes": 60, "max_minutes": 120, "extensions": allowed}}
        scene.playbook(**changes)
        grant = scene.granted()
        for _ in range(allowed):
            say_yes(scene, more(scene, grant, 10))
        with refused(Code.NO_MORE_TIME):
            more(scene, again(grant), 10)
        assert extensions.longest(again(grant), scene.now) == 0


def test_a_denied_plea_takes_nothing_away(scene: Scene, grant: Grant) -> None:
    plea = more(scene, grant)
    scene.time.forward(seconds=30)
    approvals.deny(plea.pk, scene.cast.ada, scene.code(scene.cast.ada), "wind down", scene.now)
    assert again(grant).ends_at == grant.ends_at
    say_yes(scene, more(scene, grant))
    assert again(grant).ends_at != grant.ends_at


def test_one_plea_at_a_time(scene: Scene, grant: Grant) -> None:
    plea = more(scene, grant)
    with refused(Code.EXTENSION_PENDING) as said:
        more(scene, grant)
    assert plea.label in said[0].message
    requests.withdraw(plea.pk, scene.cast.rita, scene.now)
    more(scene, grant)


def test_at_most_the_playbooks_longest_and_four_hours_in_all(scene: Scene) -> None:
    scene.playbook(duration={"default_minutes": 60, "max_minutes": 120, "extensions": 5})
    grant = scene.granted(minutes=120)
    with refused(Code.DURATION_OUT_OF_BOUNDS):
        more(scene, grant, 121)
    with refused(Code.DURATION_OUT_OF_BOUNDS):
        more(scene, grant, 0)
    say_yes(scene, more(scene, grant, 110))
    assert extensions.longest(again(grant), scene.now) == 10
    with refused(Code.DURATION_OUT_OF_BOUNDS):
        more(scene, grant, 11)
    assert more(scene, grant, None).minutes == 10
    say_yes(scene, AccessRequest.objects.latest("number"))
    assert again(grant).minutes == 240
    with refused(Code.NO_MORE_TIME):
        more(scene, grant, 1)


def test_only_for_its_holder_only_while_it_runs(scene: Scene, grant: Grant) -> None:
    with refused(Code.GRANT_FOREIGN):
        extensions.ask(scene.cast.ada, ExtendForm(grant.pk, REASON), scene.now)
    with refused(Code.NOT_FOUND):
        extensions.ask(scene.cast.rob, ExtendForm(grant.pk, REASON), scene.now)
    with refused(Code.REASON_MISSING):
        more(scene, grant, reason="why")
    assert last("request:refused").data["refusal"] == "reason_missing"
    assert grant.ends_at
    for late in (grant.ends_at, grant.ends_at - SECOND, grant.ends_at + SECOND):
        with refused(Code.GRANT_ENDED):
            extensions.ask(scene.cast.rita, ExtendForm(grant.pk, REASON), late)
    grants.release(grant.pk, scene.cast.rita, scene.now)
    with refused(Code.GRANT_ENDED):
        more(scene, grant)


def test_a_clock_that_has_not_begun_is_not_made_longer(scene: Scene) -> None:
    scene.playbook(**ARMED)
    grant = scene.granted()
    with refused(Code.NO_MORE_TIME):
        more(scene, grant)


def test_what_stands_against_access_stands_against_more_of_it(scene: Scene, grant: Grant) -> None:
    plea = more(scene, grant)
    people.set_groups(scene.cast.rita, [], by=None, now=scene.now)
    with refused(Code.NOT_ALLOWED):
        say_yes(scene, plea)
    assert again(grant).ends_at == grant.ends_at


def test_a_plea_lapses_with_its_grant_and_more_people_are_woken_before(scene: Scene) -> None:
    grant = scene.granted(minutes=60)
    assert grant.ends_at
    scene.time.forward(minutes=56)
    plea = more(scene, grant)
    assert plea.lapses_at == grant.ends_at
    assert scene.now < plea.escalates_at < plea.lapses_at
    with refused(Code.GRANT_ENDED):
        approvals.approve(plea.pk, scene.cast.ada, scene.code(scene.cast.ada), "", grant.ends_at - SECOND / 2)
    with refused(Code.REQUEST_LAPSED):
        approvals.approve(plea.pk, scene.cast.ada, scene.code(scene.cast.ada), "", grant.ends_at)
    assert requests.lapse_due(grant.ends_at) == 1


@pytest.mark.parametrize("how", ["release", "revoke", "close"])
def test_nothing_waits_for_a_grant_that_is_over(scene: Scene, grant: Grant, how: str) -> None:
    plea, cast, now = more(scene, grant), scene.cast, scene.now
    if how == "release":
        grants.release(grant.pk, cast.rita, now)
    elif how == "revoke":
        scene.time.forward(seconds=30)
        grants.revoke(grant.pk, cast.ada, "enough", scene.code(cast.ada), scene.now)
    else:
        incidents.close(grant.incident_id, cast.rita, now)
    plea.refresh_from_db()
    assert plea.state == "withdrawn"


def test_what_the_end_left_waiting_is_hidden_and_swept(scene: Scene, grant: Grant) -> None:
    plea = more(scene, grant)
    Grant.objects.filter(pk=grant.pk).update(state="released", ended_at=scene.now)
    assert queries.inbox_of(scene.cast.ada, scene.now) == []
    with refused(Code.GRANT_ENDED):
        say_yes(scene, plea)
    assert extensions.withdraw_moot(scene.now) == 1
    assert extensions.withdraw_moot(scene.now) == 0
    tasks.sweep()


def test_who_approved_more_time_does_not_review(scene: Scene, grant: Grant) -> None:
    scene.time.forward(seconds=30)
    say_yes(scene, more(scene, grant), "ben")
    assert scene.cast.ben.pk in queries.thing_of_grant(grant).approver_ids


def test_a_playbook_from_before_extensions_keeps_its_digest() -> None:
    plain = {"default_minutes": 60, "max_minutes": 120}
    before = house.spec(duration=plain)
    assert b"extensions" not in canonical_bytes(before)
    assert canonical_bytes(house.spec(duration=plain | {"extensions": 1})) == canonical_bytes(before)
    assert canonical_bytes(house.spec(duration=plain | {"extensions": 2})) != canonical_bytes(before)


# --- at the very end: it never lives again


def ending(scene: Scene, grant: Grant, how: str) -> Callable[[], object]:
    assert grant.ends_at
    if how == "expire":
        return partial(grants.expire_due, grant.ends_at)
    if how == "release":
        return partial(grants.release, grant.pk, scene.cast.rita, scene.now)
    if how == "close":
        return partial(incidents.close, grant.incident_id, scene.cast.rita, scene.now)
    code = scene.code(scene.cast.ben)
    return partial(grants.revoke, grant.pk, scene.cast.ben, "enough", code, scene.now)


@pytest.mark.parametrize("how", ["expire", "release", "revoke", "close"])
def test_more_time_against_the_end_is_one_of_them(committed: Scene, how: str) -> None:
    for _ in range(ROUNDS):
        committed.incident = house.incident(committed.cast.rita, committed.now)
        grant = committed.granted()
        plea = more(committed, grant)
        committed.time.forward(seconds=30)
        outcomes = race(approving(committed, plea, "ada"), ending(committed, grant, how))
        after, trail = again(grant), tags(grant)
        plea.refresh_from_db()
        longer = "grant:extended" in trail
        assert longer is (plea.state == "approved") is (after.ends_at != grant.ends_at), outcomes
        if how != "expire":
            assert after.state in {"released", "revoked"}, outcomes
        else:
            assert after.state == ("active" if longer else "expired"), outcomes
        ended = [tag for tag in trail if tag.rpartition(":")[2] in {"released", "revoked", "expired"}]
        assert not (ended and longer) or trail.index("grant:extended") < trail.index(ended[0])
        assert len(ended) == (after.state != "active")
    sound_trail()


@pytest.mark.parametrize("how", ["expire", "release", "revoke", "close"])
def test_more_time_that_was_checked_before_the_end_is_checked_again(
    committed: Scene, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    grant = committed.granted()
    plea = more(committed, grant)
    committed.time.forward(seconds=30)
    with halted_at(monkeypatch, "breakglass.services.second_factor.verify", before=False) as gate:
        outcomes = meanwhile(gate, approving(committed, plea, "ada"), ending(committed, grant, how))
    assert outcomes[0] in {"grant_ended", "request_not_pending"}
    assert again(grant).state in {"expired", "released", "revoked"}
    assert again(grant).ends_at == grant.ends_at
    sound_trail()


def test_an_expiry_that_was_read_before_more_time_was_given_ends_nothing(
    committed: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = committed.granted()
    assert grant.ends_at
    plea = more(committed, grant)
    committed.time.forward(seconds=30)
    with halted_at(monkeypatch, "breakglass.services.grants._expire") as gate:
        outcomes = meanwhile(
            gate, partial(grants.expire_due, grant.ends_at), approving(committed, plea, "ada"), wait=20
        )
    assert outcomes == [0, plea]
    assert again(grant).state == "active"


def test_a_yes_that_waited_past_the_end_comes_too_late(
    scene: Scene, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was timely when it was clicked, but the locks took until after the end: nothing lives again."""
    plea = more(scene, grant)
    scene.time.forward(seconds=30)
    ticks = iter([0.0, 3600.0 + 60])
    monkeypatch.setattr("breakglass.services.approvals.clock.monotonic", lambda: next(ticks))
    with refused(Code.GRANT_ENDED):
        approvals.approve(plea.pk, scene.cast.ada, scene.code(scene.cast.ada), "", scene.now)
    assert again(grant).ends_at == grant.ends_at
    plea.refresh_from_db()
    assert plea.state == "pending"
