"""Recordings: sealed after the end, checked before each replay, alarmed when they don't hold (E3, E17)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import Grant, Notice
from sessions import services
from sessions.models import Recording, SSHSession
from sessions.services import ChannelFacts, Totals
from sessions.services.recordings import store
from sessions.states import EndReason
from tests.services import stage
from tests.services.scene import Scene, last, refused, tags


@pytest.fixture(autouse=True)
def _own_store(settings: Any, tmp_path: Path) -> None:
    stage.keep_in(settings, tmp_path)


@pytest.fixture
def sealed(scene: Scene, grant: Grant) -> SSHSession:
    return stage.sealed(scene, grant)


def _replay(scene: Scene, session: SSHSession, who: str = "vera", **options: bool) -> bytes:
    return b"".join(services.open_replay(session.pk, getattr(scene.cast, who), scene.now, **options))


def _flip(path: Path, at: int = -200) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


# --- sealed


def test_an_ended_sessions_recording_is_sealed_once(scene: Scene, grant: Grant) -> None:
    session = stage.ended(scene, grant)
    services.save_channel(
        session.pk, ChannelFacts(number=0, kind="exec", opened_at=scene.now, command="uptime")
    )
    assert services.seal_recording(session.pk, scene.now)
    assert not services.seal_recording(session.pk, scene.now)
    recording = Recording.objects.get()
    assert (recording.state, recording.sealed_at, recording.problem) == ("sealed", scene.now, "")
    assert recording.manifest
    facts = recording.manifest["facts"]
    assert facts["host_key"] == "SHA256:pinned"
    assert facts["commands"] == ["uptime"]
    assert facts["digest"] == scene.version.digest
    row = last("recording:sealed")
    assert row.data["sha256"] == recording.sha256 == recording.manifest["sha256"]
    assert not store().open_path(session.pk).exists()
    assert stage.HELLO not in store().sealed_path(session.pk).read_bytes()


def test_a_session_that_goes_on_isnt_sealed(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    stage.record(session)
    assert not services.seal_recording(session.pk, scene.now)
    assert services.seal_due(scene.now) == 0
    assert store().open_path(session.pk).exists()


def test_after_a_crash_what_was_written_is_saved_and_said_to_be_recovered(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    path = stage.record(session)
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:2]) + b'[9.9, "o", "torn')
    services.recover_crashed("gw-1", scene.now)
    assert services.seal_due(scene.now) == 1
    recording = Recording.objects.get()
    assert (recording.state, recording.recovered) == ("recovered", True)
    assert tags(session)[-1] == "recording:recovered"
    assert b"torn" not in _replay(scene, session)


def test_sealing_that_was_cut_off_before_the_commit_is_finished_by_the_next(
    scene: Scene, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = stage.ended(scene, grant)
    with monkeypatch.context() as cut:
        cut.setattr("sessions.services.recordings._commit_seal", _die)
        with pytest.raises(KeyboardInterrupt):
            services.seal_recording(session.pk, scene.now)
    assert services.seal_recording(session.pk, scene.now)
    assert stage.HELLO.strip() in _replay(scene, session)


def test_a_missing_file_is_an_alarm_told_once(scene: Scene, grant: Grant) -> None:
    session = stage.ended(scene, grant)
    store().open_path(session.pk).unlink()
    Notice.objects.all().delete()
    for _ in range(3):
        assert services.seal_due(scene.now) == 0
    assert tags(session).count("recording:damaged") == 1
    assert [notice.person for notice in Notice.objects.all()] == [scene.cast.otto]
    assert "no file" in Recording.objects.get().problem


def test_one_bad_file_doesnt_hold_up_the_rest(scene: Scene, grant: Grant) -> None:
    bad, good = stage.ended(scene, grant), stage.ended(scene, grant)
    store().open_path(bad.pk).unlink()
    store().open_path(bad.pk).mkdir()
    assert services.seal_due(scene.now) == 1
    good.recording.refresh_from_db()
    assert good.recording.state == "sealed"
    assert "recording:damaged" in tags(bad)


# --- replayed


@pytest.mark.parametrize("who", ["vera", "otto", "rita"])
def test_a_replay_is_the_recording_and_its_viewing_is_in_the_trail(
    scene: Scene, sealed: SSHSession, who: str
) -> None:
    assert stage.HELLO.strip() in _replay(scene, sealed, who)
    row = last("recording:viewed")
    assert (row.actor_name, row.data["sha256"]) == (who, sealed.recording.sha256)
    _replay(scene, sealed, who, download=True)
    assert last("recording:downloaded").actor_name == who


def test_others_dont_see_it(scene: Scene, sealed: SSHSession) -> None:
    for who in ("ada", "admin"):
        with refused(Code.NOT_ALLOWED):
            _replay(scene, sealed, who)
    for who in ("rob", "sam"):
        with refused(Code.NOT_FOUND):
            _replay(scene, sealed, who)
    with refused(Code.NOT_FOUND):
        services.open_replay(uuid4(), scene.cast.vera, scene.now)
    assert "recording:viewed" not in tags()


def test_a_recording_that_is_gone_says_so_instead_of_asking_to_wait(scene: Scene, grant: Grant) -> None:
    session = stage.ended(scene, grant)
    store().open_path(session.pk).unlink()
    services.seal_due(scene.now)
    session.recording.refresh_from_db()
    with refused(Code.RECORDING_DAMAGED):
        _replay(scene, session)


def test_what_isnt_sealed_isnt_replayed(scene: Scene, grant: Grant) -> None:
    with refused(Code.RECORDING_OPEN):
        _replay(scene, stage.ended(scene, grant))


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "swapped", "manifest", "no manifest"])
def test_a_damaged_recording_is_not_shown_and_the_auditors_are_alarmed_once(
    scene: Scene, grant: Grant, sealed: SSHSession, damage: str
) -> None:
    path = store().sealed_path(sealed.pk)
    if damage == "flipped":
        _flip(path, len(path.read_bytes()) // 3)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "gone":
        path.unlink()
    elif damage == "swapped":
        path.write_bytes(store().sealed_path(stage.sealed(scene, grant).pk).read_bytes())
    else:
        forged = {**(sealed.recording.manifest or {}), "sha256": "0" * 64} if damage == "manifest" else {}
        Recording.objects.filter(session=sealed).update(manifest=forged)
    Notice.objects.all().delete()
    for _ in range(2):
        with refused(Code.RECORDING_DAMAGED):
            _replay(scene, sealed)
    assert [notice.person for notice in Notice.objects.all()] == [scene.cast.otto]
    assert "recording:viewed" not in tags()
    row = last("recording:damaged")
    assert row.data["where"]
    assert row.actor_name == "vera"


def test_a_session_without_a_byte_is_sealed_too(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    stage.record(session, b"")
    services.end_session(session.pk, EndReason.CLIENT_CLOSED, Totals(0, 0), scene.now)
    assert services.seal_due(scene.now) == 1


def _die(*_: object) -> None:
    raise KeyboardInterrupt
