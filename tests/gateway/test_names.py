"""Names that could mean two things are refused before anything is signed or looked up; grants hold to machines, not to names."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from breakglass import clock
from breakglass.domain.refusals import RefusalCode, Refused
from breakglass.models import Asset, AssetLogin, Grant, Person
from breakglass.services import assets, people
from sessions.gateway.hostkey import public_line
from sessions.gateway.names import ASSET, LOGIN, PERSON, parse
from sessions.models import SSHSession
from tests.gateway.house import PASSWORD, House
from tests.gateway.test_jump import jump, run

PLAIN = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
UNFIT = ["", " ", "a b", " rita", "rita ", "rita\n", "rita\0", "ri\tta", "rita,x", "rita:x", "rita@x", "rita%41", "rita+x",
         "Rita", "r\u0456ta", "rita\u200b", "rit\u0430", "\u02b3ita", "rita/..", "-rita", "r" * 64, "rita\r", "ri\x1bta"]  # fmt: skip


@settings(deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.text(max_size=80), st.text(alphabet="ra1+@.:,%-_ \0\n\u0456", max_size=20)))
@example("rita+root@hist-01")
@example("rita+hist-01\n")
@example("rita+hist-01@hist-02")
def test_a_name_is_read_back_as_it_was_written_or_refused(name: str) -> None:
    try:
        address = parse(name)
    except Refused as refused:
        assert refused.refusal.code is RefusalCode.BAD_NAME
        return
    place = f"{address.login}@{address.asset}" if address.login else address.asset
    assert name == address.person + (f"+{place}" if place else "")
    assert set(name) <= PLAIN | set("+@")
    assert PERSON.fullmatch(address.person)
    assert address.asset is None or ASSET.fullmatch(address.asset)
    assert address.login is None or LOGIN.fullmatch(address.login)


@pytest.mark.parametrize("name", UNFIT)
def test_the_gateway_reads_no_unfit_name(name: str) -> None:
    for whole in (name, f"{name}+hist-01", f"rita+{name}", f"rita+root@{name}", f"rita+{name}@hist-01"):
        if _fits(whole):
            assert parse(whole)
            continue
        with pytest.raises(Refused):
            parse(whole)


def _fits(whole: str) -> bool:
    """By the letter: PERSON, PERSON+ASSET or PERSON+LOGIN@ASSET."""
    person, plus, rest = whole.partition("+")
    login, at, asset = rest.rpartition("@")
    return bool(
        PERSON.fullmatch(person)
        and (not plus or (ASSET.fullmatch(asset) and (not at or LOGIN.fullmatch(login))))
    )


@pytest.mark.django_db
@pytest.mark.parametrize("name", UNFIT)
def test_nobody_and_nothing_is_registered_under_an_unfit_name(name: str) -> None:
    """Pages, API and commands all come through these two."""
    now = clock.now()
    with pytest.raises(Refused):
        people.create(
            username=name,
            full_name="X",
            email="x@example.org",
            password=PASSWORD,
            groups=[],
            by=None,
            now=now,
        )
    with pytest.raises(Refused):
        assets.register(_form(name), by=None, now=now)
    if not LOGIN.fullmatch(name):
        with pytest.raises(Refused):
            assets.register(_form("fit", login=name), by=None, now=now)
    assert not Person.objects.exists() and not Asset.objects.exists() and not AssetLogin.objects.exists()


def _form(name: str, *, login: str = "root", port: int = 22, key: str = "") -> assets.AssetForm:
    key = key or "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB1VhL2F3GqNnIqYgnXzZq0BPxVdyxzIvVTWKMgTjtMa"
    return assets.AssetForm(
        name=name, title="X", kind="historian", host="127.0.0.1", port=port, host_keys=[key],
        logins=[assets.LoginForm(login, "certificate")], owner="OT",
    )  # fmt: skip


class TestMachines:
    @pytest.fixture
    def grant(self, house: House) -> Grant:
        return house.grant()

    @pytest.fixture
    def renamed(self, house: House, grant: Grant) -> Iterator[House]:
        """What was hist-01 is hist-00 now, and another machine is registered as hist-01."""
        Asset.objects.filter(pk=house.asset.pk).update(name="hist-00")
        form = _form("hist-01", login=house.sshd.login, port=house.sshd.port, key=house.sshd.host_key)
        assets.register(form, by=None, now=clock.now())
        yield house

    def test_a_machine_that_took_over_a_name_inherits_no_grant(self, renamed: House) -> None:
        done = renamed.run("echo in")
        assert done.returncode == 255 and b"[no_grant]" in done.stderr, done.stderr
        done = run(renamed, jump(renamed, "echo in"))
        assert done.returncode == 255 and b"[no_grant]" in done.stderr, done.stderr
        assert SSHSession.objects.count() == 0

    def test_the_machine_keeps_its_grant_under_its_new_name(self, renamed: House) -> None:
        assert renamed.run("echo in", user="rita+hist-00").stdout == b"in\n"
        assert renamed.ended(30).asset_id == renamed.asset.pk

    def test_a_name_taken_over_amid_a_session_lets_no_new_one_in(self, house: House, grant: Grant) -> None:
        client: subprocess.Popen[bytes] = house.popen("echo up; cat")
        assert client.stdout is not None and client.stdout.readline() == b"up\n"
        Asset.objects.filter(pk=house.asset.pk).update(name="hist-00")
        form = _form("hist-01", login=house.sshd.login, port=house.sshd.port, key=house.sshd.host_key)
        assets.register(form, by=None, now=clock.now())
        done = house.run("echo in")
        assert done.returncode == 255 and b"[no_grant]" in done.stderr, done.stderr
        assert SSHSession.objects.get().asset_id == house.asset.pk
        client.kill()
        client.wait()


def test_each_asset_has_a_host_key_of_its_own_and_names_make_no_two_alike() -> None:
    names = ["", "hist-01", "hist-01.", "hist-0", "1", "host-key", "hist-01:"]
    assert len({public_line(name) for name in names}) == len(names)
