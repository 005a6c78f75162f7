"""The way into an asset: certificates that OpenSSH reads as meant, secrets that nobody sees (E11, E13)."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import Asset, AssetLogin, AuditEvent, Grant, Notice
from breakglass.services import assets, credentials, grants, vault
from breakglass.services.assets import LoginForm
from tests.services.scene import ARMED, Scene, last, refused, tags, trail_text
from tests.support import cast as house
from tests.support.needs import requires

PASSWORD = "Vault-Only-77!"


def _credential(scene: Scene, grant: Grant, login: str = "operator") -> credentials.UpstreamCredential:
    assert grant.ends_at is not None
    return credentials.for_upstream(grant.pk, scene.asset.pk, login, grant.ends_at, scene.now)


def _read(certificate: str, folder: Path) -> str:
    path = folder / "id-cert.pub"
    path.write_text(certificate + "\n")
    shown = subprocess.run(
        ["ssh-keygen", "-L", "-f", path], capture_output=True, text=True, check=True, env={"TZ": "UTC"}
    )
    return shown.stdout


def _validity(shown: str) -> tuple[datetime, datetime]:
    found = re.search(r"Valid: from (\S+) to (\S+)", shown)
    assert found
    begin, end = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in found.groups())
    return begin, end


@requires("ssh-keygen")
def test_openssh_reads_the_certificate_as_it_is_meant(scene: Scene, grant: Grant, tmp_path: Path) -> None:
    credential = _credential(scene, grant)
    assert credential.certificate
    shown = _read(credential.certificate, tmp_path)
    assert "user certificate" in shown
    principals = shown.partition("Principals:")[2].partition("Critical Options:")[0].split()
    assert principals == ["operator"]
    begin, end = _validity(shown)
    assert grant.ends_at is not None
    assert end <= grant.ends_at
    assert end == grant.ends_at.replace(microsecond=0)
    assert scene.now - timedelta(minutes=2) <= begin <= scene.now
    assert f"rita grant {grant.pk}" in shown
    assert "permit-pty" in shown
    assert "permit-agent-forwarding" not in shown
    assert "permit-X11-forwarding" not in shown


@requires("ssh-keygen")
def test_the_certificate_is_signed_by_the_key_that_assets_are_told_to_trust(
    scene: Scene, grant: Grant, tmp_path: Path
) -> None:
    credential = _credential(scene, grant)
    (tmp_path / "ca.pub").write_text(credentials.user_ca_public_key() + "\n")
    printed = subprocess.run(
        ["ssh-keygen", "-l", "-f", tmp_path / "ca.pub"], capture_output=True, text=True, check=True
    )
    assert credential.certificate
    assert printed.stdout.split()[1] in _read(credential.certificate, tmp_path)


@requires("ssh-keygen")
def test_a_certificate_never_outlives_its_grant_whatever_is_asked_for(
    scene: Scene, grant: Grant, tmp_path: Path
) -> None:
    asked = scene.now + timedelta(days=300)
    credential = credentials.for_upstream(grant.pk, scene.asset.pk, "operator", asked, scene.now)
    assert credential.certificate
    assert grant.ends_at is not None
    assert _validity(_read(credential.certificate, tmp_path))[1] <= grant.ends_at


def test_each_session_has_a_key_of_its_own(scene: Scene, grant: Grant) -> None:
    first, second = _credential(scene, grant), _credential(scene, grant)
    assert first.private_key != second.private_key
    assert first.certificate != second.certificate


def test_the_pinned_host_keys_come_along(scene: Scene, grant: Grant) -> None:
    pinned = scene.asset.host_keys.get()
    assert _credential(scene, grant).host_keys == ((pinned.type, bytes(pinned.blob)),)


@pytest.mark.parametrize("method", ["password", "key"])
def test_a_vaulted_secret_opens_for_the_gateway_and_is_seen_nowhere_else(scene: Scene, method: str) -> None:
    secret = PASSWORD if method == "password" else house.new_key()[0]
    assets.store_login(scene.asset, LoginForm("operator", method, secret), by=scene.cast.admin, now=scene.now)
    grant = scene.granted()
    credential = _credential(scene, grant)
    assert (credential.password if method == "password" else credential.private_key) == secret
    seen = [
        repr(credential),
        str(credential),
        trail_text(),
        str(list(Notice.objects.values())),
        str(AssetLogin.objects.values().get()),
    ]
    for text in seen:
        assert secret not in text
        assert secret.strip().splitlines()[-1] not in text
    assert secret.encode() not in bytes(AssetLogin.objects.get().secret)


def test_the_private_part_of_a_certificate_is_seen_nowhere(scene: Scene, grant: Grant) -> None:
    credential = _credential(scene, grant)
    assert credential.private_key
    for line in credential.private_key.splitlines()[1:-1]:
        assert line not in repr(credential) + trail_text()


def test_each_use_is_in_the_trail(scene: Scene, grant: Grant) -> None:
    _credential(scene, grant)
    row = last("credential:used")
    assert row.actor_name == "rita"
    assert row.subject == f"asset:{scene.asset.pk}"
    assert row.data | {"serial": ""} == {
        "login": "operator",
        "method": "certificate",
        "grant": str(grant.pk),
        "serial": "",
    }


# --- for a running grant only, and what it is about only


def test_an_ended_grant_opens_no_vault(scene: Scene, grant: Grant) -> None:
    assert grant.ends_at is not None
    for now in (grant.ends_at, grant.ends_at + timedelta(hours=1)):
        with refused(Code.GRANT_ENDED):
            credentials.for_upstream(grant.pk, scene.asset.pk, "operator", grant.ends_at, now)
    grants.release(grant.pk, scene.cast.rita, scene.now)
    with refused(Code.GRANT_ENDED):
        _credential(scene, grant)
    assert "credential:used" not in tags()


def test_an_armed_grant_opens_no_vault(scene: Scene) -> None:
    scene.playbook(**ARMED)
    grant = scene.granted()
    with refused(Code.GRANT_ENDED):
        credentials.for_upstream(
            grant.pk, scene.asset.pk, "operator", scene.now + timedelta(hours=1), scene.now
        )


def test_another_asset_or_login_than_the_grants_opens_no_vault(scene: Scene, grant: Grant) -> None:
    other = house.machine(scene.now, "hmi-02", kind="hmi")
    assets.store_login(scene.asset, LoginForm("root", "password", PASSWORD), by=None, now=scene.now)
    assert grant.ends_at is not None
    for asset_id in (other.pk, uuid4()):
        with refused(Code.NO_GRANT):
            credentials.for_upstream(grant.pk, asset_id, "operator", grant.ends_at, scene.now)
    with refused(Code.LOGIN_NOT_IN_GRANT):
        _credential(scene, grant, "root")


def test_a_login_whose_credential_is_gone_is_refused(scene: Scene, grant: Grant) -> None:
    AssetLogin.objects.all().delete()
    with refused(Code.UPSTREAM_REFUSED) as said:
        _credential(scene, grant)
    assert "hist-01" in said[0].message


def test_a_secret_that_was_moved_or_damaged_doesnt_open_and_counts_as_no_use(scene: Scene) -> None:
    """A stored secret is bound to its asset and login: copied to another row it is worth nothing."""
    assets.store_login(scene.asset, LoginForm("operator", "password", PASSWORD), by=None, now=scene.now)
    grant = scene.granted()
    other = house.machine(scene.now, "hist-02", logins=[LoginForm("operator", "password", "another secret")])
    stolen = AssetLogin.objects.get(asset=other).secret
    for secret in (stolen, b"", b"\x01short", b"\x02" + bytes(stolen)[1:]):
        AssetLogin.objects.filter(asset=scene.asset).update(secret=secret)
        with refused(Code.UPSTREAM_REFUSED):
            _credential(scene, grant)
    assert not AuditEvent.objects.filter(tag__endswith="credential:used").exists()


# --- the vault


def test_a_secret_opens_for_its_purpose_only() -> None:
    sealed = vault.encrypt(b"secret", "totp")
    assert vault.decrypt(sealed, "totp") == b"secret"
    with pytest.raises(vault.VaultError):
        vault.decrypt(sealed, "recordings")
    assert vault.derive("totp") != vault.derive("recordings")


def test_two_encryptions_of_one_secret_look_different() -> None:
    assert vault.encrypt(b"secret", "totp") != vault.encrypt(b"secret", "totp")


@pytest.mark.parametrize("position", [0, 1, 12, 13, -17, -1])
def test_a_changed_byte_is_noticed_and_the_message_holds_no_secret(position: int) -> None:
    sealed = bytearray(vault.encrypt(PASSWORD.encode(), "totp"))
    sealed[position] ^= 1
    with pytest.raises(vault.VaultError) as caught:
        vault.decrypt(bytes(sealed), "totp")
    assert PASSWORD not in str(caught.value)


def test_no_row_of_the_house_holds_a_secret_in_the_clear(scene: Scene) -> None:
    assets.store_login(scene.asset, LoginForm("operator", "password", PASSWORD), by=None, now=scene.now)
    assert PASSWORD not in str(list(Asset.objects.values())) + str(list(AssetLogin.objects.values()))
    assert last("credential:stored").data == {"login": "operator", "method": "password"}
