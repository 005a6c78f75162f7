"""Ends, incidents and the trail in a race: one outcome, an unbroken chain, nobody stuck, on both databases."""

from __future__ import annotations

import base64
from datetime import timedelta
from functools import partial

import pytest
from django.db import transaction

from breakglass.demo import totp
from breakglass.models import AccessRequest, AuditEvent, Grant, Notice, TotpFactor
from breakglass.services import audit, enrolment, grants, incidents, playbooks, requests, second_factor
from breakglass.services.requests import SubmitForm
from sessions import services as data_plane
from sessions.models import Review, SSHSession
from sessions.services import Totals
from sessions.states import EndReason
from tests.services import stage
from tests.services.racing import approving, fresh, halted_at, meanwhile, race, sound_trail, tally
from tests.services.scene import ARMED, Scene
from tests.support import cast as house

ROUNDS = 6


# --- ends


def test_two_sweeps_at_once_write_each_end_once(committed: Scene) -> None:
    for _ in range(ROUNDS):
        ends = [committed.granted() for _ in range(2)]
        Notice.objects.all().delete()
        over = committed.now + timedelta(hours=1)
        outcomes = race(*[partial(grants.expire_due, over)] * 3, partial(grants.expire, ends[0].pk, over))
        assert sum(int(outcome) for outcome in outcomes) == 2
        for grant in ends:
            assert (
                AuditEvent.objects.filter(subject=f"grant:{grant.pk}", tag__endswith="expired").count() == 1
            )
        assert Notice.objects.filter(topic__startswith="grant:").count() == 2
    sound_trail()


def test_release_against_expiry_is_one_of_them(committed: Scene) -> None:
    for _ in range(ROUNDS):
        grant = committed.granted()
        assert grant.ends_at
        before, rita = grant.ends_at - timedelta(seconds=1), committed.cast.rita
        race(
            partial(grants.release, grant.pk, rita, before),
            partial(grants.expire_due, grant.ends_at),  # type: ignore[arg-type]
        )
        ends = AuditEvent.objects.filter(subject=f"grant:{grant.pk}").exclude(tag__endswith="issued")
        assert [row.tag.rpartition(":")[2] for row in ends] == [Grant.objects.get(pk=grant.pk).state]


@pytest.mark.parametrize("end", ["release", "revoke"])
def test_an_end_that_meets_the_first_use_ends_it_all_the_same(
    committed: Scene, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """The armed grant becomes active between the look and the change: it is ended, not reported as ended."""
    committed.playbook(**ARMED)
    grant = committed.granted()
    rita, ben, now = committed.cast.rita, committed.cast.ben, committed.now
    code = committed.cast.code("ben", now)

    def finish() -> Grant:
        if end == "release":
            return grants.release(grant.pk, rita, now)
        return grants.revoke(grant.pk, ben, "enough", code, now)

    with halted_at(monkeypatch, "breakglass.services.grants._end") as gate:
        outcomes = meanwhile(gate, finish, partial(grants.activate, grant.pk, now))
    assert outcomes[0].state == Grant.objects.get(pk=grant.pk).state
    assert outcomes[0].state in {"released", "revoked"}
    assert grants.expire_due(now + timedelta(hours=9)) == 0


def test_first_uses_at_once_start_the_clock_once(committed: Scene) -> None:
    committed.playbook(**ARMED)
    for _ in range(ROUNDS):
        grant = committed.granted()
        times = [committed.now + timedelta(seconds=s) for s in range(3)]
        started = race(*[partial(grants.activate, grant.pk, now) for now in times])
        assert len({one.ends_at for one in started}) == 1
        assert AuditEvent.objects.filter(subject=f"grant:{grant.pk}", tag__endswith="activated").count() == 1


def test_a_session_that_goes_live_at_its_end_is_ended(
    committed: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = committed.granted()
    for _ in range(ROUNDS):
        session = stage.opened(committed, grant)
        now = committed.now
        ended, _ = race(
            partial(data_plane.end_session, session.pk, EndReason.KILLED, Totals(0, 0), now),
            partial(data_plane.mark_live, session.pk, "127.0.0.1:22", "SHA256:x", now),
        )
        assert ended is True
        assert SSHSession.objects.get(pk=session.pk).state == "ended"
    sound_trail()


def test_ends_of_one_session_at_once_are_one_end(committed: Scene) -> None:
    grant = committed.granted()
    for _ in range(ROUNDS):
        session, now = stage.live(committed, grant), committed.now
        reasons = [EndReason.EXPIRED, EndReason.CLIENT_CLOSED, EndReason.KILLED]
        outcomes = race(*[partial(data_plane.end_session, session.pk, r, Totals(0, 0), now) for r in reasons])
        assert sorted(outcomes) == [False, False, True]
        rows = AuditEvent.objects.filter(subject=f"sshsession:{session.pk}", tag__endswith="session:ended")
        assert rows.get().data["reason"] == SSHSession.objects.get(pk=session.pk).end_reason


def test_reviews_opened_and_signed_at_once_are_one(committed: Scene) -> None:
    cast, now = committed.cast, committed.now
    grant = committed.granted()
    grants.release(grant.pk, cast.rita, committed.now)
    outcomes = race(*[partial(data_plane.open_due_reviews, now)] * 3)
    assert sum(outcomes) == 1
    review = Review.objects.get()
    assert AuditEvent.objects.filter(tag__endswith="review:due").count() == 1
    code = cast.code("vera", now)
    signed = tally(
        race(*[partial(data_plane.sign_review, review.pk, cast.vera, "in_order", "", code, now)] * 3)
    )
    assert signed.pop("ok") == 1
    # Which wall stands first is a matter of the moment: the code is used up, or the review is signed.
    assert sum(signed.values()) == 2 and set(signed) <= {"review_not_due", "second_factor_used"}
    assert AuditEvent.objects.filter(tag__endswith="review:signed").count() == 1
    sound_trail()


# --- incidents: one lock order, so that nobody waits in a ring


def test_closing_an_incident_against_approvals_leaves_nothing_alive(committed: Scene) -> None:
    for _ in range(ROUNDS):
        committed.incident = house.incident(committed.cast.rita, committed.now)
        first, second = fresh(committed), committed.asked()
        case, rita, now = committed.incident, committed.cast.rita, committed.now
        outcomes = race(
            partial(incidents.close, case.pk, rita, now),
            approving(committed, first, "ada"),
            approving(committed, second, "ben"),
        )
        assert outcomes[0] == case
        assert not AccessRequest.objects.filter(incident=case, state="pending").exists()
        assert not Grant.objects.filter(incident=case, state__in=["armed", "active"]).exists()
    sound_trail()


def test_closing_waits_for_an_approval_in_the_middle_and_ends_its_grant(
    committed: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL this was a deadlock: close held the trail and wanted the request, approve the other way round."""
    first, second = fresh(committed), committed.asked()
    case, rita, now = committed.incident, committed.cast.rita, committed.now
    late = max(first, second, key=lambda request: request.pk)
    # The second look is the one under the request's row lock, before the trail's.
    with halted_at(monkeypatch, "breakglass.services.approvals._refuse_unfit", before=False, call=2) as gate:
        outcomes = meanwhile(
            gate, approving(committed, late, "ada"), partial(incidents.close, case.pk, rita, now)
        )
    assert outcomes == [late, case]
    assert set(AccessRequest.objects.values_list("state", flat=True)) == {"approved", "withdrawn"}
    assert Grant.objects.get().state == "revoked"
    sound_trail()


def test_closing_against_the_sweeps_gets_through(committed: Scene) -> None:
    for _ in range(ROUNDS):
        committed.incident = house.incident(committed.cast.rita, committed.now)
        for _ in range(2):
            committed.granted()
        waiting = [committed.asked() for _ in range(2)]
        case, rita, now = committed.incident, committed.cast.rita, committed.now
        over = waiting[0].lapses_at + timedelta(hours=2)
        race(
            partial(incidents.close, case.pk, rita, now),
            partial(grants.expire_due, over),
            partial(requests.lapse_due, over),
            partial(requests.escalate_due, now + timedelta(minutes=6)),
        )
        assert not AccessRequest.objects.filter(incident=case, state="pending").exists()
        assert not Grant.objects.filter(incident=case, state="active").exists()
    sound_trail()


def test_a_request_for_an_incident_that_closes_is_refused_or_withdrawn(committed: Scene) -> None:
    for _ in range(ROUNDS):
        case = house.incident(committed.cast.rita, committed.now)
        form = SubmitForm(committed.version.slug, case.pk, ("hist-01",), "No data since 02:55")
        rita, ada, now = committed.cast.rita, committed.cast.admin, committed.now
        race(
            partial(requests.submit, rita, form, now),
            partial(incidents.close, case.pk, ada, now),
        )
        assert not AccessRequest.objects.filter(incident=case, state="pending").exists()


def test_requests_at_once_are_numbered_without_a_gap_or_a_double(committed: Scene) -> None:
    form = SubmitForm(committed.version.slug, committed.incident.pk, ("hist-01",), "No data since 02:55")
    rita, rob, now = committed.cast.rita, committed.cast.rob, committed.now
    race(*[partial(requests.submit, person, form, now) for person in [rita, rob] * 3])
    assert sorted(AccessRequest.objects.values_list("number", flat=True)) == [1, 2, 3, 4, 5, 6]


def test_publishing_against_requests_gets_through(committed: Scene) -> None:
    form = SubmitForm(committed.version.slug, committed.incident.pk, ("hist-01",), "No data since 02:55")
    rita, now = committed.cast.rita, committed.now
    for number in range(ROUNDS):
        spec = house.spec(purpose=f"Get it going again, take {number}")
        outcomes = race(
            partial(playbooks.publish, [spec], now),
            partial(requests.submit, rita, form, now),
            partial(requests.submit, rita, form, now),
        )
        assert tally(outcomes) == {"ok": 3}
    sound_trail()


def test_people_enrol_while_they_are_being_told(committed: Scene) -> None:
    """On PostgreSQL a full row lock on the person was a deadlock with the notice that refers to them."""
    form = SubmitForm(committed.version.slug, committed.incident.pk, ("hist-01",), "No data since 02:55")
    rita, ada, now = committed.cast.rita, committed.cast.ada, committed.now
    for number in range(ROUNDS):
        TotpFactor.objects.filter(user=ada).delete()
        secret = base64.b32encode(bytes([number] * 20)).decode()
        with transaction.atomic():
            permit = enrolment.mint(ada, None, now).row.pk
        outcomes = race(
            partial(second_factor.enrol_confirm, ada, secret, totp.code(secret, now), now, permit=permit),
            partial(requests.submit, rita, form, now),
            partial(requests.submit, rita, form, now),
        )
        assert tally(outcomes) == {"ok": 3}


# --- the trail


def test_eight_writers_make_one_chain(committed: Scene) -> None:
    before = audit.verify().rows

    def write() -> None:
        for number in range(25):
            audit.record(
                audit.AuditTag.LOGOUT, actor=None, subject="x", now=committed.now, data={"n": number}
            )

    race(*[write] * 8)
    result = audit.verify()
    assert result.ok, result
    assert result.rows == before + 200
    hashes = list(AuditEvent.objects.values_list("previous_hash", flat=True))
    assert len(set(hashes)) == len(hashes)


def test_the_check_of_the_trail_raises_no_alarm_while_others_write(committed: Scene) -> None:
    """And holds nobody up: rows that come during the check are no rows from outside the chain."""

    def write() -> None:
        for number in range(40):
            audit.record(
                audit.AuditTag.LOGOUT, actor=None, subject="x", now=committed.now, data={"n": number}
            )

    def check() -> list[str]:
        return [result.problem for result in (audit.verify() for _ in range(20)) if not result.ok]

    outcomes = race(write, write, write, check)
    assert outcomes[3] == []
