"""`ssh -J PERSON@GATEWAY LOGIN@ASSET` with stock OpenSSH: the inner connection is decided on, recorded and ended too."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from breakglass import clock
from breakglass.services import grants
from sessions.gateway.hostkey import public_line
from tests.gateway.house import House
from tests.gateway.test_ends import ends_soon, on_time


def jump(
    house: House, *words: str, program: str = "ssh", host: str = "hist-01", login: str | None = None
) -> list[str]:
    """A stock client that jumps through the gateway, both host keys checked."""
    known = house.dir / "known_hosts"
    known.write_text(f"[127.0.0.1]:{house.port} {public_line()}\nhist-01 {public_line('hist-01')}\n")
    config = house.dir / "config"
    config.write_text(
        f"Host gateway\n HostName 127.0.0.1\n Port {house.port}\n User rita\n IdentityFile {house.rita.key}\n"
        f"Host *\n IdentitiesOnly yes\n IdentityAgent none\n UserKnownHostsFile {known}\n StrictHostKeyChecking yes\n"
        f"Host hist-01 hist-99\n User {login or house.sshd.login}\n ProxyJump gateway\n"
    )
    target = [host] if program == "ssh" else []
    return [program, "-F", str(config), *target, *words]


def run(house: House, command: list[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command, input=stdin, capture_output=True, env=house.askpass(), timeout=60, check=False
    )


def test_a_command_through_a_jump_is_recorded_as_on_the_direct_way(house: House) -> None:
    house.grant()
    done = run(house, jump(house, "echo out-$((40+2)); echo err >&2; exit 7"))
    assert (done.stdout, done.returncode) == (b"out-42\n", 7), done.stderr
    assert b"err\n" in done.stderr and b"It is recorded." in done.stderr
    session = house.ended()
    assert session.person == house.rita.person and session.factor.startswith("totp:")
    assert session.channels.get().exit_status == 7
    assert "out-42" in house.recording(session)


def test_bytes_pass_a_jump_unchanged_and_scp_too(house: House) -> None:
    house.grant(channels=["shell", "exec", "sftp"])
    data = os.urandom(5_000_000)
    assert run(house, jump(house, "cat"), data).stdout == data
    here, there = house.dir / "here", house.dir / "there"
    here.write_bytes(data)
    done = run(house, jump(house, str(here), f"hist-01:{there}", program="scp"))
    assert done.returncode == 0, done.stderr
    assert Path(there).read_bytes() == data


def test_without_a_grant_the_jump_ends_with_the_reason(house: House) -> None:
    done = run(house, jump(house, "true"))
    assert done.returncode == 255 and b"[no_grant]" in done.stderr


def test_a_jump_to_another_port_or_no_asset_is_refused_and_written_down(house: House) -> None:
    house.grant()
    for target in ("hist-01:80", "127.0.0.1:22", "hist-99:22"):
        done = house.run("-W", target, user="rita", stdin=b"SSH-2.0-x\r\n")
        if target == "hist-99:22":
            continue  # answered as any asset would be; the inner login is refused
        assert b"not_offered" in done.stderr or b"administratively prohibited" in done.stderr, target
    assert house.audited("gateway:access:refused")[0]["refusal"] == "not_offered"
    unknown = jump(house, "true", host="hist-99")
    (house.dir / "known_hosts").open("a").write(f"hist-99 {public_line('hist-99')}\n")
    assert b"[unknown_asset]" in run(house, unknown).stderr


def test_the_end_of_the_grant_cuts_a_jump(house: House) -> None:
    grant = house.grant()
    client = subprocess.Popen(
        jump(house, "cat /dev/zero"), env=house.askpass(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert client.stdout is not None and client.stderr is not None
    client.stdout.read(1_000_000)
    end = ends_soon(house, grant, 1.5)
    while client.stdout.read(1 << 20):
        pass
    assert b"the time of your grant is over" in client.stderr.read()
    client.wait(30)
    session = house.ended()
    assert session.end_reason == "expired" and on_time(session, end)


def test_a_revoked_grant_leaves_the_open_outer_connection_with_no_way_in(house: House) -> None:
    grant = house.grant()
    assert run(house, jump(house, "true")).returncode == 0
    grants.revoke(grant.pk, house.ada.person, "enough", house.ada.code(), clock.now())
    assert b"[grant_ended]" in run(house, jump(house, "true")).stderr


def test_a_stopped_gateway_tells_those_who_jumped(house: House) -> None:
    house.grant()
    client = subprocess.Popen(
        jump(house, "echo up; sleep 20"), env=house.askpass(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert client.stdout is not None and client.stdout.readline() == b"up\n"
    house.stop()
    assert b"the gateway is going down" in client.communicate(timeout=30)[1]
    assert house.session().end_reason == "gateway_stopped"
