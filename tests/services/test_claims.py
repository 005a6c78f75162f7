"""Claims: one reviewer at a time has a review, for a while; both see who; nobody is held up by who went home."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import Grant, Notice
from breakglass.services import grants, people
from sessions import services
from sessions.gateway.commands import beside
from sessions.gateway.commands.talk import Answer, Talk
from sessions.models import Review
from sessions.services import claims
from sessions.states import CLAIM_LASTS
from tests.services import stage
from tests.services.racing import race, sound_trail, tally
from tests.services.scene import Scene, last, refused, tags


@pytest.fixture(autouse=True)
def _own_store(settings: Any, tmp_path: Path) -> None:
    stage.keep_in(settings, tmp_path)


def due(scene: Scene) -> Review:
    """A review that Vera and Nora could sign."""
    people.set_groups(scene.cast.nora, ["reviewers"], by=None, now=scene.now)
    grant = scene.granted()
    grants.release(grant.pk, scene.cast.rita, scene.now)
    opened = services.open_review(grant.pk, scene.now)
    assert opened
    return opened


@pytest.fixture
def review(scene: Scene) -> Review:
    return due(scene)


def sign(scene: Scene, review: Review, who: str) -> Review:
    person, now = getattr(scene.cast, who), scene.time.forward(seconds=30)
    return services.sign_review(review.pk, person, "in_order", "", scene.code(person), now)


def holder(scene: Scene, review: Review) -> str | None:
    review = Review.objects.select_related("claimed_by").get(pk=review.pk)
    standing = claims.of(review, scene.now)
    return standing.person.username if standing else None


def test_while_one_has_it_nobody_else_claims_or_signs_it(scene: Scene, review: Review) -> None:
    claims.claim(review.pk, scene.cast.vera, scene.now)
    assert holder(scene, review) == "vera"
    with refused(Code.REVIEW_CLAIMED) as said:
        claims.claim(review.pk, scene.cast.nora, scene.now)
    assert "Vera Moreau" in said[0].message
    with refused(Code.REVIEW_CLAIMED):
        sign(scene, review, "nora")
    sign(scene, review, "vera")
    assert tags(review) == ["review:due", "review:claimed", "review:signed"]


def test_it_lapses_by_the_clock_alone(scene: Scene, review: Review) -> None:
    claims.claim(review.pk, scene.cast.vera, scene.now)
    scene.time.forward(seconds=CLAIM_LASTS.total_seconds() - 1)
    assert holder(scene, review) == "vera"
    scene.time.forward(seconds=1)
    assert holder(scene, review) is None
    sign(scene, review, "nora")


def test_claimed_again_it_lasts_from_then_on(scene: Scene, review: Review) -> None:
    claims.claim(review.pk, scene.cast.vera, scene.now)
    scene.time.forward(seconds=CLAIM_LASTS.total_seconds() - 60)
    claims.claim(review.pk, scene.cast.vera, scene.now)
    scene.time.forward(seconds=120)
    assert holder(scene, review) == "vera"


def test_released_it_is_anybodys(scene: Scene, review: Review) -> None:
    claims.claim(review.pk, scene.cast.vera, scene.now)
    # Whose it isn't releases nothing.
    claims.release(review.pk, scene.cast.nora, scene.now)
    assert holder(scene, review) == "vera"
    claims.release(review.pk, scene.cast.vera, scene.now)
    assert (holder(scene, review), last("review:unclaimed").actor_name) == (None, "vera")
    claims.claim(review.pk, scene.cast.nora, scene.now)


def test_taken_over_on_purpose_and_told_to_who_had_it(scene: Scene, review: Review) -> None:
    claims.claim(review.pk, scene.cast.vera, scene.now)
    Notice.objects.all().delete()
    claims.claim(review.pk, scene.cast.nora, scene.now, over=True)
    assert holder(scene, review) == "nora"
    assert last("review:claimed").data["from"] == "vera"
    assert Notice.objects.get().person == scene.cast.vera


def test_who_asked_approved_or_has_signed_claims_nothing(scene: Scene, review: Review) -> None:
    for who in ("rita", "ada"):
        person = getattr(scene.cast, who)
        people.set_groups(person, ["reviewers"], by=None, now=scene.now)
        with refused(Code.REVIEW_CONFLICT):
            claims.claim(review.pk, person, scene.now)
    with refused(Code.NOT_ALLOWED):
        claims.claim(review.pk, scene.cast.otto, scene.now)
    with refused(Code.NOT_FOUND):
        claims.claim(review.pk, scene.cast.kit, scene.now)
    sign(scene, review, "vera")
    with refused(Code.REVIEW_NOT_DUE):
        claims.claim(review.pk, scene.cast.nora, scene.now)


def test_the_first_of_two_signatures_frees_it_for_the_second(scene: Scene, review: Review) -> None:
    Review.objects.filter(pk=review.pk).update(needs_second=True)
    claims.claim(review.pk, scene.cast.vera, scene.now)
    assert sign(scene, review, "vera").state == "due"
    assert holder(scene, review) is None
    with refused(Code.REVIEW_NOT_DUE):
        claims.claim(review.pk, scene.cast.vera, scene.now)
    claims.claim(review.pk, scene.cast.nora, scene.now)
    assert sign(scene, review, "nora").state == "signed"


def test_two_at_once_one_has_it(committed: Scene) -> None:
    review = due(committed)
    both = [
        partial(claims.claim, review.pk, getattr(committed.cast, who), committed.now)
        for who in ("vera", "nora")
    ]
    assert tally(race(*both)) == {"ok": 1, "review_claimed": 1}
    assert len([tag for tag in tags(review) if tag == "review:claimed"]) == 1
    sound_trail()


def test_a_claim_and_a_signature_at_once_are_one_after_the_other(committed: Scene) -> None:
    """Whichever is first: nobody signs what somebody else has just claimed, nobody claims what is signed."""
    review = due(committed)
    vera, nora, now = committed.cast.vera, committed.cast.nora, committed.time.forward(seconds=30)
    signing = partial(services.sign_review, review.pk, vera, "in_order", "", committed.code(vera), now)
    outcomes = race(signing, partial(claims.claim, review.pk, nora, now))
    state = Review.objects.get(pk=review.pk).state
    assert (state, tally(outcomes)) in (
        ("signed", {"ok": 1, "review_not_due": 1}),
        ("due", {"ok": 1, "review_claimed": 1}),
    )
    assert Grant.objects.filter(pk=review.grant_id, reviewed_at__isnull=False).exists() is (state == "signed")
    assert holder(committed, review) == (None if state == "signed" else "nora")


@pytest.mark.usefixtures("frozen")
def test_the_console_lists_what_waits_and_whose_it_is(scene: Scene, review: Review) -> None:
    """`ssh PERSON@GATEWAY reviews`: the same reads as the page, without a page."""
    Review.objects.filter(pk=review.pk).update(needs_second=True)
    claims.claim(review.pk, scene.cast.nora, scene.now)

    def listed(who: str) -> Answer:
        talk = SimpleNamespace(person=lambda: getattr(scene.cast, who))
        return beside.reviews(cast(Talk, talk), Namespace())

    seen = listed("vera")
    assert [row["id"] for row in seen.data["reviews"]] == [review.pk]
    assert "Rita Romero, historian-down" in seen.text
    assert "of an override, two sign, Nora Lindqvist has it" in seen.text
    assert "you have it" in listed("nora").text
    for who in ("rita", "ada", "otto"):
        assert listed(who).data["reviews"] == [], who
    assert listed("rita").text == "No review waits for you.\n"
