"""Files by commands: scp in its old protocol and rsync, named in rows; refused where they may not be."""

from __future__ import annotations

import os
import subprocess

import pytest

from sessions.models import FileOperation
from tests.gateway.house import House
from tests.gateway.moving import SFTP, make, paramikos, rows, scp, sha256, status, told
from tests.support.needs import requires


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_scp_there_and_back_in_both_its_protocols(house: House, old: bool) -> None:
    house.grant(channels=SFTP)
    d = house.dir
    here, empty = make(d / "here", 700_001), make(d / "empty", 0)
    (d / "folder").mkdir()
    scp(house, str(here), f"there:{d}/there", old=old)
    (up,) = _moved(house, 1)
    # Of the old protocol only the asset knows whether the place is a folder that is there, or the file's new name.
    assert told(up) == ("write", f"{d}/there", "here" if old else "", "up", "done")
    assert (up.bytes, up.sha256) == (700_001, sha256(here))
    scp(house, str(here), str(empty), f"there:{d}/folder/", old=old)
    assert {(r.path, r.outcome, r.bytes, r.sha256) for r in _moved(house, 2)} == {
        (f"{d}/folder/here", "done", 700_001, sha256(here)), (f"{d}/folder/empty", "done", 0, sha256(empty)),
    }  # fmt: skip
    scp(house, f"there:{d}/there", str(d / "back"), old=old)
    (down,) = _moved(house, 1)
    assert (*told(down), down.bytes, down.sha256) == (
        "read", f"{d}/there", "", "down", "done", 700_001, sha256(here),
    )  # fmt: skip
    assert sha256(d / "back") == sha256(here)
    assert f"file: get {d}/there 700001 bytes sha256 {sha256(here)}, done" in house.recording(house.session())


def _moved(house: House, count: int) -> list[FileOperation]:
    return [row for row in rows(house, count) if row.direction != "none"]


def test_old_scp_of_whole_trees_names_each_file(house: House) -> None:
    house.grant(channels=SFTP)
    d = house.dir
    (d / "tree" / "sub").mkdir(parents=True)
    files = [make(d / "tree" / f"f{n}", n * 30_000) for n in range(3)] + [make(d / "tree" / "sub" / "g h", 9)]
    scp(house, "-r", "-p", str(d / "tree"), f"there:{d}/copy", old=True)
    found = rows(house, 4)
    assert {(row.path, row.target, row.sha256) for row in found} == {
        (f"{d}/copy", f"tree/{file.relative_to(d / 'tree')}", sha256(file)) for file in files
    }
    scp(house, "-r", f"there:{d}/copy", str(d / "back"), old=True)
    assert {(row.path, row.sha256) for row in rows(house, 4)} == {
        (f"{d}/copy/{file.relative_to(d / 'tree')}", sha256(file)) for file in files
    }
    scp(house, f"there:{d}/copy/f*", str(d), old=True)
    assert {(row.path, row.target, row.sha256) for row in rows(house, 3)} == {
        (f"{d}/copy/f*", file.name, sha256(file)) for file in files[:3]
    }


def test_an_old_scp_that_finds_nothing_or_is_cut_off(house: House) -> None:
    house.grant(channels=SFTP)
    d = house.dir
    assert b"No such file" in scp(house, f"there:{d}/nothing", str(d / "x"), old=True, check=False).stderr
    assert rows(house) == []
    with paramikos(house) as transport:
        channel = transport.open_session()
        channel.exec_command(f"scp -t {d}/cut")
        assert channel.recv(1) == b"\0"
        channel.sendall(b"C0644 1000 cut\n")
        assert channel.recv(1) == b"\0"
        channel.sendall(b"x" * 400)
        channel.close()
    (row,) = rows(house, 1)
    assert (row.path, row.bytes) == (f"{d}/cut", 400)
    assert row.outcome.startswith("cut off:")


BROKEN = (
    b"hello\n",
    b"C0644 5 ../x\n",
    b"C0644 5 a/b\n",
    b"C0644 5 ..\n",
    b"C0644 -5 a\n",
    b"x" * 9000,
    b"C0644 2 a\nab\x07",
)


def test_what_isnt_scp_inside_an_scp_ends_it(house: House) -> None:
    house.grant(channels=SFTP)
    folder = house.dir / "target"
    folder.mkdir()
    with paramikos(house) as transport:
        for stream in BROKEN:
            channel = transport.open_session()
            channel.settimeout(30)
            channel.exec_command(f"scp -t {folder}")
            channel.sendall(stream + b"\n")
            assert b"[file_protocol]" in channel.makefile_stderr().read(), stream
            assert status(channel) == 77
            channel.close()
    assert [channel.refusal for channel in house.ended(20).channels.all()] == ["file_protocol"] * len(BROKEN)
    assert [row.path for row in rows(house)] == [f"{folder}"]  # the last one began a file


@requires("rsync")
def test_rsync_is_named_with_its_paths_and_bytes_both_ways(house: House) -> None:
    house.grant(channels=SFTP)
    d = house.dir
    (d / "tree").mkdir()
    for number in range(5):
        make(d / "tree" / f"f{number}", 50_000)
    _rsync(house, f"{d}/tree/", f"rita+hist-01@127.0.0.1:{d}/copy/")
    _same(house, "tree", "copy")
    (up,) = rows(house, 1)
    assert (up.verb, up.path, up.direction) == ("rsync", f"{d}/copy/", "up")
    assert 250_000 < up.bytes < 300_000 and len(up.sha256) == 64
    assert up.outcome.startswith(f"done: {up.bytes} bytes up, ") and "aren't told apart" in up.outcome
    _rsync(house, f"rita+hist-01@127.0.0.1:{d}/copy/", f"{d}/back/")
    _same(house, "tree", "back")
    (down,) = rows(house, 1)
    assert (down.path, down.direction) == (f"{d}/copy/", "down") and down.bytes > 250_000


def _rsync(house: House, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    shell = " ".join(house.ssh()[:-3])
    command = ["rsync", "-a", "--whole-file", "-e", shell, *arguments]
    done = subprocess.run(command, env=house.askpass(), capture_output=True, timeout=60, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def _same(house: House, one: str, other: str) -> None:
    for file in (house.dir / one).iterdir():
        assert sha256(house.dir / other / file.name) == sha256(file)


@requires("rsync")
def test_commands_are_bounded_by_the_roots_and_the_bytes(house: House) -> None:
    root = house.dir / "root"
    (root / "sub").mkdir(parents=True)
    house.grant(channels=SFTP, files={"roots": [str(root)], "max_bytes": 300_000})
    here = make(house.dir / "here", 200_000)
    scp(house, str(here), f"there:{root}/a", old=True)
    assert sha256(root / "a") == sha256(here)
    for place in (f"{house.dir}/b", f"{root}/../b", "b", f"{root}/$(id)", f"{root}/*", "/", f"{root}2"):
        done = scp(house, str(here), f"there:{place}", old=True, check=False)
        assert b"[file_outside_roots]" in done.stderr, (place, done.stderr)
    _rsync(house, str(root / "a"), f"rita+hist-01@127.0.0.1:{root}/sub/")
    assert (
        b"[file_outside_roots]"
        in _rsync(house, str(here), f"rita+hist-01@127.0.0.1:{house.dir}/b", check=False).stderr
    )
    for command in (
        f"cd {root}; scp -t .",
        f"scp {root}/a elsewhere:",
        f"sh -c 'scp -f {root}/a'",
        "rsync --server -s .",
    ):
        assert b"[file_outside_roots]" in house.run(command).stderr, command
    big = make(house.dir / "big", 300_001)
    done = scp(house, str(big), f"there:{root}/big", old=True, check=False)
    assert b"[file_limit]" in done.stderr and not (root / "big").exists()
    assert [row.outcome for row in rows(house, 1)] == ["file_limit"]
    (root / "big").write_bytes(os.urandom(1_000_000))
    assert (
        b"[file_limit]"
        in _rsync(house, f"rita+hist-01@127.0.0.1:{root}/big", f"{house.dir}/c", check=False).stderr
    )
    assert [row.outcome for row in rows(house, 1)] == ["file_limit"]
    assert not (house.dir / "b").exists()


def test_every_spelling_of_a_transfer_needs_the_grants_sftp(house: House) -> None:
    house.grant(channels=["exec"])
    with paramikos(house) as transport:
        for command in (
            "scp -t /tmp/x", "env scp -t /tmp/x", "/usr/bin/scp -f /etc/passwd", "sudo -u root rsync --server . /tmp",
            "nice -n 5 /usr/lib/openssh/sftp-server", "cd /tmp && scp -t .", "sh -c 'exec scp -t /tmp/x'",
        ):  # fmt: skip
            channel = transport.open_session()
            channel.settimeout(30)
            channel.exec_command(command)
            assert b"[channel_not_allowed]" in channel.makefile_stderr().read(), command
            assert status(channel) == 77
            channel.close()
        channel = transport.open_session()
        channel.exec_command("echo scp rsync")
        assert channel.makefile().read() == b"scp rsync\n"
