"""Passkeys and codes on pages: the same forms take either; a password alone enrols nothing; a number is compared."""

from __future__ import annotations

import json
from html import unescape
from typing import Any

from django.test import Client

from breakglass import clock
from breakglass.models import Approval, FactorRecovery, Lock
from breakglass.services import passkeys, second_factor
from tests.support.authenticator import Authenticator, give_passkey
from tests.support.cast import new_key
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene


def _options(client: Client, action: str, subject: object) -> dict[str, Any]:
    answer = client.post("/passkeys/challenge/", {"action": action, "subject": str(subject)})
    assert answer.status_code == 200
    found: dict[str, Any] = json.loads(answer.content)
    return found


def test_a_passkey_approves_on_the_page_and_only_that_request(scene: Scene, enter: Enter) -> None:
    key, ben = give_passkey(stage.person("ben"), clock.now()), enter("ben")
    page = ben.get(f"/requests/{scene.half}/decide/").content.decode()
    assert f'data-subject="{scene.half}"' in page and 'data-action="deny"' in page and "passkey.js" in page
    given = key.get(_options(ben, "approve", scene.half)).text
    other = ben.post(f"/requests/{scene.pending}/decide/", _yes(scene.pending, given))
    assert other.status_code == 422 and b"given for something else" in other.content
    assert given not in other.content.decode()
    done = ben.post(f"/requests/{scene.half}/decide/", _yes(scene.half, given))
    assert done.status_code == 302
    assert Approval.objects.get(request_id=scene.half, person=stage.person("ben")).factor.startswith(
        "passkey:"
    )


def test_without_its_pin_a_passkey_approves_nothing(scene: Scene, enter: Enter) -> None:
    key, ben = give_passkey(stage.person("ben"), clock.now()), enter("ben")
    given = key.get(_options(ben, "approve", scene.half), verified=False).text
    answer = ben.post(f"/requests/{scene.half}/decide/", _yes(scene.half, given))
    assert answer.status_code == 422 and b"without its PIN" in answer.content


def test_the_number_is_asked_for_and_a_wrong_one_is_typed_from_then_on(scene: Scene, enter: Enter) -> None:
    ben, path = enter("ben"), f"/requests/{scene.half}/decide/"
    code = stage.fresh_code("ben", clock.now())
    silent = ben.post(path, {"verdict": "approve", "code": code})
    assert silent.status_code == 422 and b"Pick the number" in silent.content
    number = stage.number(scene.half)
    offered = [one for one in range(10, 100) if f'value="{one}"'.encode() in silent.content]
    assert len(offered) == 3 and int(number) in offered
    wrong = next(one for one in offered if one != int(number))
    answer = ben.post(path, {"verdict": "approve", "code": code, "number": wrong})
    assert b"the number that the requester sees" in answer.content and b"Type the number" in answer.content
    assert b'type="radio"' not in answer.content
    assert ben.post(path, {"verdict": "approve", "code": code, "number": number}).status_code == 302


def test_only_the_requester_sees_the_number(scene: Scene, enter: Enter) -> None:
    number = f"<b>{stage.number(scene.pending)}</b>"
    assert number in enter("rob").get(f"/requests/{scene.pending}/").content.decode()
    for name in ("ben", "vera", "otto", "admin", "sam"):
        assert number not in enter(name).get(f"/requests/{scene.pending}/").content.decode()


def test_every_form_with_a_factor_takes_a_passkey(scene: Scene, enter: Enter) -> None:
    """One that names its object by a field: what the browser asks for is what the service checks."""
    key, admin = give_passkey(stage.person("admin"), clock.now()), enter("admin")
    given = key.get(_options(admin, "lock", "asset:hmi-02")).text
    body = {"subject": "asset:bms-04", "reason": "Odd logins", "code": "", "assertion": given}
    assert admin.post("/locks/", body).status_code == 422
    assert admin.post("/locks/", body | {"subject": "asset:hmi-02"}).status_code == 302
    lift = key.get(_options(admin, "lift lock", scene.lock)).text
    assert admin.post(f"/locks/{scene.lock}/lift/", {"assertion": lift}).status_code == 302
    assert not Lock.objects.filter(pk=scene.lock, lifted_at=None).exists()
    row = passkeys.of(stage.person("admin"))[0]
    away = key.get(_options(admin, "remove passkey", row.pk)).text
    assert admin.post(f"/profile/passkeys/{row.pk}/remove/", {"assertion": away}).status_code == 302


def test_a_key_is_registered_by_a_passkey_whatever_the_form_does_to_its_line(
    scene: Scene, enter: Enter
) -> None:

    key, rita = give_passkey(stage.person("rita"), clock.now()), enter("rita")
    line = new_key()[1]
    given = key.get(_options(rita, "register key", f"  {line}\n")).text
    body = {"key-line": f"{line}\r\n", "key-label": "x", "key-code": "", "key-assertion": given}
    assert rita.post("/profile/keys/", body).status_code == 302


def test_another_factor_is_added_for_one_that_is_given(scene: Scene, enter: Enter) -> None:
    rita = enter("rita")
    assert rita.get("/profile/factors/add/").status_code == 302
    missing = rita.post("/profile/factors/", {})
    assert missing.status_code == 422
    code = stage.fresh_code("rita", clock.now())
    assert rita.post("/profile/factors/", {"factor-code": code})["Location"] == "/profile/factors/add/"
    page = rita.get("/profile/factors/add/")
    options = json.loads(_attribute(page.content.decode(), "data-passkey-new"))
    made = Authenticator().create(options)
    done = rita.post("/profile/factors/add/", {"name": "Phone <b>", "made": made})
    assert done["Location"] == "/profile/#factors"
    assert b"Phone &lt;b&gt;" in rita.get("/profile/").content
    # The permit is used up with it.
    assert rita.get("/profile/factors/add/").status_code == 302


# --- people


def test_a_person_stops_the_recovery_that_they_didnt_ask_for(scene: Scene, enter: Enter) -> None:
    body = {"reason": "On the phone.", "code": stage.fresh_code("admin", clock.now())}
    admin, rita = enter("admin"), stage.person("rita")
    assert admin.post(f"/people/{rita.pk}/recovery/", body)["Location"] == "/people/"
    asked = FactorRecovery.objects.get()
    assert b"On the phone." in admin.get("/people/").content
    own = admin.get(f"/people/recoveries/{asked.pk}/").content
    assert b"You can&#x27;t confirm" in own or b"You can't confirm" in own
    code = stage.fresh_code("admin", clock.now())
    assert admin.post(f"/people/recoveries/{asked.pk}/", {"code": code}).status_code == 403
    client = enter("rita")
    assert b"I lost nothing" in client.get("/profile/").content
    assert client.post(f"/people/recoveries/{asked.pk}/decline/")["Location"] == "/profile/"
    assert b"I lost nothing" not in client.get("/profile/").content
    assert second_factor.has_app(rita)


def _yes(request_id: object, given: str) -> dict[str, str]:
    number = stage.number(request_id)  # type: ignore[arg-type]
    return {"verdict": "approve", "code": "", "assertion": given, "number": number}


def _attribute(page: str, name: str) -> str:

    return unescape(page.split(f'{name}="', 1)[1].split('"', 1)[0])
