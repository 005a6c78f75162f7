"""Consent in a race: whoever clicks at the same moment, one consistent outcome, on both databases.

Some races are run often and left to chance; where chance is too kind, one side is halted at the worst moment.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from django.db import transaction

from breakglass.models import AccessRequest, Approval, AuditEvent, Grant, TotpFactor
from breakglass.services import approvals, requests, second_factor
from tests.services.racing import approving, fresh, halted_at, meanwhile, race, sound_trail, tally
from tests.services.scene import TWO, Scene

ROUNDS = 6
Runner = Callable[[], object]


def _deny(scene: Scene, request: AccessRequest, name: str) -> Runner:
    person, code, now = getattr(scene.cast, name), scene.cast.code(name, scene.now), scene.now
    return partial(approvals.deny, request.pk, person, code, "no", now)


# --- consent


def test_two_approvers_at_once_make_one_grant(committed: Scene) -> None:
    for _ in range(ROUNDS):
        request = fresh(committed)
        outcomes = race(approving(committed, request, "ada"), approving(committed, request, "ben"))
        assert tally(outcomes) == {"ok": 1, "request_not_pending": 1}
        assert Grant.objects.filter(request=request).count() == 1
        assert Approval.objects.filter(request=request).count() == 1
    sound_trail()


def test_the_second_approver_waits_while_the_first_commits(
    committed: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = fresh(committed)
    with halted_at(monkeypatch, "breakglass.services.grants.issue") as gate:
        outcomes = meanwhile(gate, approving(committed, request, "ada"), approving(committed, request, "ben"))
    assert outcomes[0] == request
    assert outcomes[1] == "request_not_pending"
    assert Grant.objects.count() == 1


def test_where_two_are_asked_for_both_at_once_are_enough(committed: Scene) -> None:
    """Neither sees only their own yes: that would leave the request pending with two approvals."""
    committed.playbook(**TWO)
    for _ in range(ROUNDS):
        request = fresh(committed)
        outcomes = race(approving(committed, request, "ada"), approving(committed, request, "ben"))
        assert tally(outcomes) == {"ok": 2}
        request.refresh_from_db()
        assert request.state == "approved"
        assert Grant.objects.filter(request=request).count() == 1
    sound_trail()


def test_a_double_click_is_one_approval(committed: Scene) -> None:
    committed.playbook(**TWO)
    for _ in range(ROUNDS):
        request = fresh(committed)
        outcomes = race(*[approving(committed, request, "ada")] * 4)
        assert tally(outcomes)["ok"] == 1
        assert set(tally(outcomes)) <= {"ok", "already_decided", "second_factor_used", "throttled"}
        assert Approval.objects.filter(request=request).count() == 1
        assert not Grant.objects.filter(request=request).exists()
        TotpFactor.objects.update(failures=0, blocked_until=None)
    sound_trail()


def test_a_yes_and_a_no_at_once_are_one_of_them(committed: Scene) -> None:
    for _ in range(ROUNDS):
        request = fresh(committed)
        outcomes = race(approving(committed, request, "ada"), _deny(committed, request, "ben"))
        assert tally(outcomes) == {"ok": 1, "request_not_pending": 1}
        request.refresh_from_db()
        assert Grant.objects.filter(request=request).exists() is (request.state == "approved")


@pytest.mark.parametrize("how", ["lapse", "withdraw"])
def test_approval_against_the_end_of_the_request_is_one_of_them(committed: Scene, how: str) -> None:
    seen = set()
    for _ in range(ROUNDS):
        request = fresh(committed)
        rita, now = committed.cast.rita, committed.now
        end = (
            (partial(requests.lapse_due, request.lapses_at))
            if how == "lapse"
            else (partial(requests.withdraw, request.pk, rita, now))
        )
        race(approving(committed, request, "ada"), end)
        request.refresh_from_db()
        seen.add(request.state)
        granted = Grant.objects.filter(request=request).exists()
        assert granted is (request.state == "approved")
        decided = AuditEvent.objects.filter(
            subject=f"accessrequest:{request.pk}", tag__startswith="requests:"
        )
        assert decided.count() == 2  # submitted, and one end
    assert seen <= {"approved", "lapsed", "withdrawn"}
    sound_trail()


@pytest.mark.parametrize("quorum", [{}, TWO], ids=["one", "two"])
@pytest.mark.parametrize("how", ["lapse", "withdraw"])
def test_an_approval_that_was_checked_too_early_is_checked_again(
    committed: Scene, monkeypatch: pytest.MonkeyPatch, how: str, quorum: dict[str, object]
) -> None:
    """The request ends between the first look and the transaction: no grant, and no vote on what is over."""
    if quorum:
        committed.playbook(**quorum)
    request = fresh(committed)
    rita, now = committed.cast.rita, committed.now
    end = (
        (partial(requests.lapse_due, request.lapses_at))
        if how == "lapse"
        else (partial(requests.withdraw, request.pk, rita, now))
    )
    with halted_at(monkeypatch, "breakglass.services.second_factor.verify", before=False) as gate:
        outcomes = meanwhile(gate, approving(committed, request, "ada"), end)
    assert outcomes[0] in {"request_lapsed", "request_not_pending"}
    assert not Grant.objects.exists()
    assert not Approval.objects.exists()
    sound_trail()


# --- second factors


def test_a_code_in_parallel_counts_exactly_once(committed: Scene) -> None:
    for _ in range(ROUNDS):
        committed.time.forward(seconds=30)
        ada, now, code = committed.cast.ada, committed.now, committed.cast.code("ada", committed.now)
        outcomes = race(*[partial(second_factor.verify, ada, code, now)] * 4)
        assert tally(outcomes)["ok"] == 1
        TotpFactor.objects.update(failures=0, blocked_until=None)


def test_one_code_on_two_requests_at_once_approves_one(committed: Scene) -> None:
    for _ in range(ROUNDS):
        first, second = fresh(committed), committed.asked()
        outcomes = race(approving(committed, first, "ada"), approving(committed, second, "ada"))
        assert tally(outcomes) == {"ok": 1, "second_factor_used": 1}
        assert Grant.objects.filter(request__in=[first, second]).count() == 1


def test_guesses_in_parallel_are_all_counted(committed: Scene) -> None:
    ada, now = committed.cast.ada, committed.now
    wrong = committed.cast.wrong_code("ada", now)
    outcomes = race(*[partial(second_factor.verify, ada, wrong, now)] * 8)
    assert tally(outcomes) == {"second_factor_wrong": 4, "throttled": 4}


def test_a_recovery_code_in_parallel_counts_exactly_once(committed: Scene) -> None:
    with transaction.atomic():
        codes = second_factor.fresh_recovery_codes(committed.cast.ada)
    ada, now = committed.cast.ada, committed.now
    for code in codes[:3]:
        outcomes = race(*[partial(second_factor.use_recovery_code, ada, code, now)] * 3)
        assert tally(outcomes)["ok"] == 1
