"""Keys that people register, and bearer tokens: strong ones only, one person each, secrets shown once."""

from __future__ import annotations

import base64
import subprocess
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from breakglass import queries
from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import ApiToken, Notice, SshKey
from breakglass.services import keys, people, tokens
from tests.services.scene import Scene, last, refused, tags, trail_text
from tests.support import cast as house
from tests.support.needs import requires
from tests.support.sshd import make_key


def _line(*parts: bytes) -> str:
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"{parts[0].decode()} {base64.b64encode(blob).decode()}"


ED25519_SK = b"sk-ssh-ed25519@openssh.com"
ECDSA_SK = b"sk-ecdsa-sha2-nistp256@openssh.com"
SECURITY_KEY = _line(ED25519_SK, bytes(range(32)), b"ssh:")
POINT = ec.generate_private_key(ec.SECP256R1()).public_key()
POINT_BYTES = POINT.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
ECDSA_SECURITY_KEY = _line(ECDSA_SK, b"nistp256", POINT_BYTES, b"ssh:")


def _rsa(bits: int) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _register(scene: Scene, line: str, who: str = "rita", label: str = "laptop") -> SshKey:
    scene.time.forward(seconds=30)
    person = getattr(scene.cast, who)
    return keys.register(person, line, label, scene.code(person), scene.now)


@requires("ssh-keygen")
@pytest.mark.parametrize(("kind", "bits"), [("ed25519", None), ("rsa", 3072), ("ecdsa", 256), ("ecdsa", 521)])
def test_a_strong_key_is_taken_with_the_fingerprint_that_ssh_keygen_shows(
    scene: Scene, tmp_path: Path, kind: str, bits: int | None
) -> None:
    line = make_key(tmp_path / "key", kind, bits)
    key = _register(scene, line)
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", tmp_path / "key.pub"], capture_output=True, text=True, check=True
    ).stdout
    assert key.fingerprint == shown.split()[1]
    assert str(key.bits) == shown.split()[0]
    assert queries.person_with_key("rita", bytes(key.blob)) == (scene.cast.rita, key)


def test_rsa_of_2048_bits_is_refused_with_the_reason(scene: Scene) -> None:
    with refused(Code.KEY_WEAK) as said:
        _register(scene, _rsa(2048))
    assert "2048" in said[0].message
    assert "3072" in said[0].message
    assert last("ssh_key:refused").data["refusal"] == "key_weak"
    assert not SshKey.objects.exists()


def test_dsa_is_refused_with_the_reason(scene: Scene) -> None:
    key = dsa.generate_private_key(2048).public_key()
    numbers = key.public_numbers()
    p, q = numbers.parameter_numbers.p, numbers.parameter_numbers.q
    with refused(Code.KEY_TYPE) as said:
        _register(scene, _line(b"ssh-dss", _mpint(p), _mpint(q)))
    assert "DSA" in said[0].message


@requires("ssh-keygen")
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_certificate_is_no_key(scene: Scene, tmp_path: Path, kind: str) -> None:
    make_key(tmp_path / "ca")
    make_key(tmp_path / "key", kind, 3072 if kind == "rsa" else None)
    subprocess.run(
        ["ssh-keygen", "-q", "-s", tmp_path / "ca", "-I", "id", "-n", "rita", tmp_path / "key.pub"],
        check=True,
    )
    with refused(Code.KEY_TYPE):
        _register(scene, (tmp_path / "key-cert.pub").read_text())


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("", Code.KEY_MALFORMED),
        ("ssh-ed25519", Code.KEY_MALFORMED),
        ("ssh-ed25519 AAAA", Code.KEY_MALFORMED),
        ("ssh-ed25519 not/base64!", Code.KEY_MALFORMED),
        ("ssh-ed25519 " + "A" * 20_000, Code.KEY_MALFORMED),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", Code.KEY_MALFORMED),
        ("sk-ssh-ed25519@openssh.com AAAA", Code.KEY_MALFORMED),
        (_line(ED25519_SK, bytes(range(32)), b"https://example.org"), Code.KEY_MALFORMED),
        (_line(ED25519_SK, bytes(range(31)), b"ssh:"), Code.KEY_MALFORMED),
        (_line(ED25519_SK, bytes(range(32)), b"ssh:", b"more"), Code.KEY_MALFORMED),
        (_line(ECDSA_SK, b"nistp256", b"\x04" + bytes(64), b"ssh:"), Code.KEY_MALFORMED),
        (_line(ECDSA_SK, b"nistp384", POINT_BYTES, b"ssh:"), Code.KEY_MALFORMED),
        (SECURITY_KEY.replace("sk-ssh-ed25519@", "sk-ecdsa-sha2-nistp256@"), Code.KEY_MALFORMED),
        ("ssh-quantum AAAA", Code.KEY_TYPE),
        ('command="rm" ssh-ed25519 AAAA', Code.KEY_MALFORMED),
        ("\x1b[31mred AAAA", Code.KEY_TYPE),
    ],
)
def test_what_is_no_key_is_refused_and_never_echoed_raw(scene: Scene, line: str, code: Code) -> None:
    with refused(code) as said:
        _register(scene, line)
    assert "\x1b" not in str(said[0])
    assert "\x1b" not in trail_text()


@pytest.mark.parametrize("line", [SECURITY_KEY, ECDSA_SECURITY_KEY])
def test_a_security_key_is_taken_as_what_it_is(scene: Scene, line: str) -> None:
    key = _register(scene, line)
    assert (key.type, key.verify_required, key.counter) == (line.split(maxsplit=1)[0], False, None)


def test_a_security_key_may_be_one_that_asks_for_its_pin_and_no_other_key_may(scene: Scene) -> None:
    person = scene.cast.rita
    with refused(Code.BAD_INPUT):
        keys.register(
            person, house.new_key()[1], "", scene.code(person), scene.now, verify_required=True
        )  # burns no code
    key = keys.register(person, SECURITY_KEY, "", scene.code(person), scene.now, verify_required=True)
    assert key.verify_required
    assert last("ssh_key:registered").data["verify_required"] is True


def test_a_counter_goes_on_or_the_alarm_goes_off(scene: Scene) -> None:
    key = _register(scene, SECURITY_KEY)
    for counter in (4, 5, 9):
        keys.count(key, counter, scene.now)
    for counter in (9, 5, 0):
        with refused(Code.KEY_CLONED):
            keys.count(key, counter, scene.now)
    key.refresh_from_db()
    assert key.counter == 9
    assert last("ssh_key:cloned").data["fingerprint"] == key.fingerprint
    told = {notice.person.username for notice in Notice.objects.filter(topic=f"key:{key.pk}")}
    assert told == {"rita", "admin"}


def test_a_key_that_does_not_count_is_no_clone_until_it_counts(scene: Scene) -> None:
    key = _register(scene, SECURITY_KEY)
    for _ in range(3):
        keys.count(key, 0, scene.now)
    keys.count(key, 1, scene.now)
    with refused(Code.KEY_CLONED):
        keys.count(key, 0, scene.now)


def test_two_lines_are_not_one_key(scene: Scene) -> None:
    line = house.new_key()[1]
    with refused(Code.KEY_MALFORMED):
        _register(scene, f"{line}\n{house.new_key()[1]}")


def test_the_type_must_be_the_keys_own(scene: Scene) -> None:
    line = house.new_key()[1]
    with refused(Code.KEY_MALFORMED):
        _register(scene, line.replace("ssh-ed25519 ", "ssh-rsa "))


def test_a_key_belongs_to_one_person_for_good(scene: Scene) -> None:
    line = house.new_key()[1]
    key = _register(scene, line)
    with refused(Code.KEY_IN_USE):
        _register(scene, line, "rob")
    keys.remove(scene.cast.rita, key.pk, scene.now)
    with refused(Code.KEY_IN_USE):
        _register(scene, line, "rob")


def test_a_removed_key_opens_nothing(scene: Scene) -> None:
    key = _register(scene, house.new_key()[1])
    keys.remove(scene.cast.rita, key.pk, scene.now)
    assert queries.person_with_key("rita", bytes(key.blob)) is None
    with refused(Code.NOT_FOUND):
        keys.remove(scene.cast.rita, key.pk, scene.now)
    assert tags(key) == ["ssh_key:registered", "ssh_key:removed"]


def test_nobody_removes_anothers_key_or_poses_with_it(scene: Scene) -> None:
    key = _register(scene, house.new_key()[1])
    with refused(Code.NOT_FOUND):
        keys.remove(scene.cast.rob, key.pk, scene.now)
    assert queries.person_with_key("rob", bytes(key.blob)) is None
    people.disable(scene.cast.rita, by=None, now=scene.now)
    assert queries.person_with_key("rita", bytes(key.blob)) is None


def test_registering_takes_a_fresh_code_and_a_poor_key_doesnt_burn_one(scene: Scene) -> None:
    line = house.new_key()[1]
    with refused(Code.SECOND_FACTOR_WRONG):
        keys.register(scene.cast.rita, line, "", scene.cast.wrong_code("rita", scene.now), scene.now)
    code = scene.code(scene.cast.rita)
    with refused(Code.KEY_TYPE):
        keys.register(scene.cast.rita, "nonsense AAAA=", "", code, scene.now)
    keys.register(scene.cast.rita, f"{line} rita@laptop", "", code, scene.now)
    assert SshKey.objects.get().label == "rita@laptop"


# --- tokens


def test_a_token_is_shown_once_and_kept_as_a_hash(scene: Scene) -> None:
    token, secret = tokens.issue(scene.cast.rita, "ci", scene.code(scene.cast.rita), scene.now)
    assert tokens.authenticate(secret, scene.now) == scene.cast.rita
    row = ApiToken.objects.filter(pk=token.pk).values().get()
    assert secret not in str(row)
    assert secret not in trail_text()
    assert secret not in repr(token)


def test_a_token_takes_a_fresh_code(scene: Scene) -> None:
    with refused(Code.SECOND_FACTOR_WRONG):
        tokens.issue(scene.cast.rita, "ci", scene.cast.wrong_code("rita", scene.now), scene.now)
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("secret", ["", "bgt_", "bgt_guess", "\x00", "x" * 10_000])
def test_an_unknown_token_is_nobody(scene: Scene, secret: str) -> None:
    assert tokens.authenticate(secret, scene.now) is None


def test_a_token_ends_by_revocation_by_time_and_with_its_person(scene: Scene) -> None:
    person = scene.cast.rita
    token, secret = tokens.issue_known(person, "ci", scene.now)
    assert tokens.authenticate(secret, scene.now + timedelta(days=90) - timedelta(seconds=1)) == person
    assert tokens.authenticate(secret, scene.now + timedelta(days=90)) is None
    people.disable(person, by=None, now=scene.now)
    assert tokens.authenticate(secret, scene.now) is None
    people.enable(person, by=None, now=scene.now)
    with refused(Code.NOT_FOUND):
        tokens.revoke(scene.cast.rob, token.pk, scene.now)
    with refused(Code.NOT_FOUND):
        tokens.revoke(person, uuid4(), scene.now)
    assert tokens.authenticate(secret, scene.now) == person
    tokens.revoke(person, token.pk, scene.now)
    assert tokens.authenticate(secret, scene.now) is None


def test_use_of_a_token_is_noted_once_a_minute(scene: Scene) -> None:
    token, secret = tokens.issue_known(scene.cast.rita, "ci", scene.now)
    first = scene.now
    tokens.authenticate(secret, first)
    tokens.authenticate(secret, first + timedelta(seconds=59))
    token.refresh_from_db()
    assert token.last_used_at == first
    tokens.authenticate(secret, first + timedelta(seconds=61))
    token.refresh_from_db()
    assert token.last_used_at == first + timedelta(seconds=61)


def _mpint(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big")
