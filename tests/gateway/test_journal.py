"""A gateway's journal: what it holds is written once, whoever dies in between, and nothing in it stops a start."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg.errors
import pytest
from django.db import InternalError, connection

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, refusal
from breakglass.models import AuditEvent
from sessions import services
from sessions.gateway import entries
from sessions.gateway import journal as journals
from sessions.gateway.books import Bookkeeper
from sessions.gateway.entries import Kind, to_json
from sessions.gateway.journal import LARGEST, Journal, gateway_of, new_path, parse, spell
from sessions.gateway.replay import replay
from sessions.gateway.writing import Away, Writer
from sessions.models import Channel, FileOperation, JournalPosition, Receipt, SSHSession
from sessions.services import FileFacts, OpenForm
from tests.gateway import replaying
from tests.gateway.house import House, eventually

NOON = "2026-11-16T12:00:00+00:00"
LATER = "2026-11-16T12:00:01.500000+00:00"
CHANNEL = {
    "number": 1, "kind": "exec", "opened_at": NOON, "command": "uptime \udc80", "destination": "", "refusal": "",
    "closed_at": LATER, "exit_status": 0, "exit_signal": "", "bytes_in": 3, "bytes_out": 5, "bytes_err": 0,
    "sha256_in": "", "sha256_out": "aa", "sha256_err": "",
}  # fmt: skip
FILE = {
    "channel": 2, "number": 1, "verb": "read", "path": "/srv/trend", "target": "", "direction": "down", "bytes": 7,
    "sha256": "bb", "outcome": "done", "kept": "", "started_at": NOON, "ended_at": LATER,
}  # fmt: skip
CUT = {
    "at": LATER, "due": None, "last_byte_at": NOON, "client_gone_at": None, "target_gone_at": LATER, "key": "",
    "certificate": None, "estimated": False,
}  # fmt: skip


def note(number: int) -> tuple[str, dict[str, Any]]:
    """An entry that can be counted."""
    return Kind.AUDIT, {
        "tag": "gateway:clock:stepped",
        "subject": "gateway:gw-9",
        "data": {"n": number},
        "at": NOON,
    }


def left_behind(*entries: tuple[str, dict[str, Any]], tail: bytes = b"") -> Path:
    """The journal of a process that is dead."""
    journals.folder()
    path = new_path("gw-9")
    lines = [spell(seq, kind, to_json(data)) for seq, (kind, data) in enumerate(entries, 1)]
    path.write_bytes(b"".join(lines) + tail)
    return path


def ours(name: str) -> bool:
    return name == "gw-9"


def noted() -> list[int]:
    rows = AuditEvent.objects.filter(tag="gateway:clock:stepped").order_by("seq")
    return [row.data["n"] for row in rows]


def rejected() -> list[dict[str, Any]]:
    return [row.data for row in AuditEvent.objects.filter(tag=AuditTag.JOURNAL_REJECTED).order_by("seq")]


@pytest.fixture(autouse=True)
def own_folder(settings: Any, tmp_path: Path) -> Path:
    settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"data_dir": tmp_path})
    return tmp_path / "journal"


@pytest.fixture
def session(plain_house: House) -> SSHSession:
    """One that a gateway left live."""
    grant = plain_house.grant()
    form = OpenForm(
        uuid4(), grant.pk, grant.person_id, plain_house.asset.pk, plain_house.sshd.login, uuid4(),
        "192.0.2.7", "SSH-2.0-x", "key", "gw-9",
    )  # fmt: skip
    opened = services.open_session(form, clock.now())
    assert services.mark_live(opened.pk, "127.0.0.1:22", "SHA256:pinned", clock.now())
    return opened


# The file. -----------------------------------------------------------------------------------------------


def test_a_journal_is_as_private_as_the_recordings_and_says_whose_it_is(own_folder: Path) -> None:
    journal = Journal(lambda: "host:2222:1", lambda: None)
    journal.open()
    journal.append(Kind.GONE, '{"a":1}')
    assert stat.S_IMODE(own_folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert gateway_of(journal.path) == "host:2222:1"
    line = parse(journal.path.read_bytes())
    assert (line.seq, line.kind, line.data) == (1, "gone/1", {"a": 1})
    assert not journal.close()


def test_what_is_written_down_leaves_no_file_and_a_large_one_is_begun_anew() -> None:
    journal = Journal(lambda: "gw-9", lambda: None)
    journal.open()
    text = json.dumps({"x": "y" * 100_000})
    for _ in range(LARGEST // 100_000 + 1):
        journal.append(Kind.GONE, text)
    assert journal.path.stat().st_size > LARGEST
    seqs = []
    while lines := journal.next(4):
        seqs += [line.seq for line in lines]
        journal.written(lines)
    assert journal.path.stat().st_size == 0
    journal.append(Kind.GONE, "{}")
    (line,) = journal.next(500)
    assert [*seqs, line.seq] == list(range(1, len(seqs) + 2))
    journal.written([line])
    assert journal.close()
    assert not journal.path.exists()


def test_a_full_disk_keeps_entries_in_memory_in_order_and_leaves_no_torn_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[bool] = []
    journal = Journal(lambda: "gw-9", lambda: told.append(True))
    journal.open()
    journal.append(Kind.GONE, "{}")
    real, is_full = os.write, True

    def write(descriptor: int, data: bytes) -> int:
        if is_full and data.endswith(b"\n"):
            if len(told) == 0:
                return real(descriptor, data[:10])  # as a disk does that fills up
            raise OSError(errno.ENOSPC, "full")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    for _ in range(3):
        journal.append(Kind.GONE, "{}")
    assert told == [True]
    assert journal.path.read_bytes().count(b"\n") == 1 and journal.path.read_bytes().endswith(b"\n")
    first = journal.next(500)
    journal.written(first)
    assert [line.seq for line in journal.next(2)] == [2, 3]
    journal.written(journal.next(1))
    is_full = False
    assert [line.seq for line in journal.next(500)] == [3, 4]
    assert journal.path.read_bytes().count(b"\n") == 3
    assert not journal.close()


def test_what_comes_after_the_end_is_left_to_the_next_start(transactional_db: None) -> None:
    clerk = Bookkeeper(lambda: "gw-9", lambda: None)
    clerk.start()
    clerk.note(AuditTag.CLOCK_STEPPED, {"n": 1})
    clerk.stop(30)
    assert noted() == [1] and not list(journals.folder().iterdir())
    clerk.note(AuditTag.CLOCK_STEPPED, {"n": 2})
    assert replay(ours) == 1
    assert noted() == [1, 2]


def test_a_name_that_was_typed_at_a_login_is_not_readable_in_the_journal(
    plain_house: House, own_folder: Path
) -> None:
    clerk = Bookkeeper(lambda: "gw-9", lambda: None)
    clerk._journal.open()
    for name in ("my-secret-pw", "rita"):
        clerk.wrong_login(refusal(RefusalCode.BAD_CREDENTIALS), name, "hist-01", "192.0.2.9", clock.now())
    (path,) = own_folder.iterdir()
    assert b"my-secret-pw" not in path.read_bytes() and b"rita" not in path.read_bytes()
    assert not clerk._journal.close()
    assert replay(ours) == 2
    (row,) = AuditEvent.objects.filter(tag="gateway:access:refused")
    assert row.subject == "stranger:rita" and row.data["address"] == "192.0.2.9"


# The replay. ---------------------------------------------------------------------------------------------


def test_what_the_first_release_wrote_can_still_be_read(session: SSHSession) -> None:
    """These lines stay as they are: a kind that changes gets a new number."""
    who = {"session": str(session.pk)}
    no = {"code": "channel_not_allowed", "message": "Not a shell."}
    path = left_behind(
        ("channel/1", who | {"facts": CHANNEL}),
        ("channel-refused/1", who | no | {"facts": CHANNEL | {"number": 2, "kind": "shell"}, "at": NOON}),
        ("refused/1", who | no | {"data": {"request": "tcpip-forward"}, "at": NOON}),
        ("file/1", who | {"facts": FILE}),
        ("file/1", who | {"facts": FILE | {"number": 2}}),
        ("marked/1", {"gateway": "gw-9", "at": NOON, "marked": [
            {"session": session.label, "bytes": 10, "sha256": "cc", "segments": 0}]}),
        ("audit/1", note(1)[1]),
        ("disk/1", {"tag": "gateway:disk:full", "subject": "disk:recordings", "data": {"free": 0}, "tell": True,
                    "at": NOON}),
        ("ended/1", who | {"reason": "killed", "at": LATER, "cut": CUT, "totals": {
            "bytes_in": 3, "bytes_out": 5, "recorded": 10, "recorded_sha256": "cc"}}),
        ("gone/1", who | {"client": LATER, "target": None}),
    )  # fmt: skip
    assert replay(ours) == 10
    assert rejected() == [] and not path.exists() and not JournalPosition.objects.exists()
    first, second = Channel.objects.filter(session=session).order_by("number")
    assert first.closed_at is not None and first.closed_at.isoformat() == LATER
    assert first.command == "uptime \ufffd" and first.bytes_out == 5 and second.kind == "shell"
    assert FileOperation.objects.filter(session=session).count() == 2
    session.refresh_from_db()
    assert (session.state, session.end_reason) == ("ended", "killed")
    assert session.ended_at is not None and session.ended_at.isoformat() == LATER
    receipt = Receipt.objects.get(session=session)
    assert receipt.client_gone_at == receipt.target_gone_at == receipt.cut_at == session.ended_at
    assert receipt.last_byte_at is not None and receipt.last_byte_at.isoformat() == NOON
    refusals = [row.at.isoformat() for row in AuditEvent.objects.filter(tag="gateway:channel:refused")]
    assert refusals == [NOON, NOON]


def test_the_end_of_a_dead_gateways_session_is_told_before_it_would_be_called_crashed(
    plain_house: House, session: SSHSession
) -> None:
    SSHSession.objects.filter(pk=session.pk).update(gateway_id="test-gateway")
    journals.folder()
    entry = {"session": str(session.pk), "reason": "idle", "at": LATER, "cut": CUT, "totals": {
        "bytes_in": 0, "bytes_out": 0}}  # fmt: skip
    new_path("test-gateway").write_bytes(spell(1, "ended/1", json.dumps(entry)))
    plain_house.start()
    assert plain_house.ended().end_reason == "idle"
    eventually(lambda: plain_house.audited("gateway:process:started"), "it has started")
    (started,) = plain_house.audited("gateway:process:started")
    assert (started["recovered"], started["replayed"]) == (0, 1)


def test_a_torn_last_line_is_left_out_and_all_before_it_is_written(transactional_db: None) -> None:
    whole = spell(4, *_spelt(note(4)))
    left_behind(note(1), note(2), note(3), tail=whole[:-5])
    assert replay(ours) == 3
    assert noted() == [1, 2, 3] and rejected() == []


def test_what_cannot_be_written_is_put_aside_said_and_drops_no_neighbour(
    session: SSHSession, own_folder: Path
) -> None:
    nobody = {"session": str(UUID(int=5)), "facts": FILE}
    files = [("file/1", {"session": str(session.pk), "facts": FILE | {"number": n}}) for n in range(1, 5)]
    path = left_behind(
        note(1), *files[:2], ("file/1", nobody), *files[2:], ("of-the-future/7", {"a": 1}),
        ("ended/1", {"session": str(session.pk), "reason": "bored"}), ("audit/1", {}), note(2),
        tail=b"00000000 {}\n" + spell(11, *_spelt(note(3))),
    )  # fmt: skip
    assert replay(ours) == 12
    assert noted() == [1, 2, 3]
    assert FileOperation.objects.filter(session=session).count() == 4
    assert [(row["entry"], row["kind"]) for row in rejected()] == [
        (4, "file/1"), (7, "of-the-future/7"), (8, "ended/1"), (9, "audit/1"), (0, ""),
    ]  # fmt: skip
    aside = path.with_suffix(".rejected")
    assert len(aside.read_bytes().splitlines()) == 5 and stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert [item.name for item in own_folder.iterdir()] == [aside.name]
    assert replay(ours) == 0


def test_a_database_that_takes_no_writes_for_now_is_no_fault_of_an_entry(
    transactional_db: None, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise InternalError("cannot execute INSERT in a read-only transaction") from (
            psycopg.errors.ReadOnlySqlTransaction()
        )

    path = new_path("gw-9")
    line, writer = parse(spell(1, *_spelt(note(1)))), Writer(path)
    with monkeypatch.context() as standby:
        standby.setattr(entries, "write", refuse)
        with pytest.raises(Away):
            writer.write([line])
    writer.write([line])
    assert noted() == [1] and not path.with_suffix(".rejected").exists()


def test_journals_of_others_and_of_processes_that_live_are_left_alone(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.gateway.replay.PATIENCE", 0.1)
    left = left_behind(note(1))
    assert replay(lambda name: name == "gw-8") == 0
    living = Journal(lambda: "gw-9", lambda: None)
    living.open()
    living.append(*_spelt(note(2)))
    assert replay(ours) == 1
    assert noted() == [1] and not left.exists() and living.path.exists()
    living.close()
    assert replay(ours) == 1
    assert noted() == [1, 2]


# Two at a time, and killed in the middle: processes. -----------------------------------------------------

SOME = 100


@pytest.fixture
def replayer(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[], subprocess.Popen[bytes]]:
    monkeypatch.setenv("BREAKGLASS_DATA_DIR", str(tmp_path))
    database = str(connection.settings_dict["NAME"])

    return lambda: replaying.start(database, "gw-9")


def go(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdin.write(b"go\n")
    process.stdin.flush()


def test_racing_starts_write_each_entry_once(replayer: Callable[[], subprocess.Popen[bytes]]) -> None:
    left_behind(*(note(number) for number in range(SOME)))
    racing = [replayer() for _ in range(2)]
    for process in racing:
        go(process)
    read = [int(process.communicate(timeout=120)[0]) for process in racing]
    assert noted() == list(range(SOME)) and rejected() == []
    assert sorted(read) == [0, SOME]


def test_where_no_file_lock_helps_the_position_in_the_database_does(transactional_db: None) -> None:
    path = left_behind(*(note(number) for number in range(SOME)))
    lines = [parse(raw + b"\n") for raw in path.read_bytes().splitlines()]

    def write() -> None:
        writer, done = Writer(path), 0
        while done < len(lines):
            done += len(writer.write(lines[done:]))

    with ThreadPoolExecutor(4) as threads:
        for racer in [threads.submit(write) for _ in range(4)]:
            racer.result(120)
    assert noted() == list(range(SOME)) and rejected() == []


def test_a_replay_that_is_killed_is_gone_on_with_and_writes_each_entry_once(
    replayer: Callable[[], subprocess.Popen[bytes]],
) -> None:
    path = left_behind(*(note(number) for number in range(6 * SOME)))
    process = replayer()
    go(process)
    eventually(lambda: len(noted()) > 10, "some are written")
    process.kill()
    process.communicate()
    assert len(noted()) < 6 * SOME and path.exists()
    assert replay(ours) == 6 * SOME
    assert noted() == list(range(6 * SOME))


def test_a_start_whose_database_is_away_goes_on_at_the_next(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    from breakglass.domain.refusals import Refused
    from sessions.gateway import entries

    path, real = left_behind(*(note(number) for number in range(6))), entries.write
    monkeypatch.setattr(
        entries, "write", lambda some: real(some) if len(noted()) < 3 else _raise(OperationalError("away"))
    )
    with pytest.raises(Refused, match="database"):
        replay(ours)
    monkeypatch.setattr(entries, "write", real)
    assert path.exists() and noted() == [0, 1, 2]
    replay(ours)
    assert noted() == [0, 1, 2, 3, 4, 5]


def test_facts_go_into_the_journal_as_they_are() -> None:
    now = clock.now()
    facts = FileFacts(
        1, 2, "read", "/a\x00\udc80", "", FileOperation.Direction.UP, 3, "", "done", "", now, now
    )
    plain = json.loads(to_json({"session": uuid4(), "facts": facts}))["facts"]
    assert plain == asdict(facts) | {
        "direction": "up",
        "started_at": now.isoformat(),
        "ended_at": now.isoformat(),
    }


def _spelt(entry: tuple[str, dict[str, Any]]) -> tuple[str, str]:
    return entry[0], to_json(entry[1])


def _raise(error: Exception) -> None:
    raise error
