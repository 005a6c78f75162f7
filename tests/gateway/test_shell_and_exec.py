"""What a shell and a command are through the gateway, by stock ssh and a real sshd."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time

from tests.gateway.house import House


def test_a_command_gives_its_output_errors_and_status_apart(house: House) -> None:
    house.grant()
    done = house.run("echo out; echo err >&2; exit 7")
    assert done.stdout == b"out\n"
    assert b"err\n" in done.stderr
    assert done.returncode == 7
    session = house.ended()
    assert session.end_reason == "client_closed"
    channel = session.channels.get()
    assert (channel.kind, channel.exit_status, channel.bytes_out, channel.bytes_err) == ("exec", 7, 4, 4)
    assert channel.command == "echo out; echo err >&2; exit 7"
    recorded = house.recording(session)
    assert '"o", "out\\n"' in recorded or '"o","out\\n"' in recorded


def test_the_banner_says_who_where_why_until_when_and_that_it_is_recorded(house: House) -> None:
    grant = house.grant()
    done = house.run("true")
    said = done.stderr.decode()
    assert done.stdout == b""
    assert "It is recorded." in said
    assert "Rita" in said
    assert f"{house.sshd.login}@hist-01" in said
    assert "trends stopped at 02:10" in said
    assert f"{grant.ends_at:%H:%M}" in said


def test_bytes_pass_both_ways_unchanged(house: House) -> None:
    house.grant()
    data = os.urandom(3_000_000) + bytes(range(256)) * 64
    done = house.run("cat", stdin=data)
    assert done.stdout == data
    session = house.ended()
    assert (session.bytes_in, session.bytes_out) == (len(data), len(data))
    channel = session.channels.get()
    import hashlib

    assert channel.sha256_in == channel.sha256_out == hashlib.sha256(data).hexdigest()


def test_a_command_that_dies_of_a_signal_says_so(house: House) -> None:
    house.grant()
    done = house.run("kill -TERM $$")
    assert done.returncode == 255 or done.returncode == 128 + signal.SIGTERM
    assert house.ended().channels.get().exit_signal == "TERM"


def test_end_of_input_reaches_the_command_while_its_output_goes_on(house: House) -> None:
    house.grant()
    done = house.run("cat > /dev/null; sleep 0.2; echo after-eof", stdin=b"x" * 100_000)
    assert done.stdout == b"after-eof\n"


def test_a_shell_has_the_size_of_the_terminal_and_follows_it(house: House) -> None:
    house.grant()
    child = house.prompt(rows=33, cols=111)
    child.sendline("stty size")
    child.expect("33 111")
    child.expect("ready> ")
    child.setwinsize(50, 140)
    os.kill(child.pid, signal.SIGWINCH)
    child.sendline("until stty size | grep '^50 140'; do sleep 0.1; done")
    child.expect("[\r\n]50 140\r")
    child.sendline("exit")
    child.expect("closed")
    session = house.ended()
    recorded = house.recording(session)
    assert re.search(r'"r", ?"111x33"', recorded)
    assert re.search(r'"r", ?"140x50"', recorded)
    assert session.channels.get().kind == "shell"


def test_ctrl_c_reaches_the_program_in_the_terminal(house: House) -> None:
    house.grant()
    child = house.prompt()
    child.sendline("sleep 100; echo slept-$?")
    time.sleep(0.5)
    child.send("\x03")
    child.expect("ready> ")
    child.sendline("echo status-$?")
    child.expect("status-130")
    child.sendline("exit")


def test_only_the_named_environment_is_passed_on(house: House) -> None:
    house.grant()
    child = house.prompt(options=("-o", "SetEnv=FOO=bar LC_TEST=passed"))
    child.sendline('echo "[$FOO][$LC_TEST]"')
    child.expect(r"\[\]\[passed\]")
    child.sendline("exit")


def test_what_was_typed_at_a_password_prompt_is_not_in_the_recording(house: House) -> None:
    house.grant()
    child = house.prompt()
    child.sendline("stty -echo; echo quiet-$((40+2)); read -r SECRET; stty echo; echo got-${#SECRET}")
    child.expect("quiet-42")
    child.sendline("hunter2hunter2")
    child.expect("got-14")
    child.sendline("exit")
    session = house.ended()
    assert "hunter2" not in house.recording(session)


def test_many_channels_share_one_connection_and_one_session(house: House) -> None:
    house.grant()
    master, control = house.master()
    for number in range(4):
        done = subprocess.run(
            ["ssh", "-S", str(control), "127.0.0.1", f"echo number-{number}"],
            capture_output=True,
            check=False,
        )
        assert done.stdout == f"number-{number}\n".encode()
    master.kill()
    master.wait(30)
    session = house.ended()
    assert session.channels.count() == 4
    assert type(session).objects.count() == 1


def test_the_tenth_channel_opens_and_the_eleventh_is_refused(house: House) -> None:
    house.grant()
    master, control = house.master()
    held = [
        subprocess.Popen(
            ["ssh", "-S", str(control), "127.0.0.1", "echo up; sleep 60"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        for _ in range(10)
    ]  # fmt: skip
    for client in held:
        assert client.stdout is not None
        assert client.stdout.readline() == b"up\n"
    more = subprocess.run(
        ["ssh", "-S", str(control), "-o", "ControlMaster=no", "127.0.0.1", "true"],
        capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=60,
    )  # fmt: skip
    assert more.returncode != 0
    assert b"too_many_channels" in more.stderr or b"session request failed" in more.stderr
    for client in held:
        client.kill()
        client.wait()
    master.kill()
    master.wait(30)
    house.ended()
    assert any(
        data.get("refusal") == "too_many_channels" for data in house.audited("gateway:channel:refused")
    )
