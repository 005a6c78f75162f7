"""The audit trail knows of recordings before they are sealed: what is taken from one shows, also after a crash."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from breakglass import clock
from breakglass.models import AuditEvent, Grant, Notice
from sessions import services
from sessions.gateway.marks import MARK_EVERY, Marks
from sessions.models import Recording, SSHSession
from sessions.recording.recorder import Progress
from sessions.services import Totals, marks, recording_check
from sessions.services.marks import Marked, mark_recordings
from sessions.services.recording_check import Checked, Verdict, check
from sessions.services.recordings import store
from sessions.states import EndReason
from tests.services import stage
from tests.services.scene import Scene, tags


@pytest.fixture(autouse=True)
def _own_store(settings: Any, tmp_path: Path) -> None:
    stage.keep_in(settings, tmp_path)


def marked(session: SSHSession, size: int | None = None) -> Marked:
    """What a gateway says of the recording's first `size` bytes."""
    raw = store().open_path(session.pk).read_bytes()[:size]
    return Marked(session.label, len(raw), hashlib.sha256(raw).hexdigest(), 0)


def crashed(scene: Scene, grant: Grant) -> SSHSession:
    """A session that was recorded and marked when its gateway died, in the middle of a line."""
    session = stage.live(scene, grant)
    path = stage.record(session, b"one\r\n" * 50)
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:-1]) + b'[9.9, "o", "torn')
    mark_recordings("gw-1", [marked(session, len(b"".join(whole[:-1])))], scene.now)
    services.recover_crashed("gw-1", scene.now)
    session.refresh_from_db()
    return session


def found(session: SSHSession) -> Checked:
    """What both ways to look say: of the one, and of all."""
    recording = Recording.objects.select_related("session").get(session=session)
    one = check(recording)
    assert one in list(recording_check.against_the_trail())
    return one


def remove(path: Path) -> None:
    path.unlink()


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def alter(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"one", b"two", 1))


HARMS = [(remove, "the file is missing"), (shorten, "bytes; row"), (alter, "aren't those that row")]


@pytest.mark.parametrize(("harm", "said"), HARMS)
def test_a_recording_that_a_crash_left_is_missed_or_found_altered(
    scene: Scene, grant: Grant, harm: Callable[[Path], None], said: str
) -> None:
    session = crashed(scene, grant)
    assert found(session).verdict is Verdict.OPEN
    harm(store().open_path(session.pk))
    assert found(session).verdict is Verdict.DAMAGED
    assert said in found(session).what


@pytest.mark.parametrize(("harm", "said"), HARMS)
def test_the_recording_of_a_session_that_goes_on_is_missed_too(
    scene: Scene, grant: Grant, harm: Callable[[Path], None], said: str
) -> None:
    session = stage.live(scene, grant)
    path = stage.record(session, b"one\r\n" * 50)
    mark_recordings("gw-1", [marked(session)], scene.now)
    assert found(session) == Checked(session.label, Verdict.OPEN, "the session is going on")
    harm(path)
    assert found(session).verdict is Verdict.DAMAGED
    assert said in found(session).what


def test_a_live_session_whose_recording_went_before_its_first_mark_is_missed(
    scene: Scene, grant: Grant
) -> None:
    session = stage.live(scene, grant)
    stage.record(session).unlink()
    assert "though the session was live" in found(session).what
    services.recover_crashed("gw-1", scene.now)
    assert found(session).verdict is Verdict.DAMAGED


@pytest.mark.parametrize("harm", [shorten, alter])
def test_what_was_altered_before_it_was_sealed_is_sealed_as_it_is_and_said(
    scene: Scene, grant: Grant, harm: Callable[[Path], None]
) -> None:
    session = crashed(scene, grant)
    Notice.objects.all().delete()
    harm(store().open_path(session.pk))
    assert services.seal_recording(session.pk, scene.now)
    recording = Recording.objects.get(session=session)
    assert recording.state == "recovered"
    assert "audit trail" in recording.problem
    assert recording.manifest and recording.manifest["facts"]["problem"] == recording.problem
    assert "recording:damaged" in tags(session)
    assert [notice.person for notice in Notice.objects.all()] == [scene.cast.otto]
    assert found(session).verdict is Verdict.DAMAGED
    assert "audit trail" in found(session).what


def test_an_untouched_recording_of_a_crash_is_sealed_without_a_word(scene: Scene, grant: Grant) -> None:
    session = crashed(scene, grant)
    assert services.seal_recording(session.pk, scene.now)
    assert Recording.objects.get(session=session).problem == ""
    assert found(session).verdict is Verdict.INTACT


def test_a_session_that_was_taken_out_of_the_database_with_its_recording_is_missed(
    scene: Scene, grant: Grant
) -> None:
    session = crashed(scene, grant)
    store().open_path(session.pk).unlink()
    Recording.objects.all().delete()
    (said,) = recording_check.against_the_trail()
    assert (said.name, said.verdict) == (session.label, Verdict.DAMAGED)
    assert "the database knows of no such session" in said.what


def test_the_end_of_a_session_marks_the_whole_of_its_recording(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    stage.record(session)
    mark_recordings("gw-1", [marked(session, 20)], scene.now)
    whole = marked(session)
    totals = Totals(1, 1, whole.bytes, whole.sha256)
    services.end_session(session.pk, EndReason.CLIENT_CLOSED, totals, scene.now)
    mark = marks.last_mark(session)
    assert mark is not None
    assert (mark.bytes, mark.sha256) == (whole.bytes, whole.sha256)
    assert marks.last_marks()[session.label] == mark
    assert services.seal_recording(session.pk, scene.now)
    assert found(session).verdict is Verdict.INTACT
    store().sealed_path(session.pk).unlink()
    assert found(session).verdict is Verdict.DAMAGED


def test_a_full_disk_leaves_a_recording_waiting_to_be_sealed_and_alarms_no_auditor(
    scene: Scene, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = stage.ended(scene, grant)
    Notice.objects.all().delete()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("sessions.services.recordings.seal.seal", full)
        assert not services.seal_recording(session.pk, scene.now)
    recording = Recording.objects.get(session=session)
    assert "until there is room" in recording.problem
    assert "recording:damaged" not in tags(session)
    assert not Notice.objects.exists()
    assert store().open_path(session.pk).exists()
    assert services.seal_due(scene.now) == 1
    assert Recording.objects.get(session=session).problem == ""


# --- the gateway's part


class Session:
    """As much of a live session as the marks look at."""

    def __init__(self, number: int, size: int) -> None:
        self.facts = type("Facts", (), {"session_id": uuid4(), "label": f"S-{number}"})()
        self.recorded = Progress(size, "ab" * 32, 0.0, 0)


def write(marked: list[Marked]) -> None:
    mark_recordings("gw-1", marked, clock.now())


def rows() -> list[list[str]]:
    tag = "recordings:recording:marked"
    written = AuditEvent.objects.filter(tag=tag).order_by("seq")
    return [[one["session"] for one in row.data["recordings"]] for row in written]


@pytest.mark.django_db
def test_new_recordings_are_marked_at_once_others_when_they_grew_and_idle_ones_never() -> None:
    living = [Session(number, 100) for number in range(3)]
    its_marks = Marks(write, lambda: living)  # type: ignore[arg-type, return-value]
    now = its_marks._marked_at
    assert its_marks.look(now + 1) == 3
    living[1].recorded = Progress(200, "cd" * 32, 1.0, 0)
    living.append(Session(3, 100))
    assert its_marks.look(now + 2) == 1
    assert its_marks.look(now + MARK_EVERY) == 1
    assert its_marks.look(now + 2 * MARK_EVERY) == 0
    assert rows() == [["S-0", "S-1", "S-2"], ["S-3"], ["S-1"]]


@pytest.mark.django_db
def test_a_row_holds_a_hundred_recordings() -> None:
    living = [Session(number, 100) for number in range(250)]
    its_marks = Marks(write, lambda: living)  # type: ignore[arg-type, return-value]
    assert its_marks.look(its_marks._marked_at) == 250
    assert [len(row) for row in rows()] == [100, 100, 50]
