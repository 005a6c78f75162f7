"""The bearer token is the only way in, and a useless one when it should be."""

from __future__ import annotations

from django.test import Client

from breakglass.models import ApiToken
from breakglass.services import people, tokens
from tests.api.scene import Plant


def test_no_token_is_asked_for_by_its_name(plant: Plant) -> None:
    answer = plant.get(None, "/requests")
    assert (answer.status, answer.refusal, answer.body["needs"]) == (401, "token_required", ["token"])
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_what_is_no_token_is_refused(plant: Plant) -> None:
    for value in ("Bearer nonsense", "Bearer ", "Bearer", "Basic cml0YTp4", "rita", "Bearer \u00e9"):
        answer = plant.call(None, "GET", "/requests", Authorization=value)
        assert (answer.status, answer.refusal) == (401, "token_required"), value


def test_a_revoked_token_is_useless_at_once(plant: Plant) -> None:
    assert plant.get("rita", "/requests").status == 200
    token = ApiToken.objects.get(person=plant.people["rita"])
    tokens.revoke(plant.people["rita"], token.pk, plant.clock.now)
    assert plant.get("rita", "/requests").refusal == "token_required"


def test_an_expired_token_is_useless(plant: Plant) -> None:
    plant.clock.forward(days=91)
    assert plant.get("rita", "/requests").status == 401


def test_the_token_of_a_disabled_person_is_useless(plant: Plant) -> None:
    people.disable(plant.people["rita"], by=plant.people["admin"], now=plant.clock.now)
    assert plant.get("rita", "/requests").status == 401


def test_a_token_in_the_address_is_not_taken(plant: Plant) -> None:
    assert plant.get(None, f"/requests?token={plant.tokens['rita']}").status == 401


def test_a_web_login_counts_for_nothing_here(plant: Plant) -> None:
    client = Client()
    client.force_login(plant.people["rita"], backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/api/v1/requests").status_code == 401


def test_the_stored_form_of_a_token_opens_nothing(plant: Plant) -> None:
    token = ApiToken.objects.get(person=plant.people["rita"])
    assert plant.call(None, "GET", "/requests", Authorization=f"Bearer {token.sha256}").status == 401


def test_no_answer_is_kept_by_a_cache(plant: Plant) -> None:
    for who in (None, "rita"):
        assert "no-store" in plant.get(who, "/requests").headers["Cache-Control"]
