"""Receipts: one for each end, that says when it was asked for, by whom, and what the gateway measured."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from breakglass.models import Grant, Person
from breakglass.services import certificates, grants, incidents, keys, locks, people
from sessions import queries, services
from sessions.end_figures import Spread, end_figures, spread
from sessions.models import Receipt, SSHSession
from sessions.services import Cut, Totals
from sessions.services.recordings import store
from sessions.states import EndReason
from tests.services import stage
from tests.services.scene import Scene, last
from tests.support import cast as house

NOTHING = Totals(0, 0)
PUBLIC = house.new_key()[1]
MS = timedelta(milliseconds=1)


def end(session: SSHSession, reason: EndReason, cut: Cut) -> Receipt:
    assert services.end_session(session.pk, reason, NOTHING, cut.at, cut)
    return Receipt.objects.get(session=session)


@pytest.mark.parametrize("reason", list(EndReason))
def test_every_end_leaves_one(scene: Scene, grant: Grant, reason: EndReason) -> None:
    session = stage.live(scene, grant)
    assert services.end_session(session.pk, reason, NOTHING, scene.now)
    assert not services.end_session(session.pk, reason, NOTHING, scene.now)
    receipt = Receipt.objects.get(session=session)
    assert (receipt.cause, receipt.cut_at) == (reason, scene.now)
    tag = "session:crashed" if reason is EndReason.CRASHED else "session:ended"
    assert last(tag).data["receipt"]["asked_at"] == receipt.asked_at.isoformat(timespec="microseconds")


def test_what_was_measured_is_told_in_ms(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    asked = scene.now
    services.kill(session.pk, scene.cast.ada, "wrong machine", asked)
    cut = Cut(asked + 9 * MS, last_byte_at=asked + 8.5 * MS, target_gone_at=asked + 12 * MS)
    receipt = end(session, EndReason.KILLED, cut)
    assert (receipt.asked_at, receipt.asked_by) == (asked, scene.cast.ada)
    assert (receipt.cut_ms, receipt.last_byte_ms, receipt.target_gone_ms) == (9.0, 8.5, 12.0)
    assert receipt.client_gone_ms is None
    said = last("session:ended").data["receipt"]
    assert (said["cut_ms"], said["last_byte_ms"], said["asked_by"]) == (9, 8.5, "ada")
    assert "client_gone_ms" not in said, "nobody knows it yet"
    assert services.complete_receipt(session.pk, asked + 21 * MS, asked + 99 * MS)
    receipt.refresh_from_db()
    assert (receipt.client_gone_ms, receipt.target_gone_ms) == (21.0, 12.0), "what stands there stays"
    services.complete_receipt(session.pk, asked + 50 * MS, None)
    receipt.refresh_from_db()
    assert receipt.client_gone_ms == 21.0


def test_an_expiry_counts_from_the_grants_end(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    assert grant.ends_at is not None
    receipt = end(session, EndReason.EXPIRED, Cut(grant.ends_at + 40 * MS, due=grant.ends_at))
    assert (receipt.asked_at, receipt.asked_by, receipt.cut_ms) == (grant.ends_at, None, 40.0)
    # Made longer at the last moment, which the gateway didn't hear of: it ended when it was to end as far as it knew.
    other = stage.live(scene, scene.granted())
    due = other.grant.ends_at - timedelta(minutes=5)
    assert end(other, EndReason.EXPIRED, Cut(due, due=due)).asked_at == due


def _release(scene: Scene, session: SSHSession) -> Person:
    grants.release(session.grant_id, scene.cast.rita, scene.now)
    return scene.cast.rita


def _revoke(scene: Scene, session: SSHSession) -> Person:
    grants.revoke(session.grant_id, scene.cast.ada, "enough", scene.code(scene.cast.ada), scene.now)
    return scene.cast.ada


def _close(scene: Scene, session: SSHSession) -> Person:
    incidents.close(scene.incident.pk, scene.cast.admin, scene.now)
    return scene.cast.admin


def _lock(scene: Scene, session: SSHSession) -> Person:
    locks.place(scene.cast.admin, "asset", "hist-01", "odd", scene.code(scene.cast.admin), scene.now)
    scene.time.forward(seconds=30)
    locks.place(scene.cast.admin, "everything", "", "odder", scene.code(scene.cast.admin), scene.now)
    scene.time.forward(seconds=-30)
    return scene.cast.admin


def _disable(scene: Scene, session: SSHSession) -> Person:
    people.disable(scene.cast.rita, by=scene.cast.admin, now=scene.now)
    return scene.cast.admin


def _remove_key(scene: Scene, session: SSHSession) -> Person:
    keys.remove(scene.cast.rita, scene.cast.rita.ssh_keys.get().pk, scene.now)
    return scene.cast.rita


@pytest.mark.parametrize(
    ("reason", "act"),
    [
        (EndReason.RELEASED, _release),
        (EndReason.REVOKED, _revoke),
        (EndReason.REVOKED, _close),
        (EndReason.REVOKED, _remove_key),
        (EndReason.LOCKED, _lock),
        (EndReason.NOT_AUTHORIZED, _disable),
    ],
)
def test_who_asked_and_when_is_found_in_the_books(scene: Scene, reason: EndReason, act: object) -> None:
    key = keys.register_known(scene.cast.rita, PUBLIC, "laptop", scene.now)
    session = stage.live(scene, scene.granted())
    asked = scene.time.forward(seconds=30)
    by = act(scene, session)  # type: ignore[operator]
    receipt = end(session, reason, Cut(asked + 14 * MS, key=key.fingerprint))
    assert (receipt.asked_at, receipt.asked_by, receipt.cut_ms) == (asked, by, 14.0)


def test_a_revoked_certificate_counts_from_then(scene: Scene) -> None:
    keys.register_known(scene.cast.rita, PUBLIC, "laptop", scene.now)
    grant = scene.granted()
    made = certificates.issue(scene.cast.rita, grant.pk, PUBLIC, scene.code(scene.cast.rita), scene.now)
    session = stage.live(scene, grant)
    asked = scene.time.forward(seconds=30)
    certificates.revoke(scene.cast.rita, made.row.serial, asked)
    receipt = end(session, EndReason.REVOKED, Cut(asked + 3 * MS, certificate=made.row.serial))
    assert (receipt.asked_at, receipt.asked_by) == (asked, scene.cast.rita)


@pytest.mark.parametrize("reason", [EndReason.IDLE, EndReason.LEASE_LOST, EndReason.ASSET_CLOSED])
def test_what_nobody_asked_for_counts_from_when_it_was_noticed(
    scene: Scene, grant: Grant, reason: EndReason
) -> None:
    receipt = end(stage.live(scene, grant), reason, Cut(scene.now))
    assert (receipt.asked_at, receipt.asked_by, receipt.cut_ms) == (scene.now, None, 0.0)


def test_a_crash_leaves_an_estimate(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    touched = scene.now.timestamp() + 7
    os.utime(stage.record(session), (touched, touched))
    unwritten = stage.live(scene, grant)
    back = scene.time.forward(minutes=1)
    assert services.recover_crashed("gw-1", back) == 2
    receipt = Receipt.objects.get(session=session)
    assert receipt.estimated and receipt.last_byte_at is not None
    assert abs(receipt.last_byte_at.timestamp() - touched) < 0.001
    assert (receipt.asked_at, receipt.cut_at, receipt.client_gone_at) == (back, None, None)
    assert Receipt.objects.get(session=unwritten).last_byte_at is None
    store().open_path(session.pk).unlink()


def test_a_grants_receipts_are_found_in_order(scene: Scene, grant: Grant) -> None:
    sessions = [stage.live(scene, grant) for _ in range(3)]
    stage.live(scene, scene.granted())
    for session in reversed(sessions):
        end(session, EndReason.CLIENT_CLOSED, Cut(scene.now))
    assert [receipt.session for receipt in queries.receipts_of(grant)] == sessions
    assert queries.receipts_of(grant)[0].facts["session"] == sessions[0].label


# --- figures


def test_percentiles_go_by_nearest_rank_and_what_was_so_before_is_0() -> None:
    assert spread([]) == spread([None]) == Spread(None, None)
    assert spread([7.0]) == Spread(7.0, 7.0)
    assert spread([float(one) for one in range(1, 101)]) == Spread(50.0, 99.0)
    assert spread([-5000.0, -1.0, 3.0, None]) == Spread(0.0, 3.0)


def test_the_figures_are_by_cause_and_cost_one_query(
    scene: Scene, grant: Grant, django_assert_num_queries: object
) -> None:
    since = scene.now
    for late in (10, 20, 1500):
        session = stage.live(scene, grant)
        services.kill(session.pk, scene.cast.ada, "enough", scene.now)
        end(session, EndReason.KILLED, Cut(scene.now + late * MS, last_byte_at=scene.now + late * MS))
    end(stage.live(scene, grant), EndReason.IDLE, Cut(scene.now))
    stage.live(scene, grant)
    services.recover_crashed("gw-1", scene.now)
    with django_assert_num_queries(1):  # type: ignore[operator]
        found = end_figures(since)
    assert [row.cause for row in found] == ["", "killed", "crashed", "idle"]
    every, killed, crashed, idle = found
    assert (every.count, killed.count) == (3, 3)
    assert killed.last_byte == every.last_byte == Spread(20.0, 1500.0)
    assert (killed.late, idle.late, crashed.unknown) == (1, 0, 1)
    assert (killed.is_asked_for, idle.is_asked_for) == (True, False)
    assert end_figures(scene.now + timedelta(hours=1)) == []
