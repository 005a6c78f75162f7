"""What a bundle says of the judgement: findings, how much was watched, and a review only once everybody has signed."""

from __future__ import annotations

from breakglass.services import people
from sessions import services
from sessions.models import Review
from sessions.services import coverage, findings
from sessions.services.findings import FindingForm
from tests.evidence.house import HOSTILE, House, member
from tests.evidence.test_bundle import read


def test_an_override_is_reviewed_once_both_have_signed(house: House) -> None:
    house.access()
    house.grant.request.is_override = True
    house.grant.request.save()
    house.give_back()
    services.open_due_reviews(house.scene.now)
    review, vera = Review.objects.get(grant=house.grant), house.people.vera
    coverage.add(house.session.pk, vera, [[0, 0.01]], house.scene.now)
    form = FindingForm("left_behind", "high", f"A key of theirs {HOSTILE}", house.session.pk, 0.0)
    findings.add(review.pk, vera, form, house.scene.now)
    house.review("in_order", "")
    data = house.zipped()
    assert read(data, "request.json")["override"] is True
    assert read(data, "review.json")["state"] == "due"
    assert b"Vera Moreau has signed, the second is missing" in member(data, "report.html")
    people.set_groups(house.people.nora, ["reviewers"], by=None, now=house.scene.now)
    now = house.scene.time.forward(seconds=60)
    nora = house.people.nora
    services.sign_review(review.pk, nora, "questions", "Why alone?", house.people.code("nora", now), now)
    house.sign_trail()
    data = house.zipped()
    judged = read(data, "review.json")
    assert (judged["state"], judged["verdict"], judged["second"]["verdict"]) == (
        "signed",
        "in_order",
        "questions",
    )
    assert judged["second"]["reviewer"]["username"] == "nora"
    (finding,) = judged["findings"]
    assert (finding["severity"], finding["at_seconds"]) == ("high", 0)
    assert {one["person"]["username"] for one in judged["coverage"]} == {"vera", "nora"}
    report = member(data, "report.html").decode()
    assert "Vera Moreau and Nora Lindqvist" in report and "questions" in report
    assert "<script>alert" not in report
    tags = member(data, "audit/rows.jsonl").decode()
    for tag in ("reviews:review:first_signed", "reviews:review:signed", "reviews:finding:added"):
        assert tag in tags
