"""What a playbook's `files` bounds: where, how much, and what is kept of it."""

from __future__ import annotations

import os
from pathlib import Path

import paramiko
import pytest

from breakglass import clock
from breakglass.domain.refusals import Refused
from breakglass.models import Person
from sessions import services
from sessions.services.recordings import store
from tests.gateway.house import House
from tests.gateway.moving import SFTP, make, paramikos_sftp, rows, sftp, sha256, told


@pytest.fixture
def root(house: House) -> Path:
    """A folder that the grant leads to, with a file in it, a folder beside it, and links out of it."""
    root, beside = house.dir / "root", house.dir / "beside"
    root.mkdir()
    beside.mkdir()
    (root / "in").write_text("inside")
    (root / "sub").mkdir()
    (beside / "out").write_text("outside")
    (root / "link-out").symlink_to(beside / "out")
    (root / "folder-out").symlink_to("../beside")
    (root / "link-in").symlink_to("in")
    (root / "made-there").symlink_to(beside / "not-yet")
    return root


def bounded(house: House, root: Path, **rules: object) -> None:
    house.grant(channels=SFTP, files={"roots": [str(root)], **rules})


def test_inside_the_roots_everything_works_as_ever(house: House, root: Path) -> None:
    bounded(house, root)
    here = make(house.dir / "here", 200_000)
    printed = sftp(
        house,
        f"cd {root}\nput {here} there\nget sub/../there {house.dir}/back\nls -l\nls -l {root}\nmkdir new\n"
        f"rename there new/a\nln new/a new/b\nln -s ../in new/c\nget new/c {house.dir}/c\nchmod 600 link-in\n"
        f"rm new/a\nrm new/b\nrm new/c\nrmdir new\nrm link-out\ndf .\nput -r {root}/sub {root}/copied\n",
    )
    assert "Breakglass:" not in printed
    assert sha256(house.dir / "back") == sha256(here)
    assert (house.dir / "c").read_text() == "inside"
    assert not (root / "link-out").is_symlink() and (house.dir / "beside" / "out").exists()
    assert (root / "copied").is_dir()
    assert not [row for row in rows(house, 13) if not row.outcome.startswith("done")]


OUTSIDE = (
    "get {root}/../beside/out {dir}/x",
    "get {root}/link-out {dir}/x",
    "get {root}/folder-out/out {dir}/x",
    "get /etc/passwd {dir}/x",
    "put {root}/in {root}/made-there",
    "put {root}/in {root}/folder-out/new",
    "put {root}/in {dir}/beside/new",
    "ls {dir}/beside",
    "ls {root}/folder-out/",
    "mkdir {root}/folder-out/new",
    "mkdir {root}/sub/../../beside/new",
    "rename {root}/in {dir}/beside/in",
    "rename {dir}/beside/out {root}/out",
    "ln {dir}/beside/out {root}/hard",
    "ln -s {dir}/beside {root}/soft",
    "ln -s ../beside/out {root}/soft",
    "ln -s ../../beside/out {root}/sub/soft",
    "ln -s in {dir}/beside/soft",
    "chmod 777 {root}/link-out",
    "rm {root}/folder-out/out",
    "rm {dir}/beside/out",
    "rmdir {root}",
    "rename {root} {root}/sub/deeper",
)


def test_nothing_outside_the_roots_is_touched_by_any_request_or_link(house: House, root: Path) -> None:
    bounded(house, root)
    before = _tree(house.dir / "beside") | _tree(root)
    lines = "".join(f"-{line}\n" for line in OUTSIDE).format(root=root, dir=house.dir)
    printed = sftp(house, lines)
    assert printed.count("[file_outside_roots]") >= 20
    assert f"Files may be touched inside: {root}." in printed
    assert _tree(house.dir / "beside") | _tree(root) == before
    assert not (house.dir / "x").exists()
    refused = [row for row in rows(house) if row.outcome == "file_outside_roots"]
    assert len(refused) >= len(OUTSIDE)
    assert not [row for row in rows(house) if row.outcome.startswith("done")]
    assert {("rmdir", str(root)), ("rename", str(root))} <= {(row.verb, row.path) for row in refused}
    assert {row.path for row in refused} >= {
        f"{house.dir}/beside/out",
        "/etc/passwd",
        f"{house.dir}/beside/not-yet",
    }
    audited = [
        data for data in house.audited("gateway:channel:refused") if data["refusal"] == "file_outside_roots"
    ]
    assert len(audited) == len(refused)


def _tree(folder: Path) -> dict[str, object]:
    return {
        str(path): (
            path.lstat().st_mode,
            os.readlink(path) if path.is_symlink() else path.is_file() and path.read_text(),
        )
        for path in folder.rglob("*")
    }


def test_a_root_may_be_a_link_itself_and_requests_may_come_all_at_once(house: House, root: Path) -> None:
    alias = house.dir / "alias"
    alias.symlink_to(root)
    bounded(house, alias)
    with paramikos_sftp(house) as client:
        assert sorted(client.listdir(str(alias)))[0] == "folder-out"
        assert client.open(str(alias / "in")).read() == b"inside"
        with pytest.raises(PermissionError, match="file_outside_roots"):
            client.open(f"{alias}/link-out")
        with pytest.raises(FileNotFoundError):
            client.open(f"{alias}/nowhere/at/all")
        names = [f"{alias}/d{number}" for number in range(200)]
        for name in names:  # not waiting for an answer in between
            client._async_request(type(None), paramiko.sftp.CMD_MKDIR, name, paramiko.SFTPAttributes())
        assert client.stat(names[-1]).st_size is not None
    assert len([row for row in rows(house, 200) if told(row)[0] == "mkdir"]) == 200


def test_a_transfer_over_the_bound_is_stopped_with_the_reason_and_on_record(house: House) -> None:
    house.grant(channels=SFTP, files={"max_bytes": 500_000})
    d = house.dir
    fits, over = make(d / "fits", 400_000), make(d / "over", 600_000)
    printed = sftp(house, f"put {fits} {d}/a\n-put {fits} {d}/b\nget {fits} {d}/c\n-get {over} {d}/d\n")
    assert printed.count("[file_limit]") >= 2
    assert "may move 500000 bytes each way" in printed
    found = rows(house, 4)
    assert [(row.verb, row.outcome) for row in found] == [
        ("write", "done"), ("write", "file_limit"), ("read", "done"), ("read", "file_limit"),
    ]  # fmt: skip
    assert [row.bytes for row in found if row.outcome == "done"] == [400_000, 400_000]
    assert sum(row.bytes for row in found if row.direction == "up") <= 500_000
    assert sum(row.bytes for row in found if row.direction == "down") <= 500_000
    assert (d / "b").stat().st_size <= 100_000
    audited = [data for data in house.audited("gateway:channel:refused") if data["refusal"] == "file_limit"]
    assert [data["path"] for data in audited] == [f"{d}/b", str(over)]


def test_refused_contents_give_the_client_its_window_back(house: House) -> None:
    house.grant(channels=SFTP, files={"max_bytes": 50_000})
    with paramikos_sftp(house) as client:
        file = client.open(str(house.dir / "much"), "w")
        for number in range(150):  # more than twice what may be on its way at once
            where = paramiko.sftp.int64(number * 32768)
            client._async_request(type(None), paramiko.sftp.CMD_WRITE, file.handle, where, b"x" * 32768)
        assert client.stat(str(house.dir / "much")).st_size <= 50_000
        file.set_pipelined(True)
        with pytest.raises(PermissionError, match="file_limit"):  # it wants its answers in turn
            file.write(b"x" * 6_000_000)
    assert rows(house, 1)[0].outcome == "file_limit"
    audited = [data for data in house.audited("gateway:channel:refused") if data["refusal"] == "file_limit"]
    assert len(audited) == 1


def test_a_copy_of_what_is_moved_is_kept_encrypted_and_read_only_on_record(house: House) -> None:
    house.grant(channels=SFTP, files={"keep_contents": True})
    d = house.dir
    here = d / "here"
    here.write_bytes(b"what was moved, word for word; " * 10_000)
    (d / "nothing").write_bytes(b"")
    sftp(house, f"put {here} {d}/there\nget {here} {d}/back\nmkdir {d}/new\nput {d}/nothing {d}/empty\n")
    found = rows(house, 4)
    assert [bool(row.kept) for row in found] == [True, True, False, False]
    session = house.session()
    for row in found[:2]:
        path = store().kept_path(session.pk, row.channel, row.number)
        assert b"moved" not in path.read_bytes()
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        _, pieces = services.open_kept_copy(session.pk, row.label, house.rita.person, clock.now())
        assert b"".join(pieces) == here.read_bytes()
    seen = house.audited("recordings:file:downloaded")
    assert [(data["path"], data["sha256"]) for data in seen] == [(row.path, row.sha256) for row in found[:2]]
    with pytest.raises(Refused, match="not_found"):
        services.open_kept_copy(session.pk, "1.3", house.rita.person, clock.now())
    with pytest.raises(Refused, match="not_allowed"):
        services.open_kept_copy(session.pk, "1.1", Person.objects.get(username="ada"), clock.now())
    path = store().kept_path(session.pk, 1, 1)
    path.write_bytes(path.read_bytes()[:-30] + b"x" * 30)
    with pytest.raises(Refused, match="recording_damaged"):
        services.open_kept_copy(session.pk, "1.1", house.rita.person, clock.now())


def test_what_cant_be_kept_isnt_moved(house: House) -> None:
    house.grant(channels=SFTP, files={"keep_contents": True})
    with paramikos_sftp(house) as client:
        client.stat("/")
        place = store().kept_path(house.session().pk, 1, 1).parent
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("in the way")
        with pytest.raises((OSError, EOFError, paramiko.SSHException)):
            client.open(str(house.dir / "up"), "w").write(b"x" * 1000)
            client.stat("/")
    assert house.ended(20).end_reason == "cannot_record"
    assert not (house.dir / "up").exists() or not (house.dir / "up").read_bytes()
