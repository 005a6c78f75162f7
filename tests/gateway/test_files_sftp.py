"""Files by sftp: what stock clients do is done, and each thing done has its row with the right size and SHA-256."""

from __future__ import annotations

import hashlib
import io
import os
import time
from pathlib import Path
from typing import Any

import paramiko
import pytest
from django.conf import settings

from sessions.gateway.files.open_files import CREATE, READ, TRUNCATE
from sessions.gateway.files.sftp_wire import Type, number, packet, text
from tests.gateway.house import House
from tests.gateway.moving import SFTP, make, paramikos, paramikos_sftp, rows, sftp, sha256, told
from tests.support.needs import requires


def test_stock_sftp_does_all_it_can_and_each_thing_has_its_row(house: House) -> None:
    house.grant(channels=SFTP)
    d = house.dir / "work"
    d.mkdir()
    make(house.dir / "here", 3_000_001)
    printed = sftp(
        house,
        f"put {house.dir}/here {d}/there\nget {d}/there {d}/back\nmkdir {d}/new\nrename {d}/there {d}/new/a\n"
        f"ln {d}/new/a {d}/new/b\nln -s a {d}/new/c\nchmod 600 {d}/new/a\nls -l {d}/new\ndf {d}\nrm {d}/new/b\n"
        f"rm {d}/new/c\nrm {d}/new/a\nrmdir {d}/new\n-get {d}/nothing {d}/x\n-rm {d}/nothing\n",
    )
    assert "3000001" in printed and "Breakglass:" not in printed
    assert sha256(d / "back") == sha256(house.dir / "here")
    found = rows(house, 13)
    assert [told(row) for row in found] == [
        ("write", f"{d}/there", "", "up", "done"),
        ("read", f"{d}/there", "", "down", "done"),
        ("mkdir", f"{d}/new", "", "none", "done"),
        ("rename", f"{d}/there", f"{d}/new/a", "none", "done"),
        ("link", f"{d}/new/a", f"{d}/new/b", "none", "done"),
        ("symlink", f"{d}/new/c", "a", "none", "done"),
        ("chmod", f"{d}/new/a", "", "none", "done"),
        ("list", f"{d}/new", "", "none", "done"),
        ("remove", f"{d}/new/b", "", "none", "done"),
        ("remove", f"{d}/new/c", "", "none", "done"),
        ("remove", f"{d}/new/a", "", "none", "done"),
        ("rmdir", f"{d}/new", "", "none", "done"),
        ("remove", f"{d}/nothing", "", "none", "refused by the asset: no such file"),
    ]
    assert {(row.bytes, row.sha256) for row in found[:2]} == {(3_000_001, sha256(house.dir / "here"))}
    assert {(row.bytes, row.sha256) for row in found[2:]} == {(0, "")}
    recording = house.recording(house.session())
    assert f"file: begins put {d}/there (1.1)" in recording
    assert f"file: get {d}/there 3000001 bytes sha256 {sha256(d / 'back')}, done (1.2)" in recording
    assert f"file: rename {d}/there to {d}/new/a (1.4)" in recording


def test_whole_trees_and_interrupted_transfers(house: House) -> None:
    house.grant(channels=SFTP)
    tree, d = house.dir / "tree", house.dir
    (tree / "sub").mkdir(parents=True)
    files = [make(tree / f"f{n}", n * 40_001) for n in range(6)] + [make(tree / "sub" / "é ?", 70_000)]
    whole = make(d / "whole", 400_000)
    (d / "half-up").write_bytes(whole.read_bytes()[:150_000])
    (d / "half-down").write_bytes(whole.read_bytes()[:250_000])
    sftp(
        house,
        f"put -r {tree} {d}/copy\nget -r {d}/copy {d}/again\nreput {whole} {d}/half-up\n"
        f"reget {whole} {d}/half-down\n",
    )
    for file in files:
        assert sha256(d / "again" / file.relative_to(tree)) == sha256(file)
    assert (d / "half-up").read_bytes() == (d / "half-down").read_bytes() == whole.read_bytes()
    found = [row for row in rows(house, 2 * len(files) + 2) if row.direction != "none"]
    assert {(r.verb, r.path, r.bytes, r.sha256) for r in found[:-2]} == {
        (verb, str(d / "copy" / file.relative_to(tree)), file.stat().st_size, sha256(file))
        for file in files
        for verb in ("write", "read")
    }
    up, down = found[-2:]
    assert (up.verb, up.outcome, up.bytes) == ("append", "done", 250_000)
    assert (down.outcome, down.bytes) == ("done, from byte 250000", 150_000)
    assert up.sha256 == hashlib.sha256(whole.read_bytes()[150_000:]).hexdigest()
    assert down.sha256 == hashlib.sha256(whole.read_bytes()[250_000:]).hexdigest()


def _prefetch(file: Any, chunks: Any, most: int | None = None) -> None:
    file._prefetching, file._prefetch_done = True, False
    file._prefetch_thread(chunks, most)


def test_paramikos_client_pipelines_seeks_and_appends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its own thread for this may be overtaken by the answers: then it reads some places twice, and no SHA-256 is one.
    monkeypatch.setattr(paramiko.SFTPFile, "_start_prefetch", _prefetch)
    house.grant(channels=SFTP)
    d = house.dir
    big = make(d / "big", 9_000_000)
    with paramikos_sftp(house) as client:
        back = io.BytesIO()
        client.getfo(str(big), back)  # asks for all of it at once
        assert back.getvalue() == big.read_bytes()
        client.putfo(io.BytesIO(big.read_bytes()), str(d / "up"))
        with client.open(str(d / "up"), "r+") as file:  # as sshfs does: here and there, both ways
            file.seek(5_000_000)
            assert file.read(1000) == big.read_bytes()[5_000_000:5_001_000]
            file.seek(100)
            file.write(b"x" * 500)
            file.seek(10)
            file.write(b"y" * 7)
        with client.open(str(d / "up"), "a") as file:
            file.write(b"the end")
        with pytest.raises(FileNotFoundError):
            client.open(str(d / "nowhere"))
        client.truncate(str(d / "up"), 50)
        assert client.stat(str(d / "up")).st_size == 50
        assert client.normalize(".").startswith("/")
        client.symlink("/etc", str(d / "link"))
        assert client.readlink(str(d / "link")) == "/etc"
    found = rows(house, 8)
    assert [told(row) for row in found] == [
        ("read", str(big), "", "down", "done"),
        ("write", f"{d}/up", "", "up", "done"),
        ("write", f"{d}/up", "", "up", "done, from byte 100"),
        ("read", f"{d}/up", "", "down", "done, from byte 5000000"),
        ("append", f"{d}/up", "", "up", "done"),
        ("read", f"{d}/nowhere", "", "down", "refused by the asset: no such file"),
        ("truncate", f"{d}/up", "", "none", "done"),
        ("symlink", f"{d}/link", "/etc", "none", "done"),
    ]
    assert (found[0].sha256, found[1].sha256) == (sha256(big), sha256(big))
    assert (found[2].bytes, found[2].sha256) == (507, "")  # out of order: no digest would say what it is of
    assert found[4].sha256 == hashlib.sha256(b"the end").hexdigest()
    assert (found[5].bytes, found[5].sha256) == (0, "")


def test_relative_names_are_seen_from_the_home_that_the_asset_tells(house: House) -> None:
    house.grant(channels=SFTP)
    with paramikos_sftp(house) as client:
        home = client.normalize(".")
        for name in ("nothing-1", "./nothing-2", "a/../nothing-3", f"{home}//./nothing-4"):
            with pytest.raises(FileNotFoundError):
                client.remove(name)
    assert [row.path for row in rows(house, 4)] == [f"{home.rstrip('/')}/nothing-{n}" for n in (1, 2, 3, 4)]


def test_a_transfer_that_the_grants_end_cuts_off_has_its_row(house: House) -> None:
    grant = house.grant(channels=SFTP)
    with paramikos_sftp(house) as client:
        file = client.open(str(house.dir / "cut"), "w")
        file.write(b"a" * 100_000)
        file.stat()  # answered: what was written has arrived
        folder = client.listdir_iter(str(house.dir))
        next(iter(folder))
        house.ends_in(grant, 0.3)
        ended = house.ended(30)
    assert ended.end_reason == "expired"
    row = next(row for row in rows(house, 2, session=ended) if row.verb == "write")
    assert row.outcome == "cut off: the session ended (expired)"
    assert (row.bytes, row.sha256) == (100_000, hashlib.sha256(b"a" * 100_000).hexdigest())
    assert "100000 bytes sha256" in house.recording(ended)


@requires("sftp")
def test_an_sftp_server_run_as_a_command_is_decoded_too(house: House) -> None:
    house.grant(channels=SFTP)
    make(house.dir / "here", 100_000)
    server = Path("/usr/lib/openssh/sftp-server")
    assert server.exists()
    sftp(house, f"put {house.dir}/here {house.dir}/there\n", options=("-s", str(server)))
    (row,) = rows(house, 1)
    assert (row.verb, row.path, row.sha256) == ("write", f"{house.dir}/there", sha256(house.dir / "here"))
    assert house.session().channels.get().kind == "exec"


ANYTHING = r"""
import sys, struct
taken, given = sys.stdin.buffer, sys.stdout.buffer
while head := taken.read(4):
    body = taken.read(struct.unpack(">I", head)[0])
    if body[0] == 1:
        answer = bytes([2]) + struct.pack(">I", 3)
    elif body[0] == 16:
        answer = bytes([104]) + body[1:5] + struct.pack(">III", 1, 1, 0x2F000000)[:9] + bytes(7)
    else:
        answer = bytes([105]) + body[1:5] + b"seen-%d" % (6 * 7)
    given.write(struct.pack(">I", len(answer)) + answer)
    given.flush()
"""


def _talk(channel: paramiko.Channel) -> bytes:
    """Greet, ask for a file's attributes, and what comes until they do."""
    seen = b""
    for request, awaited in (
        (packet(Type.INIT, number(3)), bytes([Type.VERSION])),
        (packet(Type.STAT, number(7), text(b"/")), b"seen-42"),
    ):
        channel.sendall(request)
        while awaited not in seen:
            piece = channel.recv(1000)
            assert piece, "closed too early"
            seen += piece
    return seen


def test_whatever_answers_as_an_sftp_server_run_as_a_command_is_in_the_recording(house: House) -> None:
    house.grant(channels=SFTP)
    (house.dir / "anything.py").write_text(ANYTHING)
    with paramikos(house) as transport:
        channel = transport.open_session()
        channel.settimeout(30)
        channel.exec_command(f"python3 {house.dir}/anything.py; sftp-server")
        assert b"seen-42" in _talk(channel)
        channel.close()
    ended = house.ended()
    assert "seen-42" in house.recording(ended)
    assert ended.channels.get().bytes_out >= 20


@pytest.mark.parametrize("rules", [{"roots": ["/tmp"]}, {"max_bytes": 10}, {"keep_contents": True}])
def test_an_sftp_server_run_as_a_command_is_refused_where_files_are_bounded(
    house: House, rules: dict[str, object]
) -> None:
    house.grant(channels=SFTP, files=rules)
    done = house.run("echo seen-$((6*7)); /usr/lib/openssh/sftp-server")
    assert b"[not_offered]" in done.stderr and b"sftp subsystem" in done.stderr
    assert b"seen-42" not in done.stdout


def test_a_file_that_is_emptied_or_made_shows_as_written(house: House) -> None:
    house.grant(channels=SFTP)
    precious = house.dir / "precious"
    precious.write_text("precious")
    with paramikos_sftp(house) as client:
        for name, flags in (("precious", READ | TRUNCATE), ("made", READ | CREATE), ("precious", READ)):
            path = str(house.dir / name).encode()
            _, reply = client._request(paramiko.sftp.CMD_OPEN, path, flags, paramiko.SFTPAttributes())
            client._request(paramiko.sftp.CMD_CLOSE, reply.get_string())
    assert precious.read_bytes() == b""
    assert [told(row) for row in rows(house, 3)] == [
        ("write", str(precious), "", "up", "done"),
        ("write", f"{house.dir}/made", "", "up", "done"),
        ("read", str(precious), "", "down", "done"),
    ]


def test_many_small_files_are_all_written_down(house: House) -> None:
    house.grant(channels=SFTP)
    with paramikos_sftp(house) as client:
        for number in range(150):
            client.putfo(io.BytesIO(os.urandom(number)), str(house.dir / f"small-{number}"), confirm=False)
    found = rows(house, 150)
    assert [row.number for row in found] == list(range(1, 151))
    for number, row in enumerate(found):
        assert (row.bytes, row.sha256) == (number, sha256(house.dir / f"small-{number}"))


def test_several_channels_of_one_connection_move_files_at_once(house: House) -> None:
    house.grant(channels=SFTP)
    big = make(house.dir / "big", 2_000_000)
    with paramikos_sftp(house) as first:
        transport = first.get_channel().get_transport()
        others = [paramiko.SFTPClient.from_transport(transport) for _ in range(3)]
        files = [(client, client.open(str(house.dir / f"to-{n}"), "w")) for n, client in enumerate(others)]
        for _, file in files:
            file.set_pipelined(True)
        for start in range(0, 2_000_000, 100_000):
            for _, file in files:
                file.write(big.read_bytes()[start : start + 100_000])
        for _, file in files:
            file.close()
    found = rows(house, 3)
    assert {(row.channel, row.sha256) for row in found} == {(n, sha256(big)) for n in (2, 3, 4)}


def test_a_file_is_on_record_before_the_asset_is_asked(house: House) -> None:
    """Law 4: where the recording can't be written, nothing is asked of the asset."""
    house.grant(channels=SFTP)
    with paramikos_sftp(house) as client:
        client.stat("/")
        session = house.session()
        path = settings.BREAKGLASS.data_dir / "recordings" / "open" / f"{session.pk}.cast"
        path.rename(path.with_suffix(".away"))
        until = time.monotonic() + 20
        with pytest.raises((OSError, EOFError, paramiko.SSHException)):
            while time.monotonic() < until:
                client.mkdir(str(house.dir / f"made-{time.monotonic_ns()}"))
                time.sleep(0.05)
    made = {path.name for path in house.dir.glob("made-*")}
    text = path.with_suffix(".away").read_text()
    assert made and all(name in text for name in made)
    assert house.ended(20).end_reason == "cannot_record"
