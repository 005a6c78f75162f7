"""Every address by every role: who gets in, who is told no, and who isn't even told that it is there."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern

from breakglass import clock
from breakglass.models import Grant
from breakglass.services import people, second_factor, tokens
from breakglass.web import urls as control
from sessions.web import urls as data
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene

# rob: another responder. ben: may approve all of it. sam: a supervisor, who sees every request, since he is woken
# for those that nobody answers, but decides on historian-down only.
WHO = ("nobody", "rita", "rob", "ben", "sam", "vera", "otto", "admin")
CODE = object()  # a fresh code of whoever asks


class Row(NamedTuple):
    """What is asked, and the answer to each of WHO. `way` 302: done, or (for nobody) to the login."""

    method: str
    path: str
    answers: str
    body: dict[str, Any] | None = None


NUMBER = object()
DECIDE = {"verdict": "approve", "comment": "Go.", "code": CODE, "number": NUMBER}
LOST = {"reason": "At the gate, with the badge.", "code": CODE}
JOIN = {"username": "nell", "full_name": "Nell Nowak", "groups": "responders", "code": CODE}
ASK = {"incident": "{incident}", "reason": "The trend has stopped; restart it", "minutes": "30", "login": ""}
TABLE = [
    #                                                   nobody rita rob ben sam vera otto admin
    Row("GET", "/", "                                     302 200 200 200 200 200 200 200"),
    Row("GET", "/live/", "                                302 200 200 200 200 200 200 200"),
    Row("GET", "/events/", "                              302 200 200 200 200 200 200 200"),
    Row("POST", "/notices/seen/", "                       302 302 302 302 302 302 302 302"),
    Row("GET", "/login/", "                               200 302 302 302 302 302 302 302"),
    Row("GET", "/login/second/", "                        302 302 302 302 302 302 302 302"),
    Row("GET", "/login/first/", "                         200 302 302 302 302 302 302 302"),
    Row("GET", "/login/enrol/", "                         302 302 302 302 302 302 302 302"),
    Row("POST", "/login/passkey/", "                      403 403 403 403 403 403 403 403"),
    Row("POST", "/login/passkey/challenge/", "            200 200 200 200 200 200 200 200"),
    Row("POST", "/passkeys/challenge/", "                 302 403 403 403 403 403 403 403"),
    Row("POST", "/profile/factors/", "                    302 302 302 302 302 302 302 302", {"factor-code": CODE}),
    Row("GET", "/profile/factors/add/", "                 302 302 302 302 302 302 302 302"),
    Row("GET", "/profile/passkeys/1/remove/", "           302 404 404 404 404 404 404 404"),
    Row("POST", "/profile/passkeys/1/remove/", "          302 404 404 404 404 404 404 404", {"code": CODE}),
    Row("GET", "/people/", "                              302 403 403 403 403 403 403 200"),
    Row("GET", "/people/add/", "                          302 403 403 403 403 403 403 200"),
    Row("POST", "/people/add/", "                         302 403 403 403 403 403 403 200", JOIN),
    Row("GET", "/people/{rita}/standing/", "              302 403 403 403 403 403 403 200"),
    Row("POST", "/people/{rita}/standing/", "             302 403 403 403 403 403 403 302", LOST),
    Row("GET", "/people/{rita}/enrolment-code/", "        302 403 403 403 403 403 403 200"),
    Row("POST", "/people/{rita}/enrolment-code/", "       302 403 403 403 403 403 403 422", {"code": CODE}),
    Row("GET", "/people/{rita}/recovery/", "              302 403 403 403 403 403 403 200"),
    Row("POST", "/people/{rita}/recovery/", "             302 403 403 403 403 403 403 302", LOST),
    Row("GET", "/people/recoveries/{nothing}/", "         302 403 403 403 403 403 403 404"),
    Row("POST", "/people/recoveries/{nothing}/", "        302 403 403 403 403 403 403 404", {"code": CODE}),
    Row("POST", "/people/recoveries/{nothing}/decline/", "302 403 403 403 403 403 403 404"),
    Row("POST", "/logout/", "                             302 302 302 302 302 302 302 302"),
    Row("GET", "/playbooks/", "                           302 200 200 200 200 200 200 200"),
    Row("GET", "/playbooks/historian-down/", "            302 200 200 200 200 200 200 200"),
    Row("GET", "/playbooks/historian-down/request/", "    302 200 200 403 403 403 403 403"),
    Row("POST", "/playbooks/historian-down/request/", "   302 302 302 403 403 403 403 403", ASK),
    Row("GET", "/requests/{armed}/", "                    302 200 404 200 200 200 200 200"),
    Row("GET", "/requests/{armed}/live/", "               302 200 404 200 200 200 200 200"),
    Row("GET", "/requests/{armed}/events/", "             302 200 404 200 200 200 200 200"),
    Row("GET", "/requests/{half}/decide/", "              302 404 200 200 200 200 200 200"),
    Row("POST", "/requests/{half}/decide/", "             302 404 403 302 403 403 403 403", DECIDE),
    Row("GET", "/requests/{half}/override/", "            302 404 403 403 200 403 403 403"),
    # Two minutes old, and its playbook allows none.
    Row("POST", "/requests/{half}/override/", "           302 404 403 403 403 403 403 403",
        {"reason": "Nobody answers", "code": CODE, "number": NUMBER}),
    Row("POST", "/requests/{half}/withdraw/", "           302 404 302 403 403 403 403 403"),
    Row("GET", "/inbox/", "                               302 403 403 200 200 403 403 403"),
    Row("GET", "/inbox/live/", "                          302 403 403 200 200 403 403 403"),
    Row("GET", "/inbox/events/", "                        302 403 403 200 200 403 403 403"),
    Row("POST", "/grants/{grant}/release/", "             302 302 404 403 404 403 403 403"),
    Row("GET", "/grants/{grant}/revoke/", "               302 403 404 200 404 403 403 200"),
    Row("POST", "/grants/{grant}/revoke/", "              302 403 404 302 404 403 403 302", {"reason": "x", "code": CODE}),
    # 409: theirs, but its clock hasn't begun.
    Row("GET", "/grants/{grant}/extend/", "               302 409 404 403 404 403 403 403"),
    Row("POST", "/grants/{grant}/extend/", "              302 409 404 403 404 403 403 403",
        {"reason": "the index is still being rebuilt", "minutes": "10"}),
    Row("GET", "/grants/{grant}/connect-code/", "         302 200 404 403 404 403 403 403"),
    Row("POST", "/grants/{grant}/connect-code/", "        302 200 404 403 404 403 403 403", {"code": CODE}),
    Row("GET", "/grants/{grant}/certificate/", "          302 200 404 403 404 403 403 403"),
    Row("POST", "/grants/{grant}/certificate/", "         302 200 404 403 404 403 403 403", {"key": "{key}", "code": CODE}),
    Row("POST", "/grants/{grant}/certificate/{serial}/revoke/", "302 404 404 404 404 404 404 404"),
    Row("GET", "/grants/{grant}/terminal/", "             302 200 404 403 404 403 403 403"),
    Row("POST", "/grants/{grant}/terminal/", "            302 200 404 403 404 403 403 403"),
    Row("GET", "/grants/{grant}/evidence/", "             302 403 404 403 404 200 200 200"),
    Row("POST", "/grants/{grant}/evidence/", "            302 403 404 403 404 200 200 200"),
    Row("GET", "/incidents/", "                           302 200 200 200 200 200 200 200"),
    Row("GET", "/incidents/open/", "                      302 200 200 200 200 403 403 200"),
    Row("POST", "/incidents/open/", "                     302 302 302 302 302 403 403 302", {"title": "Pump 3 stopped"}),
    Row("GET", "/incidents/{incident}/", "                302 200 200 200 200 200 200 200"),
    # 409: allowed, but a review is not signed yet.
    Row("POST", "/incidents/{incident}/close/", "         302 409 403 409 409 403 403 409"),
    Row("GET", "/assets/", "                              302 200 200 200 200 200 200 200"),
    Row("GET", "/assets/hist-01/", "                      302 200 200 200 200 200 200 200"),
    Row("GET", "/profile/", "                             302 200 200 200 200 200 200 200"),
    Row("POST", "/profile/keys/", "                       302 422 422 422 422 422 422 422"),
    Row("POST", "/profile/keys/{key}/remove/", "          302 302 404 404 404 404 404 404"),
    Row("POST", "/profile/tokens/", "                     302 200 200 200 200 200 200 200",
        {"token-label": "cron", "token-code": CODE}),
    Row("POST", "/profile/tokens/{nothing}/revoke/", "    302 404 404 404 404 404 404 404"),
    Row("GET", "/find/", "                                302 200 200 200 200 200 200 200"),
    Row("GET", "/alarms/", "                              302 200 200 200 200 200 200 200"),
    Row("GET", "/waiting/", "                             302 200 200 200 200 200 200 200"),
    Row("GET", "/profile/notices/", "                     302 200 200 200 200 200 200 200"),
    Row("POST", "/profile/notices/", "                    302 422 422 422 422 422 422 422"),
    Row("POST", "/profile/notices/{nothing}/try/", "      302 404 404 404 404 404 404 404"),
    Row("POST", "/profile/notices/{nothing}/switch/", "   302 404 404 404 404 404 404 404", {"on": "0"}),
    Row("POST", "/profile/notices/{nothing}/remove/", "   302 404 404 404 404 404 404 404"),
    Row("GET", "/locks/", "                               302 403 403 403 403 403 403 200"),
    Row("POST", "/locks/", "                              302 403 403 403 403 403 403 302",
        {"subject": "asset:bms-04", "reason": "odd logins", "code": CODE}),
    Row("GET", "/locks/{lock}/lift/", "                   302 403 403 403 403 403 403 200"),
    Row("POST", "/locks/{lock}/lift/", "                  302 403 403 403 403 403 403 302", {"code": CODE}),
    Row("GET", "/audit/", "                               302 403 403 403 403 403 200 403"),
    Row("POST", "/audit/", "                              302 403 403 403 403 403 200 403"),
    # The demo's outbox isn't there outside the demo.
    Row("GET", "/mail/", "                                302 404 404 404 404 404 404 404"),
    Row("GET", "/sessions/", "                            302 200 200 200 200 200 200 200"),
    Row("GET", "/sessions/{live_session}/", "             302 200 404 200 200 200 200 200"),
    Row("GET", "/sessions/{live_session}/live/", "        302 200 404 200 200 200 200 200"),
    Row("GET", "/sessions/{live_session}/events/", "      302 200 404 200 200 200 200 200"),
    Row("GET", "/sessions/{ended_session}/recording.cast", "302 200 404 403 403 200 200 403"),
    Row("GET", "/sessions/{ended_session}/download/", "   302 200 404 403 403 200 200 403"),
    Row("GET", "/sessions/{ended_session}/replay/", "     302 200 404 403 403 200 200 403"),
    Row("POST", "/sessions/{ended_session}/viewing/", "   302 200 404 403 403 200 200 403"),
    Row("GET", "/sessions/{ended_session}/timeline.json", "302 200 404 403 403 200 200 403"),
    Row("GET", "/sessions/{ended_session}/transcript/", " 302 200 404 403 403 200 200 403"),
    # 409: allowed, but nothing was rendered yet.
    Row("GET", "/sessions/{ended_session}/transcript.txt", "302 409 404 403 403 409 409 403"),
    Row("GET", "/search/", "                              302 200 200 200 200 200 200 200"),
    Row("POST", "/search/", "                             302 200 200 200 200 200 200 200", {"q": "historian"}),
    # 403: the ticket of a viewing is missing (tests/services/test_replaying.py has it).
    Row("GET", "/sessions/{ended_session}/chunks/0/0/", " 302 403 404 403 403 403 403 403"),
    Row("GET", "/sessions/{ended_session}/files/{file}/download/", "302 200 404 403 403 200 200 403"),
    Row("GET", "/sessions/{live_session}/freeze/", "      302 403 404 200 200 403 403 200"),
    Row("POST", "/sessions/{live_session}/freeze/", "     302 403 404 302 302 403 403 302", {"reason": "wrong machine"}),
    Row("POST", "/sessions/{live_session}/unfreeze/", "   302 403 404 302 302 403 403 302"),
    Row("GET", "/sessions/{live_session}/watch/", "       302 403 404 200 200 200 200 200"),
    Row("GET", "/sessions/{live_session}/watch/live/", "  302 403 404 200 200 200 200 200"),
    Row("POST", "/sessions/{live_session}/watch/begin/", " 302 403 404 200 200 200 200 200"),
    # 204 and 410: allowed, but that isn't a watch of theirs.
    Row("GET", "/sessions/{live_session}/watch/stream/", "302 403 404 204 204 204 204 204"),
    Row("POST", "/sessions/{live_session}/watch/beat/", " 302 410 410 410 410 410 410 410", {"watch": "{nothing}"}),
    Row("POST", "/sessions/{live_session}/watch/leave/", "302 204 204 204 204 204 204 204", {"watch": "{nothing}"}),
    Row("GET", "/sessions/{live_session}/beside/", "      302 200 404 200 200 200 200 200"),
    Row("GET", "/sessions/{live_session}/watchers/", "    302 200 404 200 200 200 200 200"),
    Row("GET", "/sessions/{live_session}/chat/", "        302 200 404 200 200 200 200 200"),
    Row("POST", "/sessions/{live_session}/chat/say/", "   302 302 404 302 302 302 302 302", {"text": "Disk first"}),
    Row("GET", "/sessions/{ended_session}/hold/", "       302 403 404 403 403 403 200 403"),
    Row("POST", "/sessions/{ended_session}/hold/", "      302 403 404 403 403 403 302 403", {"reason": "a claim"}),
    Row("GET", "/sessions/{ended_session}/unhold/", "     302 403 404 403 403 403 200 403"),
    # 409: allowed, but it isn't held.
    Row("POST", "/sessions/{ended_session}/unhold/", "    302 403 404 403 403 403 409 403", {"reason": "settled"}),
    Row("GET", "/sessions/{live_session}/kill/", "        302 403 404 200 200 403 403 200"),
    Row("POST", "/sessions/{live_session}/kill/", "       302 403 404 302 302 403 403 302", {"reason": "wrong machine"}),
    Row("POST", "/sessions/{ended_session}/coverage/", "  302 403 404 403 403 422 403 403", {"told": "{{}}"}),
    Row("GET", "/trends/", "                              302 403 403 403 200 200 200 200"),
    # Nobody: the form in which a screen is paired. What a screen may do is in test_wallboard.
    Row("GET", "/wallboard/", "                           200 200 200 200 200 200 200 200"),
    Row("POST", "/wallboard/pair/", "                     422 422 422 422 422 422 422 422"),
    Row("GET", "/wallboard/live/", "                      401 200 200 200 200 200 200 200"),
    Row("GET", "/wallboard/events/", "                    401 200 200 200 200 200 200 200"),
    Row("POST", "/wallboard/screens/", "                  401 200 200 200 200 200 200 200"),
    Row("POST", "/wallboard/{live_session}/freeze/", "    302 403 404 302 302 403 403 302"),
    Row("POST", "/wallboard/{live_session}/unfreeze/", "  302 403 404 302 302 403 403 302"),
    Row("GET", "/kiosks/", "                              302 403 403 403 403 403 403 200"),
    Row("POST", "/kiosks/", "                             302 403 403 403 403 403 403 200", {"name": "Hall", "days": "7", "code": CODE}),
    Row("GET", "/kiosks/{nothing}/revoke/", "             302 403 403 403 403 403 403 404"),
    Row("POST", "/kiosks/{nothing}/revoke/", "            302 403 403 403 403 403 403 404"),
    Row("GET", "/ends/", "                                302 403 403 403 403 200 200 200"),
    Row("GET", "/reviews/", "                             302 403 403 403 403 200 200 403"),
    Row("GET", "/reviews/{review}/", "                    302 404 404 404 404 200 200 404"),
    Row("POST", "/reviews/{review}/", "                   302 404 404 404 404 302 403 404", {"verdict": "in_order", "code": CODE}),
    Row("POST", "/reviews/{review}/claim/", "             302 404 404 404 404 302 403 404", {"act": "claim"}),
    Row("POST", "/reviews/{review}/findings/", "          302 404 404 404 404 302 403 404",
        {"category": "unsafe", "severity": "low", "text": "Restarted twice"}),
    Row("GET", "/findings/", "                            302 403 403 403 403 200 200 403"),
    Row("GET", "/findings/{finding}/", "                  302 404 404 404 404 200 200 404"),
    # 409: allowed, but its review isn't signed.
    Row("POST", "/findings/{finding}/", "                 302 404 404 404 404 409 409 404", {"act": "close", "note": "Explained"}),
    Row("POST", "/findings/{finding}/withdraw/", "        302 404 404 404 404 302 404 404"),
]  # fmt: skip
NOTHING = "00000000-0000-4000-8000-000000000000"


def test_the_table_names_every_address() -> None:
    patterns = [entry for entry in [*control.urlpatterns, *data.urlpatterns] if isinstance(entry, URLPattern)]
    offered = {re.sub(r"<[^>]*>", "{}", f"/{pattern.pattern}") for pattern in patterns}
    named = {_shape(row.path) for row in TABLE}
    assert named == offered


@pytest.mark.parametrize("who", WHO)
def test_each_role_gets_the_answer_of_the_table(scene: Scene, enter: Enter, who: str) -> None:
    column = WHO.index(who)
    found = [f"{row.method} {row.path} {_answer(enter(who), scene, row, who)}" for row in TABLE]
    assert found == [f"{row.method} {row.path} {row.answers.split()[column]}" for row in TABLE]


def test_what_is_hidden_reads_like_what_is_not_there(scene: Scene, enter: Enter) -> None:
    rob = enter("rob")
    for path in (
        "/requests/{armed}/",
        "/sessions/{ended_session}/",
        "/sessions/{ended_session}/recording.cast",
    ):
        hidden = rob.get(path_of(path, scene)).content.decode()
        absent = rob.get(re.sub(r"\{\w+\}", NOTHING, path)).content.decode()
        plain = re.compile(r"<time.*?</time>|server-now=\"\d+\"|value=\"\w{64}\"|data-until=\"\d+\"")
        assert plain.sub("", hidden) == plain.sub("", absent)


def test_only_administrators_read_addresses(scene: Scene, enter: Enter) -> None:
    for who in WHO[1:]:
        for path in ("/assets/", "/assets/hist-01/"):
            assert (b"127.0.0.1:22101" in enter(who).get(path).content) is (who == "admin")


def test_a_password_alone_opens_nothing(scene: Scene) -> None:
    client = Client()
    client.force_login(stage.person("otto"), backend="django.contrib.auth.backends.ModelBackend")
    for row in TABLE:
        if row.method == "GET" and not row.path.startswith("/login/"):
            # What is open to nobody at all isn't open to a password either.
            assert client.get(path_of(row.path, scene)).status_code == int(row.answers.split()[0]), row.path


def test_a_machine_token_opens_no_page(scene: Scene) -> None:
    _, secret = tokens.issue_known(stage.person("admin"), "cron", clock.now())
    machine = Client(headers={"Authorization": f"Bearer {secret}"})
    found = [f"{row.method} {row.path} {_answer(machine, scene, row, 'nobody')}" for row in TABLE]
    assert found == [f"{row.method} {row.path} {row.answers.split()[0]}" for row in TABLE]


def test_a_vendor_sees_what_is_everybodys_and_nothing_of_others(scene: Scene, enter: Enter) -> None:
    """A vendor is a person in no group that a playbook, a review or the house asks for."""
    now = clock.now()
    vic = people.create(
        username="vic", full_name="Vic Vendor", email="", password="a vendor's long password", groups=["vendors"],
        by=None, now=now,
    )  # fmt: skip
    second_factor.enrol_known(vic, "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", now)
    client = enter("vic")
    for row in TABLE:
        if row.method == "GET" and not row.path.startswith("/login/"):
            status = client.get(path_of(row.path, scene)).status_code
            answers = set(row.answers.split()[1:])
            everybodys = (
                answers if len(answers) == 1 else {"200"} if row.path == "/incidents/open/" else set()
            )
            assert str(status) in (everybodys or {"403", "404"}), (row.path, status)


def test_a_disabled_person_is_out_at_once(scene: Scene, enter: Enter) -> None:
    rita = enter("rita")
    assert rita.get("/").status_code == 200
    person = stage.person("rita")
    person.is_active = False
    person.save()
    assert rita.get("/").status_code == 302
    assert rita.post(path_of("/grants/{grant}/release/", scene)).status_code == 302
    assert Grant.objects.get(request_id=scene.armed).state == "armed"


def _answer(client: Client, scene: Scene, row: Row, who: str) -> int:
    body = {name: _value(value, scene, who) for name, value in (row.body or {}).items()}
    path = path_of(row.path, scene)
    with transaction.atomic():
        response = client.get(path) if row.method == "GET" else client.post(path, body)
        transaction.set_rollback(True)
    return response.status_code


def _value(value: object, scene: Scene, who: str) -> str:
    if value is CODE:
        return "000000" if who == "nobody" else stage.fresh_code(who, clock.now())
    if value is NUMBER:
        return stage.number(scene.half)
    return path_of(str(value), scene)


def path_of(path: str, scene: Scene) -> str:
    grant = Grant.objects.get(request_id=scene.armed)
    key = stage.person("rita").ssh_keys.get()
    known = {"grant": grant.pk, "key": key.pk, "rita": stage.person("rita").pk}
    return path.format(**vars(scene), **known, nothing=NOTHING, serial=4711, file="9.1")


def _shape(path: str) -> str:
    plain = re.sub(r"\{\w+\}", "{}", path)
    return re.sub(r"/(historian-down|hist-01|\d+)(?=/)", "/{}", plain)
