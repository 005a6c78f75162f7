"""Reviews: one a grant, due when it has ended, signed by somebody who neither asked nor decided (E12)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import Grant, Notice
from breakglass.services import grants, incidents, people
from sessions import services
from sessions.models import Review
from sessions.queries import reviews_to_sign
from sessions.services import Totals
from sessions.states import EndReason, ReviewState, review_state_at
from tests.services import stage
from tests.services.scene import Scene, last, refused, tags


@pytest.fixture(autouse=True)
def _own_store(settings: Any, tmp_path: Path) -> None:
    stage.keep_in(settings, tmp_path)


@pytest.fixture
def review(scene: Scene, grant: Grant) -> Review:
    """The review of Rita's grant, which she released."""
    grants.release(grant.pk, scene.cast.rita, scene.now)
    opened = services.open_review(grant.pk, scene.now)
    assert opened
    return opened


def _sign(
    scene: Scene, review: Review, who: str = "vera", verdict: str = "in_order", note: str = ""
) -> Review:
    person, now = getattr(scene.cast, who), scene.time.forward(seconds=30)
    return services.sign_review(review.pk, person, verdict, note, scene.code(person), now)


def test_a_review_is_due_once_its_grant_has_ended_and_the_reviewers_are_told(
    scene: Scene, grant: Grant
) -> None:
    assert services.open_review(grant.pk, scene.now) is None
    assert services.open_due_reviews(scene.now) == 0
    grants.release(grant.pk, scene.cast.rita, scene.now)
    Notice.objects.all().delete()
    assert services.open_due_reviews(scene.now) == 1
    assert services.open_due_reviews(scene.now) == 0
    assert services.open_review(grant.pk, scene.now) is None
    review = Review.objects.get()
    assert review.due_at == scene.now + timedelta(hours=24)
    assert {notice.person.username for notice in Notice.objects.all()} == {"vera"}
    assert tags(review) == ["review:due"]


def test_every_ended_grant_gets_one_used_or_not(scene: Scene) -> None:
    for end in ("released", "revoked", "expired"):
        grant = scene.granted()
        Grant.objects.filter(pk=grant.pk).update(state=end, ended_at=scene.now)
    assert services.open_due_reviews(scene.now) == 3


def test_due_is_counted_from_the_real_end(scene: Scene, grant: Grant) -> None:
    assert grant.ends_at is not None
    late = grant.ends_at + timedelta(hours=30)
    grants.expire_due(late)
    review = services.open_review(grant.pk, late)
    assert review is not None
    assert review.due_at == grant.ends_at + timedelta(hours=24)
    assert review_state_at(ReviewState(review.state), review.due_at, late) is ReviewState.OVERDUE


def test_a_signed_review_says_who_judged_what(scene: Scene, grant: Grant) -> None:
    session = stage.sealed(scene, grant)
    grants.release(grant.pk, scene.cast.rita, scene.now)
    review = services.open_review(grant.pk, scene.now)
    assert review
    signed = _sign(scene, review, verdict="questions", note=" Why so long?\x00 ")
    assert (signed.state, signed.reviewer, signed.verdict) == ("signed", scene.cast.vera, "questions")
    assert signed.note == "Why so long?\x00".replace("\x00", "\ufffd")
    grant.refresh_from_db()
    assert grant.reviewed_at == scene.now
    assert last("review:signed").data["recordings"] == [session.recording.sha256]


def test_an_incident_closes_after_its_last_review(scene: Scene, review: Review) -> None:
    with refused(Code.INCIDENT_BUSY):
        incidents.close(scene.incident.pk, scene.cast.rita, scene.now)
    _sign(scene, review)
    incidents.close(scene.incident.pk, scene.cast.rita, scene.now)


@pytest.mark.parametrize("who", ["rita", "ada"])
def test_who_asked_or_decided_doesnt_review_even_as_a_reviewer(
    scene: Scene, review: Review, who: str
) -> None:
    person = getattr(scene.cast, who)
    people.set_groups(person, ["reviewers"], by=None, now=scene.now)
    with refused(Code.REVIEW_CONFLICT):
        _sign(scene, review, who)
    assert list(reviews_to_sign(person)) == []
    assert list(reviews_to_sign(scene.cast.vera)) == [review]


def test_who_said_no_first_doesnt_review_either(scene: Scene, review: Review) -> None:
    from breakglass.models import Approval

    Approval.objects.filter(person=scene.cast.ada).update(verdict="denied")
    people.set_groups(scene.cast.ada, ["reviewers"], by=None, now=scene.now)
    with refused(Code.REVIEW_CONFLICT):
        _sign(scene, review, "ada")


@pytest.mark.parametrize(
    ("who", "code"), [("otto", Code.NOT_ALLOWED), ("ben", Code.NOT_FOUND), ("admin", Code.NOT_FOUND)]
)
def test_only_reviewers_sign(scene: Scene, review: Review, who: str, code: Code) -> None:
    with refused(code):
        _sign(scene, review, who)


def test_a_review_is_signed_once(scene: Scene, review: Review) -> None:
    _sign(scene, review)
    people.set_groups(scene.cast.nora, ["reviewers"], by=None, now=scene.now)
    for who in ("vera", "nora"):
        with refused(Code.REVIEW_NOT_DUE):
            _sign(scene, review, who, "violation", "changed my mind")
    review.refresh_from_db()
    assert review.verdict == "in_order"


@pytest.mark.parametrize(
    ("verdict", "note"), [("", ""), ("fine", "x"), ("questions", " "), ("violation", "")]
)
def test_a_verdict_is_of_the_list_and_a_bad_one_says_what_was_found(
    scene: Scene, review: Review, verdict: str, note: str
) -> None:
    with refused(Code.BAD_INPUT):
        _sign(scene, review, verdict=verdict, note=note)


def test_what_isnt_over_or_isnt_sealed_cant_be_judged(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    stage.record(session)
    grants.release(grant.pk, scene.cast.rita, scene.now)
    review = services.open_review(grant.pk, scene.now)
    assert review
    with refused(Code.REVIEW_NOT_DUE) as said:
        _sign(scene, review)
    assert "still open" in said[0].message
    services.end_session(session.pk, EndReason.RELEASED, Totals(0, 0), scene.now)
    with refused(Code.REVIEW_NOT_DUE) as said:
        _sign(scene, review)
    assert "not sealed" in said[0].message
    services.seal_due(scene.now)
    _sign(scene, review)


def test_a_recording_that_cant_be_sealed_doesnt_hold_up_the_judgement_of_that(
    scene: Scene, grant: Grant
) -> None:
    session = stage.live(scene, grant)
    services.end_session(session.pk, EndReason.CANNOT_RECORD, Totals(0, 0), scene.now)
    services.seal_due(scene.now)
    grants.release(grant.pk, scene.cast.rita, scene.now)
    review = services.open_review(grant.pk, scene.now)
    assert review
    _sign(scene, review, verdict="violation", note="there is no recording")
    assert last("review:signed").data["recordings"] == [""]


def test_no_row_can_say_signed_without_who_and_what(review: Review) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Review.objects.filter(pk=review.pk).update(state="signed")


def test_an_overdue_review_is_chased_once(scene: Scene, review: Review) -> None:
    Notice.objects.all().delete()
    assert services.chase_overdue(review.due_at - timedelta(microseconds=1)) == 0
    assert services.chase_overdue(review.due_at) == 1
    assert services.chase_overdue(review.due_at + timedelta(days=1)) == 0
    assert tags(review) == ["review:due", "review:overdue"]
    assert {notice.person.username for notice in Notice.objects.all()} == {"vera"}


def test_a_signed_review_isnt_chased(scene: Scene, review: Review) -> None:
    _sign(scene, review)
    assert services.chase_overdue(review.due_at + timedelta(days=1)) == 0
