"""Certificates that the broker signs for people: what stock OpenSSH reads in them, and who is refused one."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import Grant, PersonCertificate
from breakglass.services import certificates, credentials, grants, keys
from breakglass.services.certificates import Issued
from tests.services.scene import ARMED, Scene, last, refused, tags
from tests.services.test_keys_and_tokens import ECDSA_SECURITY_KEY, SECURITY_KEY, _rsa
from tests.support import cast as house
from tests.support.needs import requires
from tests.support.sshd import make_key


def issued(scene: Scene, grant: Grant, line: str = "", **changes: str) -> Issued:
    scene.time.forward(seconds=30)
    person = scene.cast.rita
    return certificates.issue(
        person, grant.pk, line or house.new_key()[1], scene.code(person), scene.now, **changes
    )


def shown(line: str, directory: Path) -> str:
    """What `ssh-keygen -L` says of it."""
    path = directory / "it-cert.pub"
    path.write_text(line + "\n")
    done = subprocess.run(["ssh-keygen", "-L", "-f", path], capture_output=True, text=True, check=True)
    return done.stdout


@requires("ssh-keygen")
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa", "sk-ed25519", "sk-ecdsa"])
def test_openssh_reads_in_it_what_was_promised(scene: Scene, grant: Grant, tmp_path: Path, kind: str) -> None:
    sk = {"sk-ed25519": SECURITY_KEY, "sk-ecdsa": ECDSA_SECURITY_KEY}
    line = sk.get(kind) or make_key(tmp_path / "key", kind, 3072 if kind == "rsa" else None)
    made = issued(scene, grant, line, source_address="192.0.2.7")
    assert made.row.key_fingerprint == keys.parse_public_key(line).fingerprint
    text = shown(made.line, tmp_path)
    fingerprint = keys.fingerprint(certificates.ca_blob())
    assert "user certificate" in text
    assert made.row.key_fingerprint in text
    assert f"Signing CA: ED25519 {fingerprint}" in text
    assert f"Serial: {made.row.serial}" in text
    assert f'Key ID: "breakglass rita grant {grant.pk}"' in text
    assert "source-address 192.0.2.7/32" in text
    principals = text.partition("Principals:")[2].partition("Critical")[0].split()
    assert principals == ["rita"]


def test_it_lives_from_a_minute_ago_to_the_end_of_the_grant(scene: Scene, grant: Grant) -> None:
    row = issued(scene, grant).row
    assert row.valid_from == scene.now - timedelta(seconds=60)
    assert grant.ends_at is not None
    assert row.valid_until <= grant.ends_at < row.valid_until + timedelta(seconds=1)


def test_of_an_armed_grant_until_its_latest_end(scene: Scene) -> None:
    scene.playbook(**ARMED)
    grant = scene.granted(minutes=60)
    assert grant.use_by is not None
    assert issued(scene, grant).row.valid_until == grant.use_by + timedelta(minutes=60)


def test_the_ca_for_people_is_not_the_one_that_assets_trust() -> None:
    assert keys.parse_public_key(credentials.user_ca_public_key()).blob != certificates.ca_blob()


def test_it_takes_a_fresh_code_which_counts_once(scene: Scene, grant: Grant) -> None:
    scene.time.forward(seconds=30)
    rita, line, code = scene.cast.rita, house.new_key()[1], scene.code(scene.cast.rita)
    for wrong in ("", scene.cast.wrong_code("rita", scene.now)):
        with refused(Code.SECOND_FACTOR_WRONG if wrong else Code.SECOND_FACTOR_REQUIRED):
            certificates.issue(rita, grant.pk, line, wrong, scene.now)
    certificates.issue(rita, grant.pk, line, code, scene.now)
    with refused(Code.SECOND_FACTOR_USED):
        certificates.issue(rita, grant.pk, line, code, scene.now)
    assert last("certificate:refused").data["refusal"] == "second_factor_used"
    assert PersonCertificate.objects.count() == 1


def test_a_poor_key_or_address_is_refused_before_the_code_is_used_up(scene: Scene, grant: Grant) -> None:
    scene.time.forward(seconds=30)
    rita, code = scene.cast.rita, scene.code(scene.cast.rita)
    with refused(Code.KEY_WEAK):
        certificates.issue(rita, grant.pk, _rsa(2048), code, scene.now)
    with refused(Code.KEY_MALFORMED):
        certificates.issue(rita, grant.pk, "nonsense", code, scene.now)
    with refused(Code.BAD_INPUT):
        certificates.issue(rita, grant.pk, house.new_key()[1], code, scene.now, source_address="here")
    certificates.issue(rita, grant.pk, house.new_key()[1], code, scene.now)


def test_only_the_holder_of_a_live_grant_gets_one(scene: Scene, grant: Grant) -> None:
    line = house.new_key()[1]
    with refused(Code.GRANT_FOREIGN):
        certificates.issue(scene.cast.rob, grant.pk, line, scene.code(scene.cast.rob), scene.now)
    grants.release(grant.pk, scene.cast.rita, scene.now)
    with refused(Code.GRANT_ENDED):
        issued(scene, grant, line)
    assert not PersonCertificate.objects.exists()


def test_a_key_of_somebody_else_or_a_removed_one_is_not_certified(scene: Scene, grant: Grant) -> None:
    line = house.new_key()[1]
    keys.register_known(scene.cast.rob, line, "", scene.now)
    with refused(Code.KEY_IN_USE):
        issued(scene, grant, line)
    own = house.new_key()[1]
    row = keys.register_known(scene.cast.rita, own, "", scene.now)
    issued(scene, grant, own)
    keys.remove(scene.cast.rita, row.pk, scene.now)
    with refused(Code.KEY_IN_USE):
        issued(scene, grant, own)


def test_the_books_know_what_is_against_it(scene: Scene, grant: Grant) -> None:
    own = house.new_key()[1]
    key = keys.register_known(scene.cast.rita, own, "", scene.now)
    row = issued(scene, grant, own).row
    find = certificates.find
    assert find(row.serial, "rita", row.key_fingerprint) == row
    assert find(row.serial, "rob", row.key_fingerprint) is None
    assert find(row.serial, "rita", "SHA256:another") is None
    assert find(row.serial + 1, "rita", row.key_fingerprint) is None
    assert certificates.objection(row, scene.now) == ""
    assert certificates.objection(row, row.valid_until) != ""
    keys.remove(scene.cast.rita, key.pk, scene.now)
    assert "removed" in certificates.objection(row, scene.now)


def test_its_person_revokes_it_and_nobody_else(scene: Scene, grant: Grant) -> None:
    row = issued(scene, grant).row
    with refused(Code.NOT_FOUND):
        certificates.revoke(scene.cast.rob, row.serial, scene.now)
    assert certificates.live_under(grant, scene.now) == [row]
    certificates.revoke(scene.cast.rita, row.serial, scene.now)
    with refused(Code.NOT_FOUND):
        certificates.revoke(scene.cast.rita, row.serial, scene.now)
    row.refresh_from_db()
    assert "revoked" in certificates.objection(row, scene.now)
    assert certificates.live_under(grant, scene.now) == []
    assert tags(grant)[-2:] == ["certificate:issued", "certificate:revoked"]


def test_a_key_that_must_ask_for_its_pin_must_do_so_under_a_certificate_too(
    scene: Scene, grant: Grant, tmp_path: Path
) -> None:
    scene.time.forward(seconds=30)
    rita = scene.cast.rita
    keys.register(rita, SECURITY_KEY, "", scene.code(rita), scene.now, verify_required=True)
    assert b"verify-required" in house.blob_of(issued(scene, grant, SECURITY_KEY).line)
    assert b"verify-required" not in house.blob_of(issued(scene, grant).line)
