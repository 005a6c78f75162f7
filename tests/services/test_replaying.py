"""Replay in parts: a viewing is checked and audited once, a chunk is given for its ticket only, and all chunks together
are the recording; the timeline has every kind of thing that happens in a session."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import signing

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import AuditEvent, Grant, Notice
from sessions import services, spans
from sessions.models import (
    ChatMessage,
    Coverage,
    FileOperation,
    Finding,
    Recording,
    Review,
    SSHSession,
    TranscriptEntry,
    Watch,
)
from sessions.recording.recorder import Recorder
from sessions.recording.sealed import CHUNK
from sessions.services import ChannelFacts, FileFacts, coverage, replaying
from sessions.services.coverage import Proof
from sessions.services.recordings import store
from sessions.services.timeline import KINDS, timeline
from sessions.states import EndReason, RecordingState, ReviewState
from tests.gateway.house import eventually
from tests.recording.scene import HEADER, HandClock
from tests.services import stage
from tests.services.scene import Scene, refused

HOSTILE = "\x1b]52;c;cm0gLXJm\x07</script>\u202e\ufffd"


@pytest.fixture(autouse=True)
def _own_store(settings: Any, tmp_path: Path) -> None:
    stage.keep_in(settings, tmp_path)


@pytest.fixture
def sealed(scene: Scene, grant: Grant) -> SSHSession:
    """A session of ten minutes, whose recording has several chunks."""
    session = stage.live(scene, grant)
    store().prepare()
    clock = HandClock()
    recorder = Recorder(store().open_path(session.pk), HEADER, clock=clock)
    recorder.marker("channel 1: shell")
    recorder.resize(120, 40, channel=1)
    for number in range(3200):
        clock.seconds += 600 / 3200
        recorder.output(1, f"line {number} ".encode() + b"x" * 800 + b"\r\n")
        if number in MARKS:
            recorder.marker(MARKS[number])
    recorder.close()
    services.end_session(
        session.pk, EndReason.CLIENT_CLOSED, services.Totals(1, 1), scene.now + timedelta(seconds=601)
    )
    assert services.seal_recording(session.pk, scene.now)
    session.refresh_from_db()
    session.recording.refresh_from_db()
    return session


MARKS = {
    100: "file: begins write /srv/a.tar (9.1)",
    200: "10 minutes left",
    300: "frozen by Ada Adler: wait",
    301: "unfrozen",
    400: "channel 3: exec: uptime; cat /etc/os-release",
    500: "the fault is in the spooler",
    600: "file: list /nowhere, no such file (9.7)",
    700: HOSTILE,
    800: "session ended: client_closed",
}


def unpacked(answer: Iterable[bytes]) -> bytes:
    whole, plain = b"".join(answer), b""
    while whole:
        (length,) = struct.unpack(">I", whole[:4])
        plain, whole = plain + gzip.decompress(whole[4 : 4 + length]), whole[4 + length :]
    return plain


def viewed() -> int:
    return AuditEvent.objects.filter(tag__endswith="recording:viewed").count()


# --- in parts


def test_all_chunks_together_are_the_recording_and_the_viewing_is_audited_once(
    scene: Scene, sealed: SSHSession
) -> None:
    vera = scene.cast.vera
    whole = b"".join(services.read_recording(sealed.recording))
    begun = replaying.begin(sealed.pk, vera, scene.now)
    count = len(begun.tape.starts)
    assert count == -(-len(whole) // CHUNK) >= 3
    one_by_one = [
        unpacked(replaying.parts(sealed.pk, vera, begun.ticket, number, number, scene.now))
        for number in range(count)
    ]
    assert b"".join(one_by_one) == whole
    assert unpacked(replaying.parts(sealed.pk, vera, begun.ticket, 0, count - 1, scene.now)) == whole
    assert (
        unpacked(replaying.parts(sealed.pk, vera, begun.ticket, 1, 2, scene.now)) == whole[CHUNK : 3 * CHUNK]
    )
    timeline(sealed.pk, vera, scene.now, ticket=begun.ticket)
    assert viewed() == 1
    timeline(sealed.pk, vera, scene.now)
    assert viewed() == 2


@pytest.mark.parametrize(
    ("who", "code"), [("rita", None), ("otto", None), ("rob", Code.NOT_FOUND), ("ada", Code.NOT_ALLOWED)]
)
def test_who_may_view(scene: Scene, sealed: SSHSession, who: str, code: Code | None) -> None:
    person = getattr(scene.cast, who)
    if code is None:
        assert replaying.begin(sealed.pk, person, scene.now).tape.seconds > 599
        assert timeline(sealed.pk, person, scene.now)["entries"]
        return
    ticket = replaying.begin(sealed.pk, scene.cast.vera, scene.now).ticket
    for attempt in (
        lambda: replaying.begin(sealed.pk, person, scene.now),
        lambda: replaying.parts(sealed.pk, person, ticket, 0, 0, scene.now),
        lambda: timeline(sealed.pk, person, scene.now, ticket=ticket),
    ):
        with refused(code):
            attempt()
    assert viewed() == 1


def test_a_chunk_needs_a_ticket_of_ones_own_for_this_recording(scene: Scene, sealed: SSHSession) -> None:
    vera, otto = scene.cast.vera, scene.cast.otto
    ticket = replaying.begin(sealed.pk, vera, scene.now).ticket
    other = signing.dumps({"session": str(sealed.pk)}, salt="breakglass.replay")
    for person, wrong in ((vera, ""), (vera, "x"), (vera, ticket[:-1]), (otto, ticket), (vera, other)):
        with refused(Code.NOT_ALLOWED):
            replaying.parts(sealed.pk, person, wrong, 0, 0, scene.now)


@pytest.mark.parametrize(("first", "last"), [(0, 99), (99, 99), (2, 1), (0, replaying.MOST_AT_ONCE)])
def test_chunks_that_are_not_there(scene: Scene, sealed: SSHSession, first: int, last: int) -> None:
    ticket = replaying.begin(sealed.pk, scene.cast.vera, scene.now).ticket
    with refused(Code.NOT_FOUND):
        replaying.parts(sealed.pk, scene.cast.vera, ticket, first, last, scene.now)


def test_a_recording_that_was_changed_is_refused_whole_and_in_parts(scene: Scene, sealed: SSHSession) -> None:
    vera = scene.cast.vera
    ticket = replaying.begin(sealed.pk, vera, scene.now).ticket
    path = store().sealed_path(sealed.pk)
    raw = bytearray(path.read_bytes())
    raw[300] ^= 1
    path.write_bytes(raw)
    with refused(Code.RECORDING_DAMAGED) as said:
        replaying.parts(sealed.pk, vera, ticket, 0, 0, scene.now)
    assert "chunk 0" in said[0].message
    with refused(Code.RECORDING_DAMAGED):
        replaying.begin(sealed.pk, vera, scene.now)
    assert Notice.objects.filter(subject__contains="damaged").exists()
    assert viewed() == 1


def test_a_ticket_outlives_no_deletion(scene: Scene, sealed: SSHSession) -> None:
    vera = scene.cast.vera
    ticket = replaying.begin(sealed.pk, vera, scene.now).ticket
    Recording.objects.update(state=RecordingState.DELETED, deleted_at=scene.now)
    with refused(Code.RECORDING_DELETED):
        replaying.parts(sealed.pk, vera, ticket, 0, 0, scene.now)
    with refused(Code.RECORDING_DELETED):
        timeline(sealed.pk, vera, scene.now, ticket=ticket)


def test_one_that_is_not_sealed_yet(scene: Scene, grant: Grant) -> None:
    session = stage.ended(scene, grant)
    with refused(Code.RECORDING_OPEN):
        replaying.begin(session.pk, scene.cast.vera, scene.now)


# --- what was watched


def test_only_what_this_viewing_was_given_can_have_been_watched(scene: Scene, sealed: SSHSession) -> None:
    vera, otto = scene.cast.vera, scene.cast.otto
    begun = replaying.begin(sealed.pk, vera, scene.now)
    edge = begun.tape.starts[1]
    served = replaying.parts(sealed.pk, vera, begun.ticket, 0, 0, scene.now)
    others = replaying.parts(
        sealed.pk, otto, replaying.begin(sealed.pk, otto, scene.now).ticket, 1, 2, scene.now
    )
    later = scene.now + timedelta(seconds=600)
    for proof, code in (
        (Proof(), Code.NOT_ALLOWED),
        (Proof(receipts=(served.receipt,)), Code.NOT_ALLOWED),
        (Proof(begun.ticket), Code.BAD_INPUT),
        (Proof(begun.ticket, (begun.ticket, others.receipt, "x")), Code.BAD_INPUT),
    ):
        with refused(code):
            coverage.tell(sealed.pk, vera, [[1, 5]], proof, later)
    proof = Proof(begun.ticket, (others.receipt, served.receipt))
    with refused(Code.BAD_INPUT):
        coverage.tell(sealed.pk, vera, [[1, 5], [edge + 1, edge + 2]], proof, later)
    assert not Coverage.objects.exclude(ranges=[]).exists()
    assert coverage.tell(sealed.pk, vera, [[1, edge]], proof, later).spans == ((1.0, round(edge, 2)),)


def test_nobody_watches_more_than_sixteen_times_as_fast(scene: Scene, sealed: SSHSession) -> None:
    vera = scene.cast.vera
    begun = replaying.begin(sealed.pk, vera, scene.now)
    served = replaying.parts(sealed.pk, vera, begun.ticket, 0, len(begun.tape.starts) - 1, scene.now)
    proof = Proof(begun.ticket, (served.receipt,))
    seconds = lambda count: scene.now + timedelta(seconds=count)  # noqa: E731
    with refused(Code.BAD_INPUT):
        coverage.tell(sealed.pk, vera, [[0, 170]], proof, seconds(10))
    coverage.tell(sealed.pk, vera, [[0, 150]], proof, seconds(10))
    with refused(Code.BAD_INPUT):  # a part that was told before is no credit
        coverage.tell(sealed.pk, vera, [[150, 300]], proof, seconds(11))
    coverage.tell(sealed.pk, vera, [[150, 300]], proof, seconds(20))
    # What had been watched before costs a later viewing nothing.
    again = replaying.begin(sealed.pk, vera, seconds(100))
    with refused(Code.BAD_INPUT):
        coverage.tell(sealed.pk, vera, [[300, 599]], Proof(again.ticket, proof.receipts), seconds(101))
    seen = coverage.tell(sealed.pk, vera, [[300, 310]], Proof(again.ticket, proof.receipts), seconds(101))
    assert seen.spans == ((0.0, 310.0),)


def test_a_pause_that_the_player_cuts_takes_no_time() -> None:
    activity = [5, 0, 0, 0, 0, 0, 0, 0, 0, 5]
    assert spans.busy([(0.0, 100.0)], 100.0, activity, 2.0) == pytest.approx(4.0)
    assert spans.busy([(0.0, 5.0), (12.0, 90.0)], 100.0, activity, 2.0) == pytest.approx(1.0)
    assert spans.busy([(0.0, 10.0)], 10.0, [1] * 100, 2.0) == pytest.approx(10.0)
    assert spans.busy([(0.0, 1.0)], 0.0, [], 2.0) == 0.0


# --- the timeline


@pytest.fixture
def told(scene: Scene, sealed: SSHSession) -> SSHSession:
    """The books' part of what happened."""
    at = lambda seconds: sealed.opened_at + timedelta(seconds=seconds)  # noqa: E731
    vera, ada = scene.cast.vera, scene.cast.ada
    services.save_channel(sealed.pk, ChannelFacts(number=1, kind="shell", opened_at=at(0)))
    services.save_channel(
        sealed.pk,
        ChannelFacts(number=3, kind="exec", opened_at=at(75), command="uptime", exit_status=4),
    )
    write = FileFacts(
        channel=9, number=1, verb="write", path="/srv/a.tar", target="", direction=FileOperation.Direction.UP,
        bytes=7, sha256="", outcome="done", kept="", started_at=at(20), ended_at=at(30),
    )  # fmt: skip
    services.save_file_operations([(sealed.pk, write)])
    entry = {"session": sealed, "channel": 1, "exact": False, "ended": None}
    TranscriptEntry.objects.create(**entry, kind="command", began=40.5, text="df -h", exit_status=None)
    TranscriptEntry.objects.create(**{**entry, "ended": 60.0}, kind="screen", began=50.0, text="vi")
    TranscriptEntry.objects.create(**entry, kind="output", began=1.0, text="")
    ChatMessage.objects.create(session=sealed, person=ada, at=at(33), text="Careful " + HOSTILE)
    Watch.objects.create(session=sealed, person=ada, began_at=at(-5), seen_at=at(90), escort=True)
    Coverage.objects.create(session=sealed, person=vera, ranges=[[0, 12]], updated_at=at(1))
    review = Review.objects.create(
        grant=sealed.grant, state=ReviewState.DUE, opened_at=at(601), due_at=at(9000)
    )
    common = {"review": review, "session": sealed, "author": vera, "created_at": at(700)}
    common |= {"category": "scope", "severity": "minor"}
    Finding.objects.create(**common, at_seconds=44.0, text="Why this?")
    Finding.objects.create(**common, at_seconds=45.0, text="Taken back", withdrawn_at=at(701))
    return sealed


def test_every_kind_is_on_the_recordings_clock(scene: Scene, told: SSHSession) -> None:
    found = timeline(told.pk, scene.cast.vera, scene.now)
    entries = found["entries"]
    by_kind = {kind: [entry for entry in entries if entry["kind"] == kind] for kind in KINDS}
    assert all(by_kind.values()), {kind for kind in KINDS if not by_kind[kind]}
    assert [entry["t"] for entry in entries] == sorted(entry["t"] for entry in entries)
    said = {kind: [entry["text"] for entry in of] for kind, of in by_kind.items()}
    assert said["command"] == ["df -h", "uptime; cat /etc/os-release"]
    assert by_kind["command"][0] | {"exact": False, "t": 40.5} == by_kind["command"][0]
    assert (by_kind["command"][1]["exact"], by_kind["command"][1]["exit"]) == (True, 4)
    assert (by_kind["screen"][0]["t"], by_kind["screen"][0]["end"]) == (50.0, 60.0)
    # Of a file that the books know the recording says when; one that they don't know is there all the same.
    assert said["file"] == ["write /srv/a.tar", "list /nowhere, no such file (9.7)"]
    assert by_kind["file"][0]["t"] == pytest.approx(101 * 600 / 3200, abs=0.01)
    assert said["freeze"] == ["frozen by Ada Adler: wait", "unfrozen"]
    assert said["warning"] == ["10 minutes left"]
    assert said["note"] == ["the fault is in the spooler", HOSTILE]
    chat = {"t": 33.0, "kind": "chat", "text": "Careful " + HOSTILE, "by": scene.cast.ada.get_full_name()}
    assert by_kind["chat"] == [chat]
    assert (by_kind["watch"][0]["t"], by_kind["watch"][0]["end"], said["watch"]) == (0.0, 90.0, ["escorts"])
    assert by_kind["resize"][0] | {"channel": 1, "text": "120x40"} == by_kind["resize"][0]
    assert said["channel"] == ["shell"]
    assert said["end"] == ["session ended: client_closed"]
    assert said["finding"] == ["Why this?"]
    assert found["seen"] == [[0, 12]]
    assert [row["number"] for row in found["channels"]] == [1, 3]


def test_findings_are_for_those_who_read_reviews_and_what_was_watched_is_ones_own(
    scene: Scene, told: SSHSession
) -> None:
    found = timeline(told.pk, scene.cast.rita, scene.now)
    assert found["seen"] == []
    assert "finding" not in {entry["kind"] for entry in found["entries"]}
    assert any(
        entry["kind"] == "finding" for entry in timeline(told.pk, scene.cast.otto, scene.now)["entries"]
    )


def test_more_rows_ask_no_more_queries(
    scene: Scene, told: SSHSession, django_assert_num_queries: Any, django_assert_max_num_queries: Any
) -> None:
    ticket = replaying.begin(told.pk, scene.cast.vera, scene.now).ticket
    with django_assert_max_num_queries(40) as before:
        timeline(told.pk, scene.cast.vera, scene.now, ticket=ticket)
    for number in range(30):
        at = told.opened_at + timedelta(seconds=number)
        ChatMessage.objects.create(session=told, person=scene.cast.ada, at=at, text=str(number))
        Watch.objects.create(session=told, person=scene.cast.ben, began_at=at, seen_at=at)
    with django_assert_num_queries(len(before)):
        timeline(told.pk, scene.cast.vera, scene.now, ticket=ticket)


def test_a_recording_that_nobody_asks_for_any_more_is_closed(
    scene: Scene, sealed: SSHSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the room of a deleted one stays taken for as long as the web process lives."""
    monkeypatch.setattr(replaying, "_OPEN", replaying._Shelf())
    monkeypatch.setattr(replaying, "LOOK", 0.05)
    path = store().sealed_path(sealed.pk)
    replaying.begin(sealed.pk, scene.cast.vera, scene.now)
    assert _holds(path)
    monkeypatch.setattr(replaying, "IDLE", -60.0)
    path.unlink()
    eventually(lambda: not _holds(path), "the file is closed")
    assert replaying._OPEN._timer is None and not replaying._OPEN._kept


def _holds(path: Path) -> bool:
    """Whether this process has the file open, deleted or not."""
    links = []
    for one in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            links.append(os.readlink(one))
    return any(link.startswith(str(path)) for link in links)
