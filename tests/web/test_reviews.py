"""Reviews on the pages: the queue, what was seen, runbook and commands, findings, two signatures, following up."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.models import AccessRequest, AuditEvent
from breakglass.services import people
from sessions.models import Finding, Review
from sessions.services import coverage, findings
from sessions.web.finding import second, seconds
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene


def _page(scene: Scene, enter: Enter, who: str = "vera") -> str:
    answer = enter(who).get(f"/reviews/{scene.review}/")
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_queue_says_how_long_is_left_whose_it_is_and_what_is_overdue(scene: Scene, enter: Enter) -> None:
    page = enter("vera").get("/reviews/").content.decode()
    assert "h left" in page and "You have begun" in page and "hist-01" in page
    assert "overdue" not in page
    Review.objects.filter(pk=scene.review).update(due_at=clock.now() - timedelta(hours=3))
    AccessRequest.objects.filter(pk=scene.ended).update(is_override=True)
    page = enter("vera").get("/reviews/").content.decode()
    assert "overdue by 3 h" in page and "1 overdue." in page and "override" in page
    assert "Nobody can" not in enter("otto").get("/reviews/").content.decode()


def test_what_was_seen_is_measured_and_the_rest_is_marked(scene: Scene, enter: Enter) -> None:
    assert "You saw <b>0 %</b>" in _page(scene, enter)
    coverage.add(scene.ended_session, stage.person("vera"), [[0, 9], [18, 36]], clock.now())
    page = _page(scene, enter)
    assert "You saw <b>75 %</b>; the unseen parts are marked" in page
    assert 'aria-label="S-1: 75 % seen, not seen: 0:09 to 0:18"' in page
    assert f"/sessions/{scene.ended_session}/replay/?t=9" in page
    assert '<rect class="unseen" x="250.0" y="0" width="250.0"' in page


def test_planned_steps_beside_what_was_run(scene: Scene, enter: Enter) -> None:
    page = _page(scene, enter)
    assert "Planned: 2 of " in page and "Run: 1 not in the runbook" in page
    assert "a flag, no verdict" in page
    assert page.index("systemctl is-active historian") > page.index("Run: 1 not in")


def test_a_finding_is_written_at_its_second_and_taken_back(scene: Scene, enter: Enter) -> None:
    vera, path = enter("vera"), f"/reviews/{scene.review}/findings/"
    said = {"category": "unsafe", "severity": "critical", "text": "<script>x</script> deleted the spool",
            "session": str(scene.ended_session), "at": "0:21"}  # fmt: skip
    page = vera.post(path, said, follow=True).content.decode()
    row = Finding.objects.latest("pk")
    assert row.at_seconds == 21
    assert 'replay/?t=21">S-1 at 0:21</a>' in page
    assert "<script>x" not in page and "&lt;script&gt;x" in page
    vera.post(f"/findings/{row.pk}/withdraw/")
    assert "deleted the spool" not in _page(scene, enter)


def test_a_bad_finding_keeps_what_was_typed(scene: Scene, enter: Enter) -> None:
    said = {"category": "unsafe", "severity": "low", "text": "Typed all this", "at": "soon"}
    answer = enter("vera").post(f"/reviews/{scene.review}/findings/", said)
    assert answer.status_code == 422
    assert b"Typed all this" in answer.content and b"Write it as in 90" in answer.content
    beyond = said | {"at": "9:00", "session": str(scene.ended_session)}
    answer = enter("vera").post(f"/reviews/{scene.review}/findings/", beyond)
    assert answer.status_code == 422 and b"from 0 to 36" in answer.content


def test_the_player_leaves_findings_as_json(scene: Scene, enter: Enter) -> None:
    said = {"category": "left_behind", "severity": "high", "text": "A key in authorized_keys",
            "session": str(scene.ended_session), "at": 12.345}  # fmt: skip
    path = f"/reviews/{scene.review}/findings/"
    answer = enter("vera").post(path, json.dumps(said), content_type="application/json")
    assert (answer.status_code, answer.json()["at"]) == (201, 12.35)
    for bad in ("[]", "{", "7", '{"at": NaN}', json.dumps(said | {"at": "12"}), json.dumps(said | {"session": "x"}),
                json.dumps(said | {"text": 5}), json.dumps(said | {"at": 1e400}), "[" * 5000):  # fmt: skip
        answer = enter("vera").post(path, bad, content_type="application/json")
        assert (answer.status_code, answer.json()["refusal"]) == (422, "bad_input"), bad
    assert enter("otto").post(path, json.dumps(said), content_type="application/json").status_code == 403


def test_an_override_is_signed_by_two(scene: Scene, enter: Enter) -> None:
    Review.objects.filter(pk=scene.review).update(needs_second=True)
    people.set_groups(stage.person("nora"), ["reviewers"], by=None, now=clock.now())
    path = f"/reviews/{scene.review}/"
    sign = {"verdict": "in_order", "code": stage.fresh_code("vera", clock.now())}
    assert b"waits for a second reviewer" in enter("vera").post(path, sign, follow=True).content
    page = _page(scene, enter)
    assert "the second is missing" in page and "Sign the review" not in page
    assert "signed first; a second reviewer is needed" in enter("nora").get("/reviews/").content.decode()
    player, note = f"/sessions/{scene.ended_session}/replay/", f'data-note="{path}findings/"'
    assert note in enter("nora").get(player).content.decode()
    assert note not in enter("vera").get(player).content.decode()
    sign = {"verdict": "in_order", "code": stage.fresh_code("nora", clock.now())}
    assert b"Signed. Thank you" in enter("nora").post(path, sign, follow=True).content
    review = Review.objects.get(pk=scene.review)
    assert (review.state, review.second_reviewer) == ("signed", stage.person("nora"))


def test_findings_are_followed_up_and_closed_by_others(scene: Scene, enter: Enter) -> None:
    path = f"/findings/{scene.finding}/"
    assert b"No open findings" in enter("otto").get("/findings/").content
    sign = {"verdict": "questions", "note": "Why?", "code": stage.fresh_code("vera", clock.now())}
    enter("vera").post(f"/reviews/{scene.review}/", sign)
    otto = enter("otto")
    listed = otto.get("/findings/").content.decode()
    assert "Spool files were removed" in listed and "Nobody sees to it yet" in listed and "due" in listed
    assert otto.post(path, {"act": "follow", "owner": ""}).status_code == 422
    day = (clock.now() + timedelta(days=5)).date().isoformat()
    assert (
        b"OT data services"
        in otto.post(path, {"act": "follow", "owner": "OT data services", "due_at": day}, follow=True).content
    )
    assert otto.post(path, {"act": "close", "note": " "}).status_code == 422
    otto.post(path, {"act": "close", "note": "A copy was found"})
    row = Finding.objects.get(pk=scene.finding)
    assert (row.closed_by, row.closing_note) == (stage.person("otto"), "A copy was found")
    assert otto.post(path, {"act": "close", "note": "Again, again"}).status_code == 409
    assert b"No open findings" in otto.get("/findings/").content
    assert b"A copy was found" in otto.get(path).content
    for query in ("state=closed", "state=all&severity=high", "state=closed&word=rita"):
        assert b"Spool files" in otto.get(f"/findings/?{query}").content
    assert b"None fit" in otto.get("/findings/?state=late&category=runbook&word=%00").content
    assert otto.post(path, {"act": "reopen", "note": " "}).status_code == 422
    again = otto.post(path, {"act": "reopen", "note": "The copy is stale"}, follow=True)
    assert b"Open again." in again.content and b"No open findings" not in otto.get("/findings/").content


@pytest.mark.parametrize(
    ("text", "expected"), [("", None), ("90", 90), ("1:30", 90), ("1:02:03", 3723), (" 0:07 ", 7)]
)
def test_seconds_as_people_write_them(text: str, expected: float | None) -> None:
    assert seconds(text) == expected
    assert expected is None or seconds(second(expected)) == expected


def test_hostile_words_do_nothing(scene: Scene, enter: Enter) -> None:
    form = findings.FindingForm(
        "other", "low", "\u202egnp.exe </script><img src=x onerror=y> \x1b]52;c;x\x07"
    )
    findings.add(scene.review, stage.person("vera"), form, clock.now())
    assert "<img" not in _page(scene, enter)


def test_a_claim_is_seen_by_both_and_keeps_the_other_from_signing(scene: Scene, enter: Enter) -> None:
    people.set_groups(stage.person("nora"), ["reviewers"], by=None, now=clock.now())
    path = f"/reviews/{scene.review}/"
    vera, nora = enter("vera"), enter("nora")
    assert "Nobody has claimed it." in vera.get(path).content.decode()
    assert "It is yours." in vera.post(f"{path}claim/", {"act": "claim"}, follow=True).content.decode()
    page = nora.get(path).content.decode()
    assert "Vera Moreau has it" in page and "Take it over" in page and "Sign the review" not in page
    assert "Vera Moreau has it" in nora.get("/reviews/").content.decode()
    assert "You have it" in vera.get("/reviews/").content.decode()
    again = nora.post(f"{path}claim/", {"act": "claim"}, follow=True).content.decode()
    assert "Vera Moreau has claimed that review" in again
    assert "Sign the review" in nora.post(f"{path}claim/", {"act": "over"}, follow=True).content.decode()
    nora.post(f"{path}claim/", {"act": "release"})
    assert "Nobody has claimed it." in vera.get(path).content.decode()
    assert "claim/" not in enter("otto").get(path).content.decode()


def test_reading_what_others_ran_is_on_record(scene: Scene, enter: Enter) -> None:
    """The commands beside the runbook are of somebody else's session: each look is a row of the trail (E17)."""
    enter("otto").get(f"/reviews/{scene.review}/")
    row = AuditEvent.objects.filter(tag=AuditTag.REVIEW_VIEWED).get()
    assert row.actor_name == "otto" and row.data["sessions"] and row.data["commands"] > 0
    enter("otto").get("/reviews/")
    assert AuditEvent.objects.filter(tag=AuditTag.REVIEW_VIEWED).count() == 1
