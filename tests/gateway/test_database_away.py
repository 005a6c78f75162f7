"""The database is lost for a while: a session goes on, and what happens in it is written when it is back, once, with its
true times; also where the gateway is killed meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from django.conf import settings
from django.db import connection

from breakglass import clock
from breakglass.models import AuditEvent
from sessions.gateway.hostkey import public_line
from sessions.models import Channel, FileOperation, JournalPosition, Receipt
from tests.faults.databases import Sqlite
from tests.gateway import process
from tests.gateway.house import House, eventually, read_until
from tests.gateway.moving import words
from tests.support.sshd import descendants


class Database(Protocol):
    """`freeze` takes it away, `live` gives it back."""

    def freeze(self) -> None: ...

    def live(self) -> None: ...


class Server:
    """This test's own PostgreSQL, stopped with all its processes."""

    def __init__(self) -> None:
        place = Path(str(connection.settings_dict["HOST"])) / "data" / "postmaster.pid"
        self._pid = int(place.read_text().split()[0])

    def freeze(self) -> None:
        connection.close()
        self._send(signal.SIGSTOP)

    def live(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        os.kill(self._pid, number)  # first: once it stands still, its processes neither come nor go
        for pid in descendants(self._pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class Away:
    """The house with a gateway of its own process, and a database that can be taken away."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.name = str(connection.settings_dict["NAME"])
        self.database: Database = Server() if connection.vendor == "postgresql" else Sqlite(Path(self.name))
        self.gateway: subprocess.Popen[bytes] | None = None
        self.clients: list[subprocess.Popen[bytes]] = []

    def start(self, processes: int) -> None:
        self.gateway, self.house.elsewhere = process.start(
            self.name, port=self.house.elsewhere, processes=processes
        )
        (self.house.dir / "known_hosts").write_text(f"[127.0.0.1]:{self.house.port} {public_line()}\n")

    def kill(self) -> None:
        if self.gateway is not None:
            self.gateway.kill()
            self.gateway.communicate()
            self.gateway = None

    def ask(self, *command: str) -> subprocess.Popen[bytes]:
        """A client over a connection that is there already: nobody asks a database for a code."""
        pipe = subprocess.PIPE
        client = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        self.clients.append(client)
        return client

    def stop(self) -> None:
        self.database.live()
        for client in self.clients:
            client.kill()
            client.communicate()
        self.kill()


@pytest.fixture
def away(plain_house: House) -> Iterator[Away]:
    away = Away(plain_house)
    yield away
    away.stop()


def journals() -> list[Path]:
    return sorted((settings.BREAKGLASS.data_dir / "journal").glob("*"))


def in_the_journal(*entries: bytes) -> bool:
    held = b"".join(path.read_bytes() for path in journals())
    return all(entry in held for entry in entries)


@pytest.mark.parametrize(("processes", "killed"), [(1, False), (2, True)], ids=["back", "killed"])
def test_what_happens_without_a_database_is_written_when_it_is_back_once_and_with_its_times(
    away: Away, processes: int, killed: bool
) -> None:
    house = away.house
    house.grant(channels=["exec", "sftp"])
    away.start(processes)
    master, control = house.master()
    away.clients.append(master)
    shared = house.ssh(options=("-S", str(control)))
    assert subprocess.run([*shared, "echo before"], capture_output=True, check=False).stdout == b"before\n"
    other = house.popen("echo up; cat")
    away.clients.append(other)
    assert other.stdout is not None and read_until(other.stdout, b"up")
    first, still_live = _sessions(house)
    eventually(lambda: Channel.objects.filter(session=first, number=1).exclude(closed_at=None).exists())

    began = clock.now()
    away.database.freeze()
    _work_without_a_database(away, control)
    master.kill()
    master.communicate()
    eventually(lambda: in_the_journal(b'"ended/1"'), "the end is in the journal", 60)
    over = clock.now()
    if killed:
        away.kill()
        other.communicate(timeout=60)
        assert in_the_journal(b'"ended/1"')
    away.database.live()
    if killed:
        away.start(0 if processes == 2 else 1)
    eventually(lambda: _ended(first), "the end is in the books", 60)

    reasons = {"client_closed", "client_lost"}
    assert first.end_reason in reasons and began <= first.ended_at <= over  # type: ignore[operator]
    (end,) = AuditEvent.objects.filter(tag="gateway:session:ended", subject=f"sshsession:{first.pk}")
    assert end.at == first.ended_at and end.data["recorded"] > 0
    receipt = Receipt.objects.get(session=first)
    assert not receipt.estimated and receipt.cut_at == first.ended_at
    _check_channels(first, began, over)
    if killed:
        eventually(lambda: _ended(still_live), "the one that lived is ended as crashed", 60)
        assert still_live.end_reason == "crashed"
    else:
        assert other.poll() is None
    crashed = AuditEvent.objects.filter(tag="gateway:session:crashed")
    assert [row.subject for row in crashed] == ([f"sshsession:{still_live.pk}"] if killed else [])
    if killed:
        names = {path.stem for path in journals()}
        eventually(lambda: set(JournalPosition.objects.values_list("journal", flat=True)) <= names)


def _sessions(house: House) -> tuple[Any, Any]:
    from sessions.models import SSHSession

    first, second = SSHSession.objects.order_by("number")
    return first, second


def _ended(session: Any) -> bool:
    session.refresh_from_db()
    return bool(session.state == "ended")


def _work_without_a_database(away: Away, control: Path) -> None:
    """A command, a file that moves, a forward and a shell that are refused: at once, for after 15 s without a
    confirmation no channel is opened."""
    house = away.house
    shared = house.ssh(options=("-S", str(control)))
    (house.dir / "here").write_bytes(b"x" * 5000)
    (house.dir / "batch").write_text(f"put {house.dir}/here {house.dir}/there\n")
    sftp = [*words(house, "sftp", "-o", f"ControlPath={control}", "-b", str(house.dir / "batch"))]
    clients = [
        away.ask(*shared, "echo during"),
        away.ask(*sftp, "rita+hist-01@127.0.0.1"),
        away.ask(*house.ssh(options=("-S", str(control), "-W", "127.0.0.1:1"))),
        away.ask(*house.ssh(options=("-S", str(control), "-T"))),
    ]
    said = [client.communicate(timeout=60) for client in clients]
    assert said[0][0] == b"during\n", said[0]
    assert clients[1].returncode == 0, said[1]
    assert (house.dir / "there").read_bytes() == b"x" * 5000
    assert clients[2].returncode and clients[3].returncode


def _check_channels(session: Any, began: Any, over: Any) -> None:
    before, *during = Channel.objects.filter(session=session).order_by("number")
    assert before.opened_at < began
    assert {channel.kind for channel in during} == {"exec", "sftp", "shell"} and len(during) == 3
    assert all(began <= channel.opened_at <= channel.closed_at <= over for channel in during)  # type: ignore[operator]
    (command,) = [channel for channel in during if channel.kind == "exec"]
    assert (command.command, command.exit_status, command.bytes_out) == ("echo during", 0, 7)
    (row,) = FileOperation.objects.filter(session=session)
    assert row.bytes == 5000 and began <= row.ended_at <= over
    refusals = AuditEvent.objects.filter(
        tag="gateway:channel:refused", subject=f"sshsession:{session.pk}"
    ).order_by("seq")
    assert {refusal.data["refusal"] for refusal in refusals} == {"channel_not_allowed"}
    # The forward; the shell when it was asked for, and its channel when that was over.
    assert len({str(refusal.data) for refusal in refusals}) == refusals.count() == 3
    assert all(began <= refusal.at <= over for refusal in refusals)


def test_what_the_database_has_already_is_not_written_again_after_a_kill(away: Away) -> None:
    """The journal isn't shortened after each entry: how far it was written stands in the database."""
    house = away.house
    house.grant(channels=["exec", "sftp"])
    away.start(1)
    assert house.run("echo one").stdout == b"one\n"
    session = house.ended()
    eventually(lambda: in_the_journal(b'"gone/1"') or Receipt.objects.get().client_gone_at is not None)
    rows = AuditEvent.objects.filter(subject=f"sshsession:{session.pk}").count()
    away.kill()
    (left,) = journals()
    assert b'"ended/1"' in left.read_bytes()
    away.start(1)
    eventually(lambda: house.audited("gateway:process:started")[-1]["replayed"] > 0, "it was replayed")
    assert AuditEvent.objects.filter(subject=f"sshsession:{session.pk}").count() == rows
    assert Channel.objects.count() == 1 and not left.exists()
    assert house.audited("gateway:journal:rejected") == []
