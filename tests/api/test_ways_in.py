"""The ways in, by program."""

from __future__ import annotations

from datetime import timedelta

from breakglass.models import PersonCertificate
from breakglass.services import certificates, connect_codes, keys
from tests.api.scene import Plant, Things
from tests.support.cast import new_key


def test_a_certificate(plant: Plant, things: Things) -> None:
    line, path = new_key()[1], f"/grants/{things.live.pk}/certificate"
    body = {"public_key": line, "otp": plant.otp("rita"), "source_address": "192.0.2.7"}
    answer = plant.post("rita", path, body)
    row = PersonCertificate.objects.get()
    assert answer.status == 201
    assert answer.body["certificate"].startswith("ssh-ed25519-cert-v01@openssh.com AAAA")
    assert (answer.body["serial"], answer.body["source_address"]) == (str(row.serial), "192.0.2.7")
    assert answer.body["key_fingerprint"] == keys.parse_public_key(line).fingerprint
    assert any("rita+operator@hist-01@" in way for way in answer.body["ssh"])
    again = plant.post("rita", path, body)
    assert (again.status, again.refusal) == (403, "second_factor_used")
    revoked = plant.post("rita", f"{path}/{row.serial}/revoke")
    assert revoked.status == 200 and revoked.body["revoked_at"]
    row.refresh_from_db()
    assert certificates.objection(row, plant.clock.now) == "it was revoked"
    assert plant.post("rita", f"{path}/{row.serial}/revoke").status == 404
    for odd in ("x", "-1", "9" * 30):
        assert plant.post("rita", f"{path}/{odd}/revoke").status == 404


def test_what_is_missing_is_named(plant: Plant, things: Things) -> None:
    path = f"/grants/{things.live.pk}"
    answer = plant.post("rita", f"{path}/certificate", {"public_key": new_key()[1]})
    assert (answer.status, answer.refusal, answer.body["needs"]) == (401, "second_factor_required", ["otp"])
    answer = plant.post("rita", f"{path}/certificate", {"otp": plant.otp("rita")})
    assert (answer.status, answer.refusal) == (422, "key_malformed")
    answer = plant.post("rita", f"{path}/connect-code", {"code": "123456"})
    assert (answer.status, answer.refusal) == (422, "bad_input")


def test_a_connect_code(plant: Plant, things: Things) -> None:
    answer = plant.post("rita", f"/grants/{things.live.pk}/connect-code", {"otp": plant.otp("rita")})
    assert answer.status == 201
    code, now = answer.body["code"], plant.clock.now
    assert answer.body["expires_at"] == (now + timedelta(seconds=60)).isoformat().replace("+00:00", "Z")
    assert connect_codes.redeem("rita", "hist-01", code, "192.0.2.7", now).grant == things.live


def test_of_a_grant_that_is_over_there_is_neither(plant: Plant, things: Things) -> None:
    for way, body in (("connect-code", {}), ("certificate", {"public_key": new_key()[1]})):
        answer = plant.post("rita", f"/grants/{things.ended.pk}/{way}", body | {"otp": plant.otp("rita")})
        assert (answer.status, answer.refusal) == (403, "grant_ended")
