"""Findings: written by who judges, at a second that there is, taken back before the signature, seen to after it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import Grant, Notice, Person
from breakglass.services import grants, people
from sessions import services
from sessions.models import Finding, Review
from sessions.queries import reviews_to_sign
from sessions.services import coverage, findings, reviews
from sessions.services.findings import FindingForm
from tests.services import stage
from tests.services.racing import race, sound_trail, tally
from tests.services.scene import Scene, last, refused, tags, trail_text

GOOD = FindingForm("unsafe", "high", "Restarted it five times")


@pytest.fixture(autouse=True)
def _own_store(settings: Any, tmp_path: Path) -> None:
    stage.keep_in(settings, tmp_path)


def due(scene: Scene, *, override: bool = False) -> Review:
    """The review of a grant with one sealed session; Nora is a reviewer too. `override`: two must sign."""
    grant = scene.granted()
    stage.sealed(scene, grant)
    if override:
        grant.request.is_override = True
        grant.request.save()
    grants.release(grant.pk, scene.cast.rita, scene.now)
    opened = services.open_review(grant.pk, scene.now)
    assert opened
    people.set_groups(scene.cast.nora, ["reviewers"], by=None, now=scene.now)
    return opened


def sign(
    scene: Scene, review: Review, who: str = "vera", verdict: str = "in_order", note: str = ""
) -> Review:
    person, now = getattr(scene.cast, who), scene.time.forward(seconds=30)
    return services.sign_review(review.pk, person, verdict, note, scene.code(person), now)


@pytest.fixture
def review(scene: Scene) -> Review:
    return due(scene)


# --- written down


def test_a_finding_stands_at_its_second_and_in_the_trail(scene: Scene, review: Review) -> None:
    session = review.grant.ssh_sessions.get()
    session.recording.seconds = 90
    session.recording.save()
    form = FindingForm("left_behind", "critical", " A key of theirs\x00 ", session.pk, 83.257)
    finding = findings.add(review.pk, scene.cast.vera, form, scene.now)
    assert (finding.session, finding.at_seconds, finding.text) == (session, 83.26, "A key of theirs\ufffd")
    assert last("finding:added").data["at"] == 83.26


@pytest.mark.parametrize(
    ("who", "code"),
    [
        ("rita", Code.NOT_FOUND),
        ("ada", Code.NOT_FOUND),
        ("otto", Code.NOT_ALLOWED),
        ("admin", Code.NOT_FOUND),
    ],
)
def test_only_who_judges_finds(scene: Scene, review: Review, who: str, code: Code) -> None:
    with refused(code):
        findings.add(review.pk, getattr(scene.cast, who), GOOD, scene.now)


@pytest.mark.parametrize("who", ["rita", "ada"])
def test_nobody_judges_their_own(scene: Scene, review: Review, who: str) -> None:
    people.set_groups(getattr(scene.cast, who), ["reviewers"], by=None, now=scene.now)
    with refused(Code.REVIEW_CONFLICT):
        findings.add(review.pk, getattr(scene.cast, who), GOOD, scene.now)


@pytest.mark.parametrize(
    "changes",
    [{"category": "gossip"}, {"severity": "huge"}, {"text": " x "}, {"at": 3.0}, {"own": True, "at": -1.0},
     {"own": True, "at": float("nan")}, {"own": True, "at": 1e9}],
)  # fmt: skip
def test_what_isnt_on_the_lists_or_in_the_recording_is_no_finding(
    scene: Scene, review: Review, changes: dict[str, Any]
) -> None:
    fields = vars(GOOD) | changes
    if fields.pop("own", False):
        fields["session_id"] = review.grant.ssh_sessions.get().pk
    with refused(Code.BAD_INPUT):
        findings.add(review.pk, scene.cast.vera, FindingForm(**fields), scene.now)
    assert not Finding.objects.exists()


def test_not_at_a_session_of_another_access(scene: Scene, review: Review) -> None:
    other = stage.sealed(scene, scene.granted())
    with refused(Code.BAD_INPUT):
        findings.add(review.pk, scene.cast.vera, FindingForm("other", "low", "there", other.pk, 0), scene.now)


def test_taken_back_by_its_author_before_the_signature_only(scene: Scene, review: Review) -> None:
    first = findings.add(review.pk, scene.cast.vera, GOOD, scene.now)
    with refused(Code.NOT_FOUND):
        findings.withdraw(first.pk, scene.cast.nora, scene.now)
    findings.withdraw(first.pk, scene.cast.vera, scene.now)
    with refused(Code.NOT_FOUND):
        findings.withdraw(first.pk, scene.cast.vera, scene.now)
    second = findings.add(review.pk, scene.cast.vera, GOOD, scene.now)
    sign(scene, review)
    for act in (
        lambda: findings.withdraw(second.pk, scene.cast.vera, scene.now),
        lambda: findings.add(review.pk, scene.cast.vera, GOOD, scene.now),
    ):
        with refused(Code.REVIEW_NOT_DUE):
            act()
    assert tags(first) == ["finding:added", "finding:withdrawn"]


# --- signed


def test_the_signature_holds_findings_coverage_factor_and_recordings(scene: Scene, review: Review) -> None:
    session = review.grant.ssh_sessions.get()
    session.recording.seconds = 100
    session.recording.save()
    coverage.add(session.pk, scene.cast.vera, [[0, 62]], scene.now)
    kept = findings.add(review.pk, scene.cast.vera, GOOD, scene.now)
    gone = findings.add(review.pk, scene.cast.vera, GOOD, scene.now)
    findings.withdraw(gone.pk, scene.cast.vera, scene.now)
    signed = sign(scene, review, verdict="questions", note="Why five times?")
    data = last("review:signed").data
    assert [row["finding"] for row in data["findings"]] == [kept.pk]
    assert len(data["findings"][0]["sha256"]) == len(data["note_sha256"]) == 64
    assert data["coverage"] == [
        {"session": session.label, "seconds": 100, "percent": 62, "unseen": [[62, 100]]}
    ]
    assert data["recordings"] == [session.recording.sha256]
    assert signed.factor.startswith("totp:") and data["factor"] == signed.factor
    assert scene.code(scene.cast.vera) not in trail_text()
    kept.refresh_from_db()
    assert kept.due_at == scene.now + timedelta(days=3)


def test_without_a_right_code_nothing_is_signed(scene: Scene, review: Review) -> None:
    wrong = scene.cast.wrong_code("vera", scene.now)
    with refused(Code.SECOND_FACTOR_WRONG):
        services.sign_review(review.pk, scene.cast.vera, "in_order", "", wrong, scene.now)
    with refused(Code.SECOND_FACTOR_REQUIRED):
        services.sign_review(review.pk, scene.cast.vera, "in_order", "", "", scene.now)
    review.refresh_from_db()
    assert (review.state, review.reviewer) == ("due", None)


def test_an_override_takes_two_distinct_reviewers(scene: Scene) -> None:
    review = due(scene, override=True)
    assert review.needs_second
    first = sign(scene, review)
    assert (first.state, first.reviewer) == ("due", scene.cast.vera)
    assert Grant.objects.get(pk=review.grant_id).reviewed_at is None
    assert tags(review)[-1] == "review:first_signed"
    with refused(Code.REVIEW_NOT_DUE) as said:
        sign(scene, review)
    assert "somebody else" in said[0].message
    assert list(services_to_sign(scene, "vera")) == []
    assert list(services_to_sign(scene, "nora")) == [review]
    second = sign(scene, review, "nora", "questions", "Why alone?")
    assert (second.state, second.verdict, second.second_verdict) == ("signed", "in_order", "questions")
    assert Grant.objects.get(pk=review.grant_id).reviewed_at == scene.now
    assert tags(review)[-2:] == ["review:first_signed", "review:signed"]


def test_an_override_of_more_time_takes_two_as_well(scene: Scene) -> None:
    grant = scene.granted()
    plea = scene.asked()
    plea.extends, plea.is_override = grant, True
    plea.save()
    grants.release(grant.pk, scene.cast.rita, scene.now)
    opened = services.open_review(grant.pk, scene.now)
    assert opened is not None and opened.needs_second


def services_to_sign(scene: Scene, who: str) -> Any:
    return reviews_to_sign(getattr(scene.cast, who))


def _signing(scene: Scene, review: Review, who: str) -> Any:
    person, now = getattr(scene.cast, who), scene.now
    return partial(services.sign_review, review.pk, person, "in_order", "", scene.code(person), now)


def test_two_reviewers_at_once_sign_once(committed: Scene) -> None:
    review = due(committed)
    committed.time.forward(seconds=30)
    outcomes = race(_signing(committed, review, "vera"), _signing(committed, review, "nora"))
    assert tally(outcomes) == {"ok": 1, "review_not_due": 1}
    sound_trail()


def test_two_at_once_are_both_of_the_two_that_an_override_takes(committed: Scene) -> None:
    review = due(committed, override=True)
    committed.time.forward(seconds=30)
    outcomes = race(_signing(committed, review, "vera"), _signing(committed, review, "nora"))
    assert tally(outcomes) == {"ok": 2}
    review.refresh_from_db()
    assert review.state == "signed"
    assert {review.reviewer, review.second_reviewer} == {committed.cast.vera, committed.cast.nora}
    sound_trail()


def test_one_person_twice_at_once_is_one_signature(committed: Scene) -> None:
    review = due(committed, override=True)
    committed.time.forward(seconds=30)
    outcomes = race(*[_signing(committed, review, "vera")] * 3)
    assert tally(outcomes)["ok"] == 1
    review.refresh_from_db()
    assert (review.state, review.reviewer, review.second_reviewer) == ("due", committed.cast.vera, None)


def test_a_finding_at_the_moment_of_the_signature_is_in_it_or_refused(committed: Scene) -> None:
    review = due(committed)
    committed.time.forward(seconds=30)
    outcomes = race(
        _signing(committed, review, "vera"),
        partial(findings.add, review.pk, committed.cast.nora, GOOD, committed.now),
    )
    held = last("review:signed").data["findings"]
    assert len(held) == Finding.objects.count() == (0 if outcomes[1] == "review_not_due" else 1)


# --- seen to


def test_seen_to_by_others_than_the_judged(scene: Scene, review: Review) -> None:
    finding = findings.add(review.pk, scene.cast.vera, GOOD, scene.now)
    with refused(Code.REVIEW_NOT_DUE):
        findings.close(finding.pk, scene.cast.vera, "explained", scene.now)
    sign(scene, review)
    for who in ("rita", "ada"):
        people.set_groups(getattr(scene.cast, who), ["auditors", "reviewers"], by=None, now=scene.now)
        with refused(Code.NOT_ALLOWED):
            findings.close(finding.pk, getattr(scene.cast, who), "it was fine", scene.now)
    with refused(Code.NOT_FOUND):
        findings.close(finding.pk, scene.cast.rob, "it was fine", scene.now)
    with refused(Code.BAD_INPUT):
        findings.close(finding.pk, scene.cast.otto, " ", scene.now)
    day = scene.now + timedelta(days=9)
    followed = findings.follow_up(finding.pk, scene.cast.otto, " OT data\nservices ", day, scene.now)
    assert (followed.owner, followed.due_at) == ("OT data services", day)
    for owner, at in (
        ("", None),
        ("x", scene.now - timedelta(days=2)),
        ("x", scene.now + timedelta(days=900)),
    ):
        with refused(Code.BAD_INPUT):
            findings.follow_up(finding.pk, scene.cast.otto, owner, at, scene.now)
    closed = findings.close(finding.pk, scene.cast.otto, "The runbook says once now", scene.now)
    assert (closed.closed_by, closed.closing_note) == (scene.cast.otto, "The runbook says once now")
    for again in (
        lambda: findings.close(finding.pk, scene.cast.vera, "again", scene.now),
        lambda: findings.follow_up(finding.pk, scene.cast.vera, "me", None, scene.now),
    ):
        with refused(Code.FINDING_CLOSED):
            again()
    assert tags(finding) == ["finding:added", "finding:followed_up", "finding:closed"]


def test_closed_too_soon_it_is_opened_again_and_the_trail_keeps_both(scene: Scene, review: Review) -> None:
    finding = findings.add(review.pk, scene.cast.vera, GOOD, scene.now)
    sign(scene, review)
    with refused(Code.FINDING_OPEN):
        findings.reopen(finding.pk, scene.cast.otto, "it isn't closed", scene.now)
    findings.close(finding.pk, scene.cast.otto, "The runbook says once now", scene.now)
    with refused(Code.BAD_INPUT):
        findings.reopen(finding.pk, scene.cast.otto, " ", scene.now)
    with refused(Code.NOT_FOUND):
        findings.reopen(finding.pk, scene.cast.rob, "not so", scene.now)
    people.set_groups(scene.cast.rita, ["reviewers"], by=None, now=scene.now)
    with refused(Code.NOT_ALLOWED):
        findings.reopen(finding.pk, scene.cast.rita, "not so", scene.now)
    again = findings.reopen(finding.pk, scene.cast.vera, "it says so nowhere", scene.now)
    assert (again.closed_at, again.closed_by, again.closing_note) == (None, None, "")
    assert last("finding:closed").data["note"] == "The runbook says once now"
    assert last("finding:reopened").data["why"] == "it says so nowhere"
    findings.close(finding.pk, scene.cast.otto, "Now it does", scene.now)


# --- overdue


def test_what_is_overdue_is_escalated_once_with_the_names_of_who_could_sign(
    scene: Scene, review: Review
) -> None:
    Notice.objects.all().delete()
    assert services.escalate_overdue(review.due_at - timedelta(microseconds=1)) == 0
    assert (services.escalate_overdue(review.due_at), services.escalate_overdue(review.due_at)) == (1, 0)
    told = Notice.objects.all()
    assert {notice.person.username for notice in told if notice.person} == {"otto", "admin"}
    assert all("Vera Moreau" in notice.body and "Nora Lindqvist" in notice.body for notice in told)
    assert set(last("review:escalated").data["reviewers"]) == {"vera", "nora"}


def test_an_overdue_one_that_cannot_be_told_of_holds_up_no_other(
    scene: Scene, review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays due: the next pass tries it again."""

    def stumble(review: Review) -> list[Person]:
        raise KeyError("a group of old")

    with monkeypatch.context() as patched:
        patched.setattr(reviews, "able", stumble)
        assert services.escalate_overdue(review.due_at) == 0
    assert services.escalate_overdue(review.due_at) == 1


def test_where_nobody_could_sign_that_is_said(scene: Scene) -> None:
    review = due(scene, override=True)
    people.set_groups(scene.cast.nora, [], by=None, now=scene.now)
    sign(scene, review)
    services.escalate_overdue(review.due_at)
    notices = Notice.objects.filter(subject__startswith="Nobody has reviewed")
    assert notices and all("Name another reviewer" in notice.body for notice in notices)
