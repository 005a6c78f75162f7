"""Assets that people have: each gives its shells, commands and files through the gateway, and each is left at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from breakglass import clock
from breakglass.models import Asset, AuditEvent, Grant
from breakglass.services import approvals, assets, credentials, playbooks, requests
from tests.gateway import clients
from tests.gateway import house as building
from tests.gateway.house import House, spec
from tests.support import asset_kinds
from tests.support.asset_kinds import Running
from tests.support.needs import requires

KINDS: dict[str, Callable[[Path, str], Running]] = {
    "openssh": asset_kinds.openssh,
    "dropbear": asset_kinds.dropbear,
    "asyncssh": asset_kinds.asyncssh_server,
    "paramiko": asset_kinds.paramiko_server,
    "old": asset_kinds.old_sshd,
}
pytestmark = requires("dropbear", "dropbearkey", "nss_wrapper")


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest, shared_house: House) -> Iterator[str]:
    """Each kind of asset in turn, registered, granted and running."""
    name = str(request.param)
    running = KINDS[name](shared_house.dir / name, credentials.user_ca_public_key())
    try:
        register(shared_house, name, running, legacy=name == "old")
        yield name
    finally:
        running.stop()


@pytest.fixture(scope="module")
def house(shared_house: House) -> House:
    return shared_house


def register(house: House, name: str, running: Running, *, legacy: bool = False) -> Grant:
    """The asset as an administrator would enter it, and a grant for it."""
    now = clock.now()
    assets.register(
        assets.AssetForm(
            name=name, title=name, kind="historian", host="127.0.0.1", port=running.port, owner="OT data services",
            host_keys=[running.host_key], logins=[running.login], legacy_algorithms=legacy,
        ),
        by=None, now=now,
    )  # fmt: skip
    channels = ["shell", "exec", "sftp"]
    slug = f"{name}-test"
    playbooks.publish([spec(slug=slug, assets=[name], logins=[running.login.name], channels=channels)], now)
    return grant(house, name)


def grant(house: House, name: str) -> Grant:
    now = clock.now()
    form = requests.SubmitForm(f"{name}-test", house.incident.pk, (name,), "the tests want in", minutes=30)
    request = requests.submit(house.rita.person, form, now)
    approver = building.human(
        house.dir, f"approver-{name}", ["ot-leads"]
    )  # a code counts for one request only
    approvals.approve(request.pk, approver.person, approver.code(), "go on", now)
    return Grant.objects.get(request=request)


def test_a_command_has_its_status_and_its_streams_apart(house: House, kind: str) -> None:
    done = house.run("cat; echo bad >&2; exit 7", user=f"rita+{kind}", stdin=b"\x00\xffin" * 1000)
    assert (done.stdout, done.returncode) == (b"\x00\xffin" * 1000, 7), done.stderr
    assert b"bad\n" in done.stderr
    channel = house.ended(30).channels.get()
    assert (channel.exit_status, channel.bytes_out) == (7, 4000)


def test_a_shell_is_resized(house: House, kind: str) -> None:
    child = house.shell(user=f"rita+{kind}", rows=33, cols=111)
    child.expect("It is recorded")
    child.sendline("stty size; echo first-$((40+2))")
    child.expect("33 111")
    child.expect("first-42")
    child.setwinsize(40, 100)
    child.sendline(
        "while [ \"$(stty size)\" != '40 100' ]; do sleep 0.05; done; echo resized-$((40+2)); exit 5"
    )
    child.expect("resized-42", timeout=30)
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 5


@requires("sftp", "scp")
def test_files_come_and_go(house: House, kind: str) -> None:
    here = clients.some_file(house, f"{kind}-here")
    back = house.dir / f"{kind}-back"
    words = ["-P" if word == "-p" else word for word in house.ssh()[3:-3]]
    script = f"put {here} moved-by-test\nls -l moved-by-test\nget moved-by-test {back}\nrm moved-by-test\n"
    done = clients.run(
        house,
        "sftp",
        "-o",
        "BatchMode=no",
        *words,
        "-b",
        "-",
        f"rita+{kind}@127.0.0.1",
        stdin=script.encode(),
    )
    assert done.returncode == 0, done.stderr
    assert back.read_bytes() == here.read_bytes()


def test_the_end_of_the_grant_ends_it(house: House, kind: str) -> None:
    held = house.popen("echo up; exec sleep 30", user=f"rita+{kind}")
    assert held.stdout is not None and held.stdin is not None
    assert held.stdout.readline() == b"up\n"
    mine = house.session().grant
    house.ends_in(mine, 0.5)
    assert house.gateway is not None
    house.gateway._watchdog.look_again()
    assert b"the time of your grant is over" in held.communicate(timeout=30)[1]
    assert house.ended(30).end_reason == "expired"
    again = house.run("true", user=f"rita+{kind}")
    assert again.returncode == 255 and b"[grant_ended]" in again.stderr


# One that speaks only old algorithms ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def old(shared_house: House) -> Iterator[Asset]:
    """Such an asset, without the opt-in."""
    running = asset_kinds.old_sshd(shared_house.dir / "older", "")
    try:
        register(shared_house, "older", running)
        yield Asset.objects.get(name="older")
    finally:
        running.stop()


def test_old_algorithms_are_refused_and_the_refusal_says_which_and_who_helps(
    house: House, old: Asset
) -> None:
    done = house.run("true", user="rita+older")
    assert done.returncode == 255
    said = done.stderr.decode()
    assert "older speaks only old, weak algorithms" in said and "[old_algorithms]" in said
    for name in (
        "diffie-hellman-group14-sha1",
        "ssh-rsa",
        "aes128-cbc",
        "hmac-sha1",
        "An administrator can allow",
    ):
        assert name in said
    log = (house.dir / "older" / "log").read_text()
    assert "Accepted" not in log and "Failed" not in log
    refused = AuditEvent.objects.filter(tag="gateway:access:refused").latest("seq")
    assert refused.data["refusal"] == "old_algorithms"


def test_with_the_opt_in_they_are_used_and_said(house: House, old: Asset) -> None:
    Asset.objects.filter(pk=old.pk).update(legacy_algorithms=True)
    try:
        done = house.run("cat", user="rita+older", stdin=b"x" * 200_000)
        assert done.stdout == b"x" * 200_000, done.stderr
        assert b"risk   old, weak algorithms" in done.stderr and b"diffie-hellman-group14-sha1" in done.stderr
        live = AuditEvent.objects.filter(tag="gateway:session:live").latest("seq")
        assert set(live.data["old_algorithms"]) == {
            "diffie-hellman-group14-sha1", "ssh-rsa", "aes128-cbc", "hmac-sha1",
        }  # fmt: skip
    finally:
        Asset.objects.filter(pk=old.pk).update(legacy_algorithms=False)


def test_the_opt_in_changes_nothing_for_an_asset_that_speaks_better(house: House) -> None:
    house.grant(channels=["exec"])
    Asset.objects.filter(name="hist-01").update(legacy_algorithms=True)
    try:
        done = house.run("echo fine")
        assert done.stdout == b"fine\n" and b"risk" not in done.stderr
        live = AuditEvent.objects.filter(tag="gateway:session:live").latest("seq")
        assert "old_algorithms" not in live.data
    finally:
        Asset.objects.filter(name="hist-01").update(legacy_algorithms=False)


def test_another_host_key_is_no_old_algorithm(house: House, old: Asset) -> None:
    """The opt-in isn't offered where the pinned key isn't shown either: that is for the alarm, or for nobody."""
    before = list(old.host_keys.values_list("type", flat=True))
    old.host_keys.update(type="ssh-ed25519")
    try:
        done = house.run("true", user="rita+older")
        assert done.returncode == 255 and b"[old_algorithms]" not in done.stderr
    finally:
        old.host_keys.update(type=before[0])
