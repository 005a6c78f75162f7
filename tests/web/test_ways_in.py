"""The ways in, as pages: the connect code, the certificate, a security key in the profile."""

from __future__ import annotations

import html
import re
from base64 import b64decode

import pytest
from django.test import Client

from breakglass import clock
from breakglass.models import ConnectCode, Grant, PersonCertificate, SshKey
from breakglass.services import certificates, connect_codes, keys
from tests.support.agent import SoftKey
from tests.support.cast import new_key
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene

pytestmark = pytest.mark.django_db


@pytest.fixture
def grant(scene: Scene) -> Grant:
    return Grant.objects.get(request_id=scene.live)


def _code() -> str:
    return stage.fresh_code("rita", clock.now())


def _post(client: Client, path: str, **body: object) -> tuple[int, str]:
    answer = client.post(path, body)
    return answer.status_code, html.unescape(answer.content.decode())


def test_the_way_in_card_leads_to_all_three(scene: Scene, enter: Enter, grant: Grant) -> None:
    page = enter("rita").get(f"/requests/{scene.live}/").content.decode()
    for way in ("connect-code", "certificate"):
        assert f'href="/grants/{grant.pk}/{way}/"' in page
        assert f"/{way}/" not in enter("ben").get(f"/requests/{scene.live}/").content.decode()
    assert "asks for a code of your authenticator app" in page
    SshKey.objects.update(removed_at=clock.now())
    assert "no key registered" in enter("rita").get(f"/requests/{scene.live}/").content.decode()


def test_a_connect_code_is_shown_once_and_works(scene: Scene, enter: Enter, grant: Grant) -> None:
    rita, path = enter("rita"), f"/grants/{grant.pk}/connect-code/"
    status, page = _post(rita, path, code=_code())
    shown = re.search(r'id="connect-code">([^<]+)<', page)
    assert status == 200 and shown
    assert "ssh -p" in page and "data-until" in page
    assert shown[1] not in rita.get(path).content.decode()
    assert connect_codes.redeem("rita", "hist-01", shown[1], "192.0.2.7", clock.now()).grant == grant


def test_without_a_right_code_there_is_none(scene: Scene, enter: Enter, grant: Grant) -> None:
    path = f"/grants/{grant.pk}/connect-code/"
    for wrong, says in (("", "Type the code."), ("000000", "wrong or too old")):
        status, page = _post(enter("rita"), path, code=wrong)
        assert status == 422 and says in page and 'aria-invalid="true"' in page
    assert not ConnectCode.objects.exists()


def test_a_certificate_of_a_registered_key(scene: Scene, enter: Enter, grant: Grant) -> None:
    rita, path = enter("rita"), f"/grants/{grant.pk}/certificate/"
    key = stage.person("rita").ssh_keys.get()
    status, page = _post(rita, path, key=key.pk, code=_code())
    row = PersonCertificate.objects.get()
    assert status == 200 and row.key_fingerprint == key.fingerprint
    file = re.search(r'href="data:application/octet-stream;base64,([^"]+)" download="([^"]+)"', page)
    assert file and file[2] == f"breakglass-{grant.request.label}-cert.pub"
    line = b64decode(file[1]).decode().strip()
    one_shot = re.search(r'id="one-shot"[^>]*>([^<]+)<', page)
    assert one_shot and f"'{line}' > ~/.ssh/{file[2]} && ssh -p " in html.unescape(one_shot[1])
    assert str(row.serial) not in rita.get(f"/requests/{scene.live}/").content.decode()


def test_a_certificate_of_a_pasted_key_from_one_address(scene: Scene, enter: Enter, grant: Grant) -> None:
    rita, path = enter("rita"), f"/grants/{grant.pk}/certificate/"
    line = new_key()[1]
    status, page = _post(rita, path, key="paste", line=line, source_address="192.0.2.7", code=_code())
    row = PersonCertificate.objects.get()
    assert status == 200 and "from 192.0.2.7 only" in page
    assert (row.source_address, row.key_fingerprint) == ("192.0.2.7", keys.parse_public_key(line).fingerprint)


def test_what_is_wrong_stands_beside_its_field(scene: Scene, enter: Enter, grant: Grant) -> None:
    rita, path = enter("rita"), f"/grants/{grant.pk}/certificate/"
    good = {"key": "paste", "line": new_key()[1], "code": _code()}
    for wrong, field in (
        ({"line": ""}, "line"),
        ({"line": "ssh-ed25519 nonsense"}, "line"),
        ({"source_address": "here"}, "source_address"),
        ({"key": "12345"}, "key"),
        ({"code": "000000"}, "code"),
    ):
        status, page = _post(rita, path, **good | wrong)
        assert status == 422, wrong
        assert re.search(rf'id="id_{field}_error"', page), (wrong, field)
    assert not PersonCertificate.objects.exists()


def test_a_certificate_in_force_is_listed_and_revoked(scene: Scene, enter: Enter, grant: Grant) -> None:
    rita, path = enter("rita"), f"/grants/{grant.pk}/certificate/"
    row = certificates.issue(stage.person("rita"), grant.pk, new_key()[1], _code(), clock.now()).row
    assert str(row.serial) in rita.get(path).content.decode()
    rita.post(f"{path}{row.serial}/revoke/")
    row.refresh_from_db()
    assert row.revoked_at is not None
    assert f"{path}{row.serial}/revoke/" not in rita.get(path).content.decode()


def test_over_is_over(scene: Scene, enter: Enter) -> None:
    over = Grant.objects.get(request_id=scene.ended)
    for way in ("connect-code", "certificate"):
        answer = enter("rita").get(f"/grants/{over.pk}/{way}/")
        assert answer.status_code == 403 and b"grant_ended" in answer.content


def test_a_security_key_is_registered_and_shown_as_one(scene: Scene, enter: Enter) -> None:
    rita = enter("rita")
    body = {
        "key-line": SoftKey().line,
        "key-label": "token",
        "key-verify_required": "on",
        "key-code": _code(),
    }
    assert rita.post("/profile/keys/", body).status_code == 302
    assert SshKey.objects.get(label="token").verify_required
    page = rita.get("/profile/").content.decode()
    assert "security key, sk-ssh-ed25519" in page and "asks for its PIN" in page


def test_another_key_cannot_ask_for_a_pin(scene: Scene, enter: Enter) -> None:
    body = {"key-line": new_key()[1], "key-verify_required": "on", "key-code": _code()}
    answer = enter("rita").post("/profile/keys/", body)
    assert answer.status_code == 422 and b'id="id_key-verify_required_error"' in answer.content
