"""Logging in: two steps, told plainly how long to wait, and no stranger locks a responder out."""

from __future__ import annotations

import re

import pytest
from django.db import transaction
from django.test import Client

from breakglass.demo import totp
from breakglass.models import AuditEvent, Person, RecoveryCode, TotpFactor
from breakglass.services import enrolment, people, second_factor
from tests.support.cast import Cast
from tests.support.clock import FrozenClock

pytestmark = pytest.mark.django_db


@pytest.fixture
def at(frozen: FrozenClock) -> FrozenClock:
    return frozen


def _password(client: Client, username: str, password: str, address: str = "10.0.0.1") -> int:
    body = {"username": username, "password": password}
    return client.post("/login/", body, REMOTE_ADDR=address).status_code


def test_password_then_code_leads_in_and_is_audited(cast: Cast, at: FrozenClock) -> None:
    client = Client()
    step = client.post("/login/?next=/profile/", {"username": " Rita ", "password": cast.password("rita")})
    assert step["Location"] == "/login/second/"
    assert client.get("/").status_code == 302
    done = client.post("/login/second/", {"code": cast.code("rita", at.now)})
    assert done["Location"] == "/profile/"
    assert client.get("/profile/").status_code == 200
    assert AuditEvent.objects.filter(tag="web:login:succeeded", actor_name="rita").count() == 1
    client.post("/logout/")
    assert client.get("/profile/").status_code == 302
    assert AuditEvent.objects.filter(tag="web:login:ended", actor_name="rita").count() == 1


def test_a_wrong_password_says_nothing_about_who_exists(cast: Cast, at: FrozenClock) -> None:
    known = Client().post("/login/", {"username": "rita", "password": "wrong"})
    unknown = Client().post("/login/", {"username": "nemo", "password": "wrong"})
    assert known.status_code == unknown.status_code == 401
    plain = [
        re.sub(r'value="[^"]*"|server-now="\d+"', "", page.content.decode()) for page in (known, unknown)
    ]
    assert plain[0] == plain[1]
    assert AuditEvent.objects.filter(tag="web:login:failed").count() == 2


def test_the_next_page_is_never_somewhere_else(cast: Cast, at: FrozenClock) -> None:
    for target in ("https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"):
        client = Client()
        client.post(
            "/login/", {"username": "rita", "password": cast.password("rita")}, query_params={"next": target}
        )
        at.forward(seconds=30)
        assert client.post("/login/second/", {"code": cast.code("rita", at.now)})["Location"] == "/"


def test_too_many_wrong_passwords_say_how_long_to_wait(cast: Cast) -> None:
    client = Client()
    for _ in range(5):
        _password(client, "rita", "wrong")
    locked = client.post("/login/", {"username": "rita", "password": "wrong"}, REMOTE_ADDR="10.0.0.1")
    assert locked.status_code == 429
    seconds = re.search(r"Try again in (\d+) s", locked.content.decode())
    assert seconds and 0 < int(seconds[1]) <= 300
    assert b"throttled" in locked.content


def test_a_stranger_locks_nobody_out(cast: Cast, at: FrozenClock) -> None:
    stranger = Client()
    for _ in range(8):
        _password(stranger, "rita", "wrong", address="203.0.113.9")
    assert _password(stranger, "rita", cast.password("rita"), address="203.0.113.9") == 429
    assert _password(Client(), "rita", cast.password("rita"), address="10.0.0.1") == 302


def test_a_code_counts_once(cast: Cast, at: FrozenClock) -> None:
    code = cast.code("rita", at.now)
    for expected in (302, 403):
        client = Client()
        client.post("/login/", {"username": "rita", "password": cast.password("rita")})
        answer = client.post("/login/second/", {"code": code})
        assert answer.status_code == expected
    assert b"second_factor_used" in answer.content


def test_wrong_codes_are_throttled_with_the_time_to_wait(cast: Cast, at: FrozenClock) -> None:
    client = Client()
    client.post("/login/", {"username": "rita", "password": cast.password("rita")})
    for _ in range(6):
        answer = client.post("/login/second/", {"code": cast.wrong_code("rita", at.now)})
    assert answer.status_code == 429
    assert re.search(rb"Try again in \d+ s", answer.content)


def test_a_thief_of_the_password_holds_up_nobodys_own_codes(cast: Cast, at: FrozenClock) -> None:
    """Neither the step-ups of a full login, nor ssh, nor the person's login from elsewhere, by app or recovery code."""
    thief = _half(cast, "203.0.113.9")
    for way in ("/login/second/", "/login/second/?recovery=1"):
        for _ in range(8):
            answer = thief.post(way, {"code": cast.wrong_code("rita", at.now)}, REMOTE_ADDR="203.0.113.9")
    assert answer.status_code == 429
    assert second_factor.verify(cast.rita, cast.code("rita", at.now), at.now).at == at.now
    at.forward(seconds=30)
    home = _half(cast, "10.0.0.1")
    assert home.post("/login/second/", {"code": cast.code("rita", at.now)}, REMOTE_ADDR="10.0.0.1")[
        "Location"
    ]


def _half(cast: Cast, address: str) -> Client:
    client = Client()
    assert _password(client, "rita", cast.password("rita"), address) == 302
    return client


def test_the_second_step_is_open_for_ten_minutes_only(cast: Cast, at: FrozenClock) -> None:
    client = Client()
    client.post("/login/", {"username": "rita", "password": cast.password("rita")})
    at.forward(minutes=11)
    answer = client.post("/login/second/", {"code": cast.code("rita", at.now)})
    assert answer["Location"] == "/login/"


def test_a_disabled_person_gets_no_further(cast: Cast, at: FrozenClock) -> None:
    client = Client()
    client.post("/login/", {"username": "rita", "password": cast.password("rita")})
    people.disable(cast.rita, by=None, now=at.now)
    assert client.post("/login/second/", {"code": cast.code("rita", at.now)})["Location"] == "/login/"
    assert _password(Client(), "rita", cast.password("rita")) == 401


def test_the_first_login_enrols_and_shows_recovery_codes_once(at: FrozenClock) -> None:
    _newcomer(at)
    client = Client()
    step = client.post("/login/", {"username": "nell", "password": "a-long-enough-password"})
    assert step["Location"] == "/login/enrol/"
    _let_in(client, at)
    page = client.get("/login/enrol/").content.decode()
    assert "<svg" in page and "data:" not in page
    secret = _secret(page)
    assert _secret(client.get("/login/enrol/").content.decode()) == secret
    assert client.post("/login/enrol/", {"code": "000000"}).status_code == 403
    shown = client.post("/login/enrol/", {"code": totp.code(secret, at.now)}).content.decode()
    codes = re.findall(r"<li>([a-z2-7]{4}(?:-[a-z2-7]{4}){3})", shown)
    assert len(codes) == RecoveryCode.objects.count() == 10
    assert client.get("/").status_code == 200
    assert client.get("/login/enrol/").status_code == 302
    again = Client()
    again.post("/login/", {"username": "nell", "password": "a-long-enough-password"})
    for expected in (302, 403):
        answer = again.post("/login/second/?recovery=1", {"code": codes[0].upper()})
        assert answer.status_code == expected
        again = Client()
        again.post("/login/", {"username": "nell", "password": "a-long-enough-password"})


def test_who_has_a_factor_cannot_enrol_another_by_password_alone(cast: Cast, at: FrozenClock) -> None:
    client = Client()
    client.post("/login/", {"username": "rita", "password": cast.password("rita")})
    assert client.get("/login/enrol/")["Location"] == "/login/second/"
    assert client.post("/login/enrol/", {"code": "123456"})["Location"] == "/login/second/"
    assert TotpFactor.objects.filter(user=cast.rita).count() == 1


def test_the_secret_of_an_enrolment_is_not_readable_in_the_database(at: FrozenClock) -> None:
    _newcomer(at)
    client = Client()
    client.post("/login/", {"username": "nell", "password": "a-long-enough-password"})
    _let_in(client, at)
    secret = _secret(client.get("/login/enrol/").content.decode())
    assert secret not in str(dict(client.session))


def test_logging_in_again_starts_a_new_session(cast: Cast, at: FrozenClock) -> None:
    client = Client()
    client.post("/login/", {"username": "rita", "password": cast.password("rita")})
    before = client.session.session_key
    client.post("/login/second/", {"code": cast.code("rita", at.now)})
    assert client.session.session_key != before


def _newcomer(at: FrozenClock) -> Person:
    return people.create(
        username="nell",
        full_name="Nell Newcomer",
        email="",
        password="a-long-enough-password",
        groups=["responders"],
        by=None,
        now=at.now,
    )


def _let_in(client: Client, at: FrozenClock) -> None:
    """Nell types the enrolment code that she was given."""
    with transaction.atomic():
        code = enrolment.mint(Person.objects.get(username="nell"), None, at.now).code
    assert client.post("/login/enrol/", {"enrolment_code": code.upper()})["Location"] == "/login/enrol/"


def _secret(page: str) -> str:
    found = re.search(r'id="secret">([A-Z2-7 ]+)<', page)
    assert found
    return found[1].replace(" ", "")
