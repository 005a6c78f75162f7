"""OpenSSH's clients, each way that people use them: every one gets in with key and code, and works."""

from __future__ import annotations

import subprocess

import pexpect
import pytest

from tests.gateway import clients
from tests.gateway.clients import DIRECT, JUMP
from tests.gateway.house import House
from tests.support import sshd
from tests.support.needs import requires

WAYS = pytest.mark.parametrize("way", [DIRECT, JUMP])


@pytest.fixture(scope="module")
def house(shared_house: House, page: int) -> House:
    shared_house.grant(channels=clients.EVERYTHING, forward_to=[f"127.0.0.1:{page}"])
    return shared_house


@WAYS
def test_a_command_has_its_status_and_its_streams_apart(house: House, way: str) -> None:
    config = str(clients.configure(house))
    done = clients.run(house, "ssh", "-F", config, way, "cat; echo bad >&2; exit 7", stdin=b"\x00\xffin")
    assert (done.stdout, done.returncode) == (b"\x00\xffin", 7)
    assert b"bad\n" in done.stderr and b"It is recorded." in done.stderr


@WAYS
def test_a_shell_has_a_terminal_of_the_right_size(house: House, way: str) -> None:
    config = str(clients.configure(house))
    child = pexpect.spawn("ssh", ["-F", config, way], dimensions=(33, 111), timeout=30, encoding="utf-8",
                          env=house.askpass())  # fmt: skip
    child.expect("It is recorded")
    child.sendline("PS1='ready> '; stty size")
    child.expect("33 111")
    child.setwinsize(40, 100)
    child.sendline(
        "while [ \"$(stty size)\" != '40 100' ]; do sleep 0.05; done; echo resized-$((40+2)); exit 5"
    )
    child.expect("resized-42")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 5


@WAYS
@pytest.mark.parametrize("protocol", ["-s", "-O"])
def test_scp_in_both_its_protocols_and_directions(house: House, way: str, protocol: str) -> None:
    config = str(clients.configure(house))
    here, there, back = clients.some_file(house, "here"), house.dir / "there", house.dir / "back"
    for source, target in ((str(here), f"{way}:{there}"), (f"{way}:{there}", str(back))):
        done = clients.run(house, "scp", protocol, "-p", "-F", config, source, target)
        assert done.returncode == 0, done.stderr
    assert there.read_bytes() == back.read_bytes() == here.read_bytes()


@WAYS
def test_sftp_lists_puts_gets_renames_and_removes(house: House, way: str) -> None:
    config = str(clients.configure(house))
    here, base = clients.some_file(house, "up"), house.dir
    script = (
        f"mkdir {base}/d\nput {here} {base}/d/a\nrename {base}/d/a {base}/d/b\nls -l {base}/d\n"
        f"get {base}/d/b {base}/down\nrm {base}/d/b\nrmdir {base}/d\n"
    )
    done = clients.run(
        house, "sftp", "-F", config, "-o", "BatchMode=no", "-b", "-", way, stdin=script.encode()
    )
    assert done.returncode == 0, done.stderr
    assert (base / "down").read_bytes() == here.read_bytes()
    assert b"300000" in done.stdout and not (base / "d").exists()


@WAYS
def test_one_connection_carries_shells_commands_and_files_at_once(house: House, way: str) -> None:
    here = clients.some_file(house, "multiplexed")
    with clients.master(house, way) as shared:
        held = subprocess.Popen(
            ["ssh", *shared, way, "echo up; read line; echo got $line"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert held.stdin is not None and held.stdout is not None
        assert held.stdout.readline() == b"up\n"
        done = clients.run(house, "ssh", *shared, way, "exit 9", SSH_ASKPASS="/bin/false")
        assert done.returncode == 9
        copied = clients.run(house, "scp", *shared, str(here), f"{way}:{house.dir}/copied")
        assert copied.returncode == 0, copied.stderr
        listed = clients.run(
            house, "sftp", *shared, "-b", "-", way, stdin=f"ls {house.dir}/copied\n".encode()
        )
        assert b"copied" in listed.stdout
        typed = pexpect.spawn("ssh", [*shared, "-tt", way], timeout=30, encoding="utf-8")
        typed.sendline("echo shell-$((40+2)); exit")
        typed.expect("shell-42")
        typed.expect(pexpect.EOF)
        assert held.communicate(b"it\n", timeout=30)[0] == b"got it\n"
    assert (house.dir / "copied").read_bytes() == here.read_bytes()
    assert house.ended(30).channels.count() == 5


@requires("curl")
@WAYS
def test_a_forward_leads_to_the_named_place_by_l_d_and_w(house: House, way: str, page: int) -> None:
    config = str(clients.configure(house))
    named, socks = sshd.free_port(), sshd.free_port()
    client = subprocess.Popen(
        ["ssh", "-F", config, "-N", "-L", f"{named}:127.0.0.1:{page}", "-D", f"127.0.0.1:{socks}", way],
        env=house.askpass(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        sshd.wait_for_port(socks, 30)
        for words in ([f"http://127.0.0.1:{named}/"],
                      ["--socks5", f"127.0.0.1:{socks}", f"http://127.0.0.1:{page}/"],
                      ["--socks5-hostname", f"127.0.0.1:{socks}", f"http://127.0.0.1:{page}/"]):  # fmt: skip
            got = clients.run(house, "curl", "-s", "--max-time", "30", "--noproxy", "", *words)
            assert got.stdout == b"status: fine", (words, got)
        other = ["--socks5", f"127.0.0.1:{socks}", f"http://127.0.0.1:{house.sshd.port}/"]
        assert clients.run(house, "curl", "-s", "--max-time", "30", "--noproxy", "", *other).returncode != 0
    finally:
        client.terminate()
        said = client.communicate(timeout=30)[1]
    assert b"[forward_not_allowed]" in said
    get = b"GET / HTTP/1.0\r\n\r\n"
    assert (
        b"status: fine"
        in clients.run(house, "ssh", "-F", config, "-W", f"127.0.0.1:{page}", way, stdin=get).stdout
    )
    refused = clients.run(house, "ssh", "-F", config, "-W", f"127.0.0.1:{house.sshd.port}", way, stdin=get)
    assert refused.stdout == b"" and b"[forward_not_allowed]" in refused.stderr


@requires("curl")
@WAYS
def test_an_editors_remote_mode(house: House, way: str, page: int) -> None:
    """One connection with a dynamic forward, a script piped into a shell without a terminal, commands beside it."""
    config, socks = str(clients.configure(house)), sshd.free_port()
    server = subprocess.Popen(
        ["ssh", "-F", config, "-T", "-D", f"127.0.0.1:{socks}", way, "bash"], env=house.askpass(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(b"uname -s\necho listening==$((40+2))==\n")
    server.stdin.flush()
    assert server.stdout.readline() == b"Linux\n" and server.stdout.readline() == b"listening==42==\n"
    got = [
        subprocess.Popen(
            ["curl", "-s", "--max-time", "30", "--noproxy", "", "--socks5", f"127.0.0.1:{socks}",
             f"http://127.0.0.1:{page}/"], stdout=subprocess.PIPE,
        )
        for _ in range(4)
    ]  # fmt: skip
    assert [one.communicate(timeout=40)[0] for one in got] == [b"status: fine"] * 4
    out, _ = server.communicate(
        b"cat > /dev/null <<'END'\n" + b"x" * 100_000 + b"\nEND\necho done\nexit 3\n", 30
    )
    assert out == b"done\n" and server.returncode == 3


def test_many_commands_at_once_over_one_connection(house: House) -> None:
    with clients.master(house, DIRECT) as shared:
        running = [
            subprocess.Popen(["ssh", *shared, DIRECT, f"cat; echo {n}; exit {n}"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for n in range(8)
        ]  # fmt: skip
        for n, one in enumerate(running):
            assert one.communicate(b"in ", timeout=30)[0] == b"in %d\n" % n
            assert one.returncode == n


def test_half_of_a_connection_can_close_signals_and_breaks_pass(house: House) -> None:
    config = str(clients.configure(house))
    sorted_ = clients.run(house, "ssh", "-F", config, DIRECT, "sort; echo after-eof", stdin=b"b\na\n")
    assert sorted_.stdout == b"a\nb\nafter-eof\n"
    child = pexpect.spawn(
        "ssh", ["-F", config, "-tt", DIRECT], timeout=30, encoding="utf-8", env=house.askpass()
    )
    child.expect("It is recorded")
    loop = (
        "sh -c 'trap \"echo got-\\$((40+2)); exit 3\" INT; echo armed-$((40+2)); while :; do sleep 0.1; done'"
    )
    child.sendline(f"{loop}; echo left-$?-$((40+2))")
    child.expect("armed-42")
    child.sendcontrol("c")
    child.expect("got-42")
    child.expect("left-3-42")
    child.sendline("")
    child.send("~B")  # a break: OpenSSH's sshd answers for a terminal that knows none
    child.sendline("")
    child.sendline("exit 4")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 4


def test_a_killed_command_says_its_signal(house: House) -> None:
    config = str(clients.configure(house))
    done = clients.run(house, "ssh", "-F", config, DIRECT, "kill -TERM $$")
    assert done.returncode == 255
    assert house.ended(30).channels.get().exit_signal == "TERM"


def test_the_environment_that_passes_is_the_allow_lists(house: House) -> None:
    config = str(clients.configure(house))
    done = clients.run(
        house, "ssh", "-F", config, "-o", "SetEnv=FOO=bar LC_TIME=C.UTF-8 LANG=C.UTF-8", DIRECT,
        "echo ${FOO:-none} ${LC_TIME:-none} $LANG",
    )  # fmt: skip
    assert done.stdout == b"none C.UTF-8 C.UTF-8\n"
