"""The one-time connect code: a way in from a machine without a key, once, for one grant."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
from datetime import timedelta

import asyncssh
import pexpect
import pytest

from breakglass import clock
from breakglass.models import ConnectCode, Grant
from breakglass.services import connect_codes
from sessions.gateway.hostkey import host_key
from sessions.models import SSHSession
from tests.gateway import house as building
from tests.gateway.house import House, eventually
from tests.gateway.stranger import Raw, failure
from tests.support.needs import requires

pytestmark = requires("ssh", "sshd")
Done = subprocess.CompletedProcess[bytes]


@pytest.fixture
def grant(house: House) -> Grant:
    return house.grant()


def fresh(house: House, grant: Grant) -> str:
    return connect_codes.issue(house.rita.person, grant.pk, house.rita.code(), clock.now()).code


def keyless(house: House, *command: str, user: str = "rita+hist-01", method: str = "password") -> list[str]:
    """Stock ssh on a machine that has no key at all."""
    return [
        "ssh", "-F", "none", "-p", str(house.port), "-o", "PubkeyAuthentication=no", "-o", "IdentityAgent=none",
        "-o", f"PreferredAuthentications={method}", "-o", "NumberOfPasswordPrompts=1",
        "-o", f"UserKnownHostsFile={house.dir}/known_hosts", "-o", "StrictHostKeyChecking=yes",
        "-l", user, "127.0.0.1", *(command or ("echo", "in")),
    ]  # fmt: skip


def run(house: House, code: str, words: list[str]) -> Done:
    return subprocess.run(
        words, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL, env=house.askpass(code)
    )


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
def test_it_is_the_password_where_there_is_no_key(house: House, grant: Grant, method: str) -> None:
    code = fresh(house, grant)
    done = run(house, code, keyless(house, method=method))
    assert done.stdout == b"in\n", done.stderr
    session = house.ended()
    row = ConnectCode.objects.get()
    assert (session.grant, session.person) == (grant, house.rita.person)
    assert session.factor == f"connect-code:{row.pk}"
    assert row.used_from == "127.0.0.1"
    done = run(house, code, keyless(house, method=method))
    assert done.returncode == 255 and b"connect_code_wrong" in done.stderr
    assert SSHSession.objects.count() == 1


def test_the_login_may_be_named(house: House, grant: Grant) -> None:
    user = f"rita+{house.sshd.login}@hist-01"
    assert run(house, fresh(house, grant), keyless(house, user=user)).stdout == b"in\n"


@requires("dbclient")
def test_dropbears_client_takes_it_too(house: House, grant: Grant) -> None:
    words = [shutil.which("dbclient") or "dbclient", "-y", "-y", "-p", str(house.port), "rita+hist-01@127.0.0.1",
             "echo", "in"]  # fmt: skip
    env = house.askpass() | {"DROPBEAR_PASSWORD": fresh(house, grant)}
    done = subprocess.run(
        words, capture_output=True, timeout=60, check=False, env=env, stdin=subprocess.DEVNULL
    )
    assert done.stdout == b"in\n", done.stderr


@requires("plink")
@pytest.mark.parametrize("way", ["-pw", "typed"])
def test_putty_takes_it_too(house: House, grant: Grant, way: str) -> None:
    code = fresh(house, grant)
    words = ["-noagent", "-P", str(house.port), "-hostkey", host_key().fingerprint, "-no-antispoof"]
    if way == "-pw":
        words += ["-batch", "-pw", code]
    child = pexpect.spawn("plink", [*words, "rita+hist-01@127.0.0.1", "echo in-$((40+2))"], timeout=60,
                          encoding="utf-8", env={**os.environ, "HOME": str(house.dir)})  # fmt: skip
    if way == "typed":
        child.expect("Connect code: ")
        child.sendline(code)
    child.expect("in-42")
    child.expect(pexpect.EOF)


def test_asyncssh_takes_it_too(house: House, grant: Grant) -> None:
    async def log_in(code: str) -> str:
        async with asyncssh.connect(
            "127.0.0.1", house.port, username="rita+hist-01", password=code, client_keys=None, agent_path=None,
            known_hosts=str(house.dir / "known_hosts"), config=None,
        ) as connection:  # fmt: skip
            done = await connection.run("echo in")
            return str(done.stdout)

    assert asyncio.run(log_in(fresh(house, grant))) == "in\n"


@pytest.mark.parametrize("user", ["ada+hist-01", "rita+hist-02", "rita"])
def test_it_leads_nobody_else_and_nowhere_else(house: House, grant: Grant, user: str) -> None:
    code = fresh(house, grant)
    assert run(house, code, keyless(house, user=user)).returncode == 255
    assert SSHSession.objects.count() == 0
    assert ConnectCode.objects.get().used_at is None
    assert run(house, code, keyless(house)).returncode == 0


def test_an_old_one_is_refused(house: House, grant: Grant) -> None:
    code = fresh(house, grant)
    ConnectCode.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    assert run(house, code, keyless(house)).returncode == 255


def test_it_opens_its_own_grant_and_no_other(house: House, grant: Grant) -> None:
    """Another grant for the same machine lives on, with a later end; the code's own is over."""
    short = grant
    house.ada = building.human(house.dir, "ben", ["ot-leads"])  # who approves next, with a code of his own
    house.grant(minutes=60)
    code = fresh(house, short)
    assert run(house, code, keyless(house)).returncode == 0
    assert house.ended().grant == short
    code = fresh(house, short)
    house.ends_in(short, -1)
    done = run(house, code, keyless(house))
    assert done.returncode == 255 and b"grant_ended" in done.stderr
    assert SSHSession.objects.count() == 1


def test_of_two_logins_that_race_with_one_code_one_gets_in(house: House, grant: Grant) -> None:
    for round_ in range(3):
        code = fresh(house, grant)
        both = [Raw(house.port) for _ in range(2)]
        heard: list[int] = []
        start = threading.Barrier(2)

        def use(raw: Raw, code: str, start: threading.Barrier, heard: list[int]) -> None:
            raw.service()
            start.wait(20)
            raw.password("rita+hist-01", code)
            while (message := raw.hear(20)) is not None and message[0] == 53:
                pass
            heard.append(message[0] if message else 0)

        threads = [threading.Thread(target=use, args=(raw, code, start, heard)) for raw in both]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(heard) == [51, 52], heard
        assert SSHSession.objects.count() == round_ + 1
        for raw in both:
            raw.close()
        house.ended(20)


def test_guessing_is_throttled_and_the_same_for_people_who_dont_exist(house: House, grant: Grant) -> None:
    said = []
    for name in ("rita", "nobody-here"):
        raw = Raw(house.port)
        raw.service()
        told = []
        for _ in range(3):
            raw.password(f"{name}+hist-01", "aaaaa-aaaaa")
            heard = raw.hear()
            assert heard is not None and heard[0] == 53
            told.append((heard[1], failure(raw.hear())))
        assert house.gateway is not None
        for _ in range(5):  # so that a slow machine doesn't sit the wait out
            house.gateway.throttle.wrong(name, "127.0.0.1", clock.monotonic())
        raw.password(f"{name}+hist-01", "aaaaa-aaaaa")
        heard = raw.hear()
        assert heard is not None and b"throttled" in heard[1]
        assert raw.closed(20)
        said.append(told)
    assert said[0] == said[1]
    eventually(lambda: len(house.audited("gateway:access:refused")) >= 3, "they are written down")
    trail = house.audited("gateway:access:refused")
    assert [row["refusal"] for row in trail] == ["connect_code_wrong"] * 3, "of people, not of made-up names"


def test_a_change_of_password_is_no_password(house: House, grant: Grant) -> None:
    from sessions.gateway.wire import boolean, string

    code = fresh(house, grant)
    raw = Raw(house.port)
    raw.service()
    raw.send(50, string("rita+hist-01"), string("ssh-connection"), string("password"), boolean(True), string(code),
             string("new"))  # fmt: skip
    failure(raw.hear())
    raw.close()
    assert ConnectCode.objects.get().used_at is None


def test_after_a_key_it_is_no_second_factor(house: House, grant: Grant) -> None:
    """Nothing counts that wasn't asked for: after the key the one-time code of the app is asked for."""
    from tests.gateway.stranger import load

    code = fresh(house, grant)
    raw = Raw(house.port)
    raw.service()
    raw.public_key("rita+hist-01", load(house.rita.key))
    assert failure(raw.hear()) == ("keyboard-interactive", True)
    raw.password("rita+hist-01", code)
    assert failure(raw.hear()) == ("keyboard-interactive", False)
    raw.keyboard("rita+hist-01")
    heard = raw.hear()
    assert heard is not None and heard[0] == 60 and b"One-time code" in heard[1]
    raw.answer(code)
    heard = raw.hear()
    assert heard is not None and heard[0] == 60 and b"second_factor_wrong" in heard[1]
    raw.close()
    assert ConnectCode.objects.get().used_at is None
