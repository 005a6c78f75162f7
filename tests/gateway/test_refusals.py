"""What the gateway doesn't carry, it refuses with a coded reason that stock ssh shows, and writes down."""

from __future__ import annotations

import subprocess
import time

import pytest

from breakglass import clock
from breakglass.models import Notice
from breakglass.services import assets
from sessions.models import SSHSession
from tests.gateway import house as building
from tests.gateway.house import House
from tests.support import sshd


def test_without_a_grant_the_reason_and_the_way_to_one_are_said(house: House) -> None:
    done = house.run("true")
    assert done.returncode == 255
    assert b"[no_grant]" in done.stderr
    assert b"Request access at http" in done.stderr
    assert [data["refusal"] for data in house.audited("gateway:access:refused")] == ["no_grant"]


def test_an_unknown_asset_is_said(house: House) -> None:
    house.grant()
    done = house.run("true", user="rita+hist-99")
    assert b"[unknown_asset]" in done.stderr


def test_a_login_outside_the_grant_is_refused(house: House) -> None:
    house.grant()
    done = house.run("true", user="rita+oracle@hist-01")
    assert b"[login_not_in_grant]" in done.stderr
    assert SSHSession.objects.count() == 0


def test_a_named_login_of_the_grant_is_used(house: House) -> None:
    house.grant()
    done = house.run("id -un", user=f"rita+{house.sshd.login}@hist-01")
    assert done.stdout.decode().strip() == house.sshd.login


def test_a_grant_that_is_over_is_said(house: House) -> None:
    grant = house.grant()
    house.ends_in(grant, -1)
    done = house.run("true")
    assert b"[grant_ended]" in done.stderr and b"expired" in done.stderr


def test_a_shell_where_only_commands_are_allowed_is_refused_in_words(house: House) -> None:
    house.grant(channels=["exec"])
    child = house.shell()
    child.expect("channel_not_allowed")
    child.wait()
    session = house.ended()
    assert session.channels.get().refusal == "channel_not_allowed"
    assert any(data["refusal"] == "channel_not_allowed" for data in house.audited("gateway:channel:refused"))


def test_a_command_where_only_a_shell_is_allowed_never_runs(house: House) -> None:
    house.grant(channels=["shell"])
    proof = house.dir / "ran"
    done = house.run(f"touch {proof}")
    assert done.returncode == 77
    assert b"[channel_not_allowed]" in done.stderr
    assert done.stdout == b""
    assert not proof.exists()


def test_file_transfer_as_a_command_needs_the_grants_sftp(house: House) -> None:
    house.grant()
    for command in ("scp -t /tmp", "scp -f /etc/hosts", "/usr/bin/rsync --server . /tmp", "env scp -t x"):
        done = house.run(command)
        assert done.returncode == 77
        assert b"[channel_not_allowed]" in done.stderr and b"sftp" in done.stderr


def sftp(house: House, script: str) -> subprocess.CompletedProcess[bytes]:
    """Stock sftp through the gateway."""
    words = house.ssh()[3:-3]  # without ssh, -F none, and the user and host at the end
    command = ["sftp", "-o", "BatchMode=no", *("-P" if word == "-p" else word for word in words), "-b", "-"]
    command.append("rita+hist-01@127.0.0.1")
    return subprocess.run(
        command, input=script.encode(), capture_output=True, env=house.askpass(), check=False, timeout=60
    )


def test_sftp_is_refused_where_the_grant_lacks_it(house: House) -> None:
    house.grant()
    refused = sftp(house, "ls\n")
    assert refused.returncode != 0
    assert b"[channel_not_allowed]" in refused.stderr


def test_sftp_is_carried_counted_and_hashed_where_the_grant_has_it(house: House) -> None:
    house.grant(channels=["shell", "exec", "sftp"])
    data = b"history" * 100_000
    (house.dir / "up").write_bytes(data)
    carried = sftp(house, f"put {house.dir}/up {house.dir}/down\nget {house.dir}/down {house.dir}/back\n")
    assert carried.returncode == 0, carried.stderr
    assert (house.dir / "back").read_bytes() == data
    channel = house.ended().channels.get()
    assert channel.kind == "sftp" and channel.bytes_in > len(data) and len(channel.sha256_in) == 64


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-A",), b"agent forwarding"),
        (("-X",), b"X11"),
        (("-R", "0:127.0.0.1:9"), b"remote port forwarding failed"),
    ],
)
def test_agent_x11_and_remote_forwarding_are_refused_and_written_down(
    house: House, options: tuple[str, ...], said: bytes
) -> None:
    house.grant()
    extra = [word for word in options if word != "-A"]
    command = house.ssh("echo on", options=tuple(extra))
    if "-A" in options:
        command = [word for word in command if word != "IdentityAgent=none"]
        command.pop(command.index("-o", command.index("IdentitiesOnly=yes")))
        command.insert(1, "-A")
        agent = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
        sock = agent.split("SSH_AUTH_SOCK=")[1].split(";")[0]
        pid = agent.split("SSH_AGENT_PID=")[1].split(";")[0]
        environment = house.askpass() | {"SSH_AUTH_SOCK": sock}
    else:
        pid, environment = "", house.askpass() | {"DISPLAY": ":99"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False, timeout=60, input=b"")
    if pid:
        subprocess.run(["kill", pid], check=False)
    assert said in done.stderr, done.stderr
    house.ended()
    assert any(data["refusal"] == "not_offered" for data in house.audited("gateway:channel:refused"))


def test_a_forward_leads_to_the_named_address_only(house: House, page: int) -> None:
    house.grant(channels=["shell", "forward"], forward_to=[f"127.0.0.1:{page}"])
    named, other = sshd.free_port(), sshd.free_port()
    client = house.popen(
        "-N", options=("-L", f"{named}:127.0.0.1:{page}", "-L", f"{other}:127.0.0.1:{house.sshd.port}")
    )
    sshd.wait_for_port(named)
    got = subprocess.run(
        ["curl", "-s", f"http://127.0.0.1:{named}/"], capture_output=True, check=False, timeout=60
    )
    assert got.stdout == b"status: fine"
    subprocess.run(["curl", "-s", f"http://127.0.0.1:{other}/"], capture_output=True, check=False, timeout=60)
    client.terminate()
    _, err = client.communicate(timeout=60)
    assert b"forward_not_allowed" in err
    session = house.ended()
    carried = session.channels.filter(kind="forward")
    assert {channel.destination for channel in carried} == {f"127.0.0.1:{page}"}
    assert sum(channel.bytes_out for channel in carried) > 0
    assert any(data["refusal"] == "forward_not_allowed" for data in house.audited("gateway:channel:refused"))


def test_a_forward_without_an_asset_is_refused_with_the_reason(house: House) -> None:
    house.grant()
    done = house.run("-W", "127.0.0.1:22", user="rita")
    assert b"not_offered" in done.stderr
    assert [data["refusal"] for data in house.audited("gateway:access:refused")] == ["not_offered"]


def test_a_changed_host_key_is_refused_before_any_credential_and_alarms(house: House) -> None:
    house.grant()
    admin = building.human(house.dir, "admin", ["administrators"])
    house.sshd.new_host_key()
    done = house.run("true")
    assert done.returncode == 255
    assert b"[host_key_changed]" in done.stderr
    assert house.ended().end_reason == "upstream_failed"
    (alarm,) = house.audited("gateway:host_key:alarm")
    assert str(alarm["shown"]).startswith("SHA256:")
    assert Notice.objects.filter(person=admin.person, subject__contains="host key").exists()
    time.sleep(0.2)
    assert "Accepted" not in house.sshd.log and "Failed" not in house.sshd.log


def test_a_host_key_of_another_type_is_a_changed_host_key(house: House) -> None:
    house.grant()
    rsa = house.dir / "rsa-host"
    sshd.make_key(rsa, "ecdsa")
    other = sshd.start(house.dir / "sshd2", extra="", ca=None)
    other.stop()
    (house.dir / "sshd2" / "host_key").unlink()
    (house.dir / "sshd2" / "host_key.pub").unlink()
    sshd.make_key(house.dir / "sshd2" / "host_key", "ecdsa")
    house.sshd.stop()
    again = sshd.start(house.dir / "sshd2", port=house.sshd.port)
    try:
        assert b"[host_key_changed]" in house.run("true").stderr
    finally:
        again.stop()


def test_an_asset_that_is_down_is_said(house: House) -> None:
    house.grant()
    house.sshd.stop()
    done = house.run("true")
    assert b"[upstream_unreachable]" in done.stderr
    session = house.ended()
    assert session.end_reason == "upstream_failed"


def test_an_asset_that_refuses_the_credential_is_said(house: House) -> None:
    house.grant()
    (house.dir / "sshd" / "ca.pub").write_text(sshd.make_key(house.dir / "other-ca") + "\n")
    done = house.run("true")
    assert b"[upstream_refused]" in done.stderr


def test_a_vaulted_key_and_a_password_work_and_are_never_shown(house: House) -> None:
    key = house.dir / "vaulted"
    (house.dir / "sshd" / "authorized_keys").write_text(sshd.make_key(key) + "\n")
    (house.dir / "sshd" / "ca.pub").write_text(sshd.make_key(house.dir / "other-ca") + "\n")
    secret = key.read_text()
    assets.store_login(
        house.asset, assets.LoginForm(house.sshd.login, "key", secret), by=None, now=clock.now()
    )
    house.grant()
    done = house.run("echo in; env; ls -la ~")
    assert done.stdout.startswith(b"in\n")
    session = house.ended()
    assert secret.splitlines()[2][:40] not in house.recording(session)


def test_the_console_says_where_to_request_and_what_is_live(house: House) -> None:
    empty = house.run("status", user="rita")
    assert b"Request access here or at http" in empty.stdout and empty.returncode == 0
    house.grant()
    full = house.run("status", user="rita").stdout.decode()
    assert "rita+root@hist-01" in full and "ssh -p" in full
    assert b"hist-test" in house.run("playbooks", user="rita").stdout
    assert b"\nhist-01 ssh-ed25519" in house.run("known-hosts", user="rita").stdout
    wrong = house.run("reboot", user="rita")
    assert wrong.returncode == 2 and b"Try help" in wrong.stderr
    menu = house.shell(user="rita")
    menu.expect("breakglass> ")
    menu.sendline("sessions")
    menu.expect("no sessions|S-")
    menu.sendline("exit")
    menu.wait()


def test_refusals_open_no_session_and_leave_no_recording(house: House) -> None:
    house.run("true")
    assert SSHSession.objects.count() == 0
