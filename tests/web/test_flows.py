"""What people do on the pages: ask, consent, get in, release, revoke, review; and what goes wrong on the way."""

from __future__ import annotations

import html
import re
from base64 import b64decode
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.mail import EmailMessage, get_connection
from pytest_django import Settings

from breakglass import clock
from breakglass.models import AccessRequest, ApiToken, Approval, Grant, Incident, SshKey
from breakglass.services import locks, tokens
from breakglass.services.keys import fingerprint
from sessions.gateway import hostkey
from sessions.models import Review, SSHSession
from tests.support.cast import new_key
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene

pytestmark = pytest.mark.django_db
REASON = "Trends stopped at 02:10, restart the service"


def _code(username: str) -> str:
    return stage.fresh_code(username, clock.now())


def test_asking_with_a_new_incident(scene: Scene, enter: Enter) -> None:
    body = {
        "incident": "new",
        "incident_title": "Line 3 is blind",
        "reason": REASON,
        "minutes": "30",
        "login": "operator",
    }
    answer = enter("rita").post("/playbooks/historian-down/request/", body)
    ask = AccessRequest.objects.latest("submitted_at")
    assert answer["Location"] == f"/requests/{ask.id}/"
    assert (ask.login, ask.minutes, ask.incident.title) == ("operator", 30, "Line 3 is blind")


def test_a_faulty_request_comes_back_with_all_that_was_typed(scene: Scene, enter: Enter) -> None:
    body = {
        "incident": "new",
        "incident_title": "Line 3 is blind",
        "reason": "hm",
        "minutes": "30",
        "login": "histadmin",
    }
    answer = enter("rita").post("/playbooks/historian-down/request/", body)
    text = answer.content.decode()
    assert answer.status_code == 422
    assert 'value="Line 3 is blind"' in text and ">\nhm</textarea>" in text
    assert re.search(r'value="histadmin"[^>]* checked', text)
    assert re.search(r'name="reason"[^>]*aria-invalid="true"', text)
    assert "10 characters or more" in text
    assert not Incident.objects.filter(title="Line 3 is blind").exists()


def test_what_the_playbook_does_not_offer_is_not_taken(scene: Scene, enter: Enter) -> None:
    good = {"incident": str(scene.incident), "reason": REASON, "minutes": "30", "login": ""}
    for wrong in ({"minutes": "241"}, {"login": "root"}, {"incident": stage.uuid4()}, {"minutes": ""}):
        answer = enter("rita").post("/playbooks/historian-down/request/", good | wrong)
        assert answer.status_code == 422, wrong


def test_a_refusal_stands_on_top_and_the_new_incident_stays_picked(scene: Scene, enter: Enter) -> None:
    locks.place(stage.person("admin"), "asset", "hist-01", "odd logins", _code("admin"), clock.now())
    body = {
        "incident": "new",
        "incident_title": "Line 3 is blind",
        "reason": REASON,
        "minutes": "30",
        "login": "",
    }
    answer = enter("rita").post("/playbooks/historian-down/request/", body)
    text, opened = answer.content.decode(), Incident.objects.get(title="Line 3 is blind")
    assert answer.status_code == 423 and "odd logins" in text and ">locked<" in text
    assert f'value="{opened.id}" selected' in text and REASON in text


def test_the_page_turns_into_the_way_in(scene: Scene, enter: Enter) -> None:
    incident = Incident.objects.get(id=scene.incident)
    ask = stage.ask("rita", "historian-down", incident, clock.now())
    page = enter("rita").get(f"/requests/{ask.id}/").content.decode()
    assert "Waiting for an answer" in page and "Ada Novak" in page and "ssh -p" not in page
    stage.approve(ask, "ben", clock.now())
    page = enter("rita").get(f"/requests/{ask.id}/").content.decode()
    assert "You are in" in page
    assert re.search(r"ssh -p \d+ rita\+hist-01@\S+<", page)
    assert "rita+histadmin@hist-01@" in page
    assert "ssh -p" not in enter("ben").get(f"/requests/{ask.id}/").content.decode()


def test_the_page_names_the_key_that_the_gateway_shows(scene: Scene, enter: Enter) -> None:
    kind, encoded = hostkey.public_line().split()
    page = html.unescape(enter("rita").get(f"/requests/{scene.live}/").content.decode())
    assert f"{kind} {fingerprint(b64decode(encoded))}" in page


def test_consent_is_counted_and_told(scene: Scene, enter: Enter) -> None:
    body = {
        "verdict": "approve",
        "comment": "Fine.",
        "code": _code("ben"),
        "number": stage.number(scene.half),
    }
    answer = enter("ben").post(f"/requests/{scene.half}/decide/", body, follow=True)
    assert b"is approved" in answer.content
    assert Grant.objects.get(request_id=scene.half).state == "armed"


def test_the_code_is_asked_for_and_counts_once(scene: Scene, enter: Enter) -> None:
    ben, path = enter("ben"), f"/requests/{scene.half}/decide/"
    body = {"verdict": "approve", "comment": "typed this", "number": stage.number(scene.half)}
    missing = ben.post(path, body)
    assert (
        missing.status_code == 422
        and b"Type the code." in missing.content
        and b"typed this" in missing.content
    )
    wrong = ben.post(path, body | {"code": "000000"})
    assert (
        wrong.status_code == 422 and b"wrong or too old" in wrong.content and b"typed this" in wrong.content
    )
    assert b'value="000000"' not in wrong.content
    code = _code("ben")
    assert ben.post(path, body | {"code": code}).status_code == 302
    body |= {"code": code, "number": stage.number(scene.pending)}
    again = ben.post(f"/requests/{scene.pending}/decide/", body)
    assert again.status_code == 422 and b"used already" in again.content
    assert Approval.objects.filter(request_id=scene.pending).count() == 0


def test_denying_needs_a_word(scene: Scene, enter: Enter) -> None:
    ben, path = enter("ben"), f"/requests/{scene.pending}/decide/"
    silent = ben.post(path, {"verdict": "deny", "code": _code("ben")})
    assert silent.status_code == 422 and b"Say why" in silent.content
    assert ben.post(path, {"verdict": "deny", "comment": "Not now.", "code": _code("ben")}).status_code == 302
    page = enter("rob").get(f"/requests/{scene.pending}/").content
    assert b"Denied" in page and b"Not now." in page and b"Ask again" in page


def test_nobody_decides_on_their_own(scene: Scene, enter: Enter) -> None:
    page = enter("rob").get(f"/requests/{scene.half}/decide/")
    assert b"Nobody decides on their own request" in page.content and b'name="code"' not in page.content


def test_what_is_unusual_is_shown_to_who_decides_only(scene: Scene, enter: Enter) -> None:
    path = f"/requests/{scene.pending}/decide/"
    assert b"First use of this playbook" in enter("ben").get(path).content
    assert b"First use of this playbook" not in enter("rob").get(path).content


def test_a_lapsed_request_says_so_before_any_task_did(
    scene: Scene, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = clock.now() + timedelta(hours=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert b"Lapsed" in enter("rob").get(f"/requests/{scene.pending}/").content
    decide = enter("ben").get(f"/requests/{scene.pending}/decide/").content
    assert b"lapsed unanswered" in decide and b'name="code"' not in decide


def test_an_expired_grant_shows_no_way_in(
    scene: Scene, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = clock.now() + timedelta(hours=2)
    monkeypatch.setattr(clock, "now", lambda: later)
    page = enter("rita").get(f"/requests/{scene.live}/").content
    assert b"the time is up" in page and b"ssh -p" not in page and b"release" not in page
    assert re.search(rb'<aside class="strip"[^>]* hidden>', page)


def test_release_ends_it(scene: Scene, enter: Enter) -> None:
    grant = Grant.objects.get(request_id=scene.live)
    page = enter("rita").post(f"/grants/{grant.id}/release/", follow=True)
    assert b"Released" in page.content and b"ssh -p" not in page.content
    twice = enter("rita").post(f"/grants/{grant.id}/release/")
    assert twice.status_code == 403 and b"grant_ended" in twice.content


def test_more_time_is_asked_for_on_the_page_and_never_shown_as_new_access(scene: Scene, enter: Enter) -> None:
    grant = Grant.objects.get(request_id=scene.live)
    rita, path = enter("rita"), f"/grants/{grant.id}/extend/"
    assert path.encode() in rita.get(f"/requests/{scene.live}/").content
    short = rita.post(path, {"reason": "more", "minutes": "10"})
    assert short.status_code == 422 and b"10 characters" in short.content
    asked = rita.post(path, {"reason": "The index is still being rebuilt", "minutes": "10"}, follow=True)
    assert b"More time: " in asked.content and b"ssh -p" not in asked.content
    plea = AccessRequest.objects.latest("number")
    again = rita.get(path)
    assert again.status_code == 409 and b"extension_pending" in again.content
    ben = enter("ben")
    assert b"10 min more" in ben.get("/inbox/").content and b"More time: " in ben.get("/inbox/").content
    decide = ben.get(f"/requests/{plea.id}/decide/").content
    assert b"asks for 10 min more" in decide and b"nothing else changes" in decide
    body = {"verdict": "approve", "code": _code("ben"), "number": stage.number(plea.id)}
    ben.post(f"/requests/{plea.id}/decide/", body)
    was, grant = grant.ends_at, Grant.objects.get(pk=grant.pk)
    assert was and grant.ends_at == was + timedelta(minutes=10)
    assert b"Granted: 10 min more" in rita.get(f"/requests/{plea.id}/").content
    page = rita.get(f"/requests/{scene.live}/").content
    assert b"10 minutes more" in page and path.encode() not in page


def test_revoking_takes_a_reason_and_a_code(scene: Scene, enter: Enter) -> None:
    grant = Grant.objects.get(request_id=scene.live)
    ben, path = enter("ben"), f"/grants/{grant.id}/revoke/"
    assert b"Say why." in ben.post(path, {"code": "1"}).content
    assert ben.post(path, {"reason": "wrong plant", "code": "000000"}).status_code == 403
    assert ben.post(path, {"reason": "wrong plant", "code": _code("ben")}).status_code == 302
    grant.refresh_from_db()
    assert (grant.state, grant.end_note) == ("revoked", "wrong plant")
    assert b"wrong plant" not in enter("rita").get(f"/requests/{scene.live}/").content


def test_ending_a_session_leaves_the_grant(scene: Scene, enter: Enter) -> None:
    enter("ben").post(f"/sessions/{scene.live_session}/kill/", {"reason": "wrong machine"})
    assert SSHSession.objects.get(id=scene.live_session).kill_requested_by == stage.person("ben")
    assert Grant.objects.get(request_id=scene.live).state == "active"
    assert b"ending" in enter("rita").get(f"/sessions/{scene.live_session}/").content


def test_keys_come_with_a_fresh_factor_and_are_refused_with_the_reason(scene: Scene, enter: Enter) -> None:
    rita = enter("rita")
    line = f"{new_key()[1]} console"
    wrong = rita.post("/profile/keys/", {"key-line": line, "key-code": "000000"})
    assert (
        wrong.status_code == 422
        and b"wrong or too old" in wrong.content
        and line.encode()[:60] in wrong.content
    )
    dsa = rita.post("/profile/keys/", {"key-line": "ssh-dss AAAAB3NzaC1kc3M=", "key-code": "000000"})
    assert b"DSA" in dsa.content and b"ssh-keygen -t ed25519" in dsa.content
    private = rita.post(
        "/profile/keys/", {"key-line": "-----BEGIN OPENSSH PRIVATE KEY-----", "key-code": "1"}
    )
    assert b"this is a private key" in private.content
    good = rita.post(
        "/profile/keys/", {"key-line": line, "key-label": "", "key-code": _code("rita")}, follow=True
    )
    assert b"registered" in good.content
    assert SshKey.objects.filter(person=stage.person("rita"), removed_at=None).count() == 2


def test_a_token_is_shown_once(scene: Scene, enter: Enter) -> None:
    rita = enter("rita")
    shown = rita.post(
        "/profile/tokens/", {"token-label": "nightly", "token-code": _code("rita")}
    ).content.decode()
    secret = re.search(r"bgt_[\w-]+", shown)
    assert secret and tokens.authenticate(secret[0], clock.now()) == stage.person("rita")
    assert "bgt_" not in rita.get("/profile/").content.decode()
    token = ApiToken.objects.get(label="nightly")
    rita.post(f"/profile/tokens/{token.id}/revoke/")
    assert tokens.authenticate(secret[0], clock.now()) is None


def test_a_review_is_signed_by_somebody_else(scene: Scene, enter: Enter) -> None:
    vera, path = enter("vera"), f"/reviews/{scene.review}/"
    assert b"Needed unless" in vera.get(path).content
    code = stage.fresh_code("vera", clock.now())
    silent = vera.post(path, {"verdict": "violation", "code": code})
    assert silent.status_code == 422 and b"Say in the note" in silent.content
    none = vera.post(path, {"note": "typed this", "code": code})
    assert none.status_code == 422 and b"typed this" in none.content
    bare = vera.post(path, {"verdict": "in_order"})
    assert bare.status_code == 422 and b"Type the code" in bare.content
    signed = vera.post(path, {"verdict": "in_order", "note": "Disk was full.", "code": code}, follow=True)
    assert b"Disk was full." in signed.content
    review = Review.objects.get(pk=scene.review)
    assert (review.reviewer, review.factor[:5]) == (stage.person("vera"), "totp:")
    again = {"verdict": "in_order", "code": stage.fresh_code("vera", clock.now())}
    assert vera.post(path, again).status_code == 409


def test_the_list_of_sessions_is_filtered(scene: Scene, enter: Enter) -> None:
    vera = enter("vera")

    def seen(query: str) -> set[str]:
        return set(re.findall(r">(S-\d+)<", vera.get(f"/sessions/?{query}").content.decode()))

    assert seen("") == {"S-1", "S-2"}
    assert seen("still=open") == {"S-2"}
    assert seen("person=rita&asset=hist-01&playbook=historian-down&incident=inc-1") == {"S-1", "S-2"}
    assert seen("person=rob") == seen("incident=999") == seen("until=2020-01-01") == set()
    assert b"No session fits" in vera.get("/sessions/?person=rob").content
    assert set(re.findall(rb">(S-\d+)<", enter("rob").get("/sessions/").content)) == set()


def test_the_trail_is_filtered_and_walked(scene: Scene, enter: Enter) -> None:
    otto = enter("otto")
    page = otto.get("/audit/?tag=approvals:approval:denied").content.decode()
    assert "The HMI is fine" in page and page.count('<tr id="row-') == 1
    assert otto.get("/audit/?actor=nobody-such").content.count(b'<tr id="row-') == 0
    walked = otto.post("/audit/").content
    assert b"The chain holds." in walked


def test_the_demo_shows_its_mails_and_their_links_escaped(
    scene: Scene, enter: Enter, settings: Settings, tmp_path: Path
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path)
    settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"demo": True})
    body = "<b>not bold</b> http://localhost:8000/requests/1/"
    with get_connection() as connection:
        for subject in ("First: Zo\u00eb asks", "Second"):
            EmailMessage(subject, body, to=["ada@plant.example"], connection=connection).send()
    page = enter("ada").get("/mail/").content.decode()
    assert "First: Zo\u00eb asks" in page and "Second" in page
    assert "&lt;b&gt;not bold" in page
    assert 'href="http://localhost:8000/requests/1/"' in page
    assert re.search(r"data-ago=\"\d+\"", page)


def test_closing_an_incident_ends_what_is_under_it(scene: Scene, enter: Enter) -> None:
    other = AccessRequest.objects.get(id=scene.pending).incident
    page = enter("rob").post(f"/incidents/{other.id}/close/", follow=True)
    assert b"is closed" in page.content
    assert AccessRequest.objects.get(id=scene.pending).state == "withdrawn"
    busy = enter("rita").post(f"/incidents/{scene.incident}/close/")
    assert busy.status_code == 409 and b"review" in busy.content
