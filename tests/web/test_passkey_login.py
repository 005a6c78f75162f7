"""Logging in with a passkey, after the password or without one; a password alone enrols nothing."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from breakglass.models import AuditEvent, TotpFactor
from breakglass.services import passkeys, second_factor
from tests.support.authenticator import give_passkey
from tests.support.cast import Cast
from tests.support.clock import FrozenClock

pytestmark = pytest.mark.django_db


def test_a_passkey_is_the_second_step(cast: Cast, frozen: FrozenClock) -> None:
    key, client = give_passkey(cast.rita, frozen.now), Client()
    client.post("/login/", {"username": "rita", "password": cast.password("rita")})
    page = client.get("/login/second/").content.decode()
    assert 'data-step-up="/login/passkey/challenge/"' in page
    options = json.loads(client.post("/login/passkey/challenge/", {"action": "login"}).content)
    assert len(options["allowCredentials"]) == 1
    given = key.get(options).text
    assert client.post("/login/second/", {"assertion": given})["Location"] == "/"
    assert client.get("/").status_code == 200
    logged = AuditEvent.objects.filter(tag="web:login:succeeded").first()
    assert logged and "webauthncredential" in logged.data["factor"]


def test_a_passkey_logs_in_without_a_password_and_in_no_other_browser(
    cast: Cast, frozen: FrozenClock
) -> None:
    key, client, other = give_passkey(cast.rita, frozen.now), Client(), Client()
    for one in (client, other):
        one.get("/login/")
    options = json.loads(client.post("/login/passkey/challenge/", {"action": "passkey"}).content)
    assert options["allowCredentials"] == []
    given = key.get(options).text
    assert other.post("/login/passkey/", {"assertion": given}).status_code == 403
    assert client.post("/login/passkey/?next=/profile/", {"assertion": given})["Location"] == "/profile/"
    assert client.get("/profile/").status_code == 200
    assert client.post("/login/passkey/", {"assertion": given}).status_code == 403


def test_a_removed_passkey_ends_the_login_that_it_opened(cast: Cast, frozen: FrozenClock) -> None:
    key, client = give_passkey(cast.rita, frozen.now), Client()
    client.get("/login/")
    options = json.loads(client.post("/login/passkey/challenge/", {"action": "passkey"}).content)
    client.post("/login/passkey/", {"assertion": key.get(options).text})
    assert client.get("/").status_code == 200
    passkeys.of(cast.rita)[0].delete()
    assert client.get("/").status_code == 302


def test_a_password_alone_enrols_nothing(cast: Cast, frozen: FrozenClock) -> None:
    TotpFactor.objects.filter(user=cast.rita).delete()
    client = Client()
    client.post("/login/", {"username": "rita", "password": cast.password("rita")})
    page = client.get("/login/enrol/").content
    assert b"Enrolment code" in page and b"<svg" not in page.split(b"<main")[1].split(b"</span>", 1)[1]
    for body in ({"code": "123456"}, {"name": "x", "made": "{}"}, {"enrolment_code": "00000-00000"}, {}):
        answer = client.post("/login/enrol/", body)
        assert b"Enrolment code" in answer.content
    assert not second_factor.has_factor(cast.rita)
    assert AuditEvent.objects.filter(tag="people:enrolment_code:refused").count() == 1
