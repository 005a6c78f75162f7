"""`manage.py verify_recording`: 0 when the recordings are what was sealed, else the damaged one and its part are named."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from breakglass import clock
from sessions import services
from sessions.models import Recording, SSHSession
from sessions.recording.recorder import Recorder
from sessions.recording.sealed import FRAMES_START
from sessions.services import OpenForm, Totals
from sessions.services.recordings import recording_key, seal_key, store
from sessions.states import EndReason
from tests.recording.scene import HEADER
from tests.support import cast as house
from tests.support.cast import Cast
from tests.support.clock import FrozenClock

pytestmark = pytest.mark.django_db


@pytest.fixture
def one(cast: Cast, time: FrozenClock, settings: object, tmp_path: Path) -> SSHSession:
    """A sealed session of rita's."""
    return sealed(opened(cast, time, tmp_path, settings), time)


def opened(cast: Cast, time: FrozenClock, folder: Path, settings: object) -> SSHSession:
    settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"data_dir": folder})  # type: ignore[attr-defined]
    store().prepare()
    asset = house.machine(time.now)
    grant = house.approved(house.asked(cast.rita, house.published(time.now), time.now), [cast.ada], time.now)
    return another(grant.pk, cast.rita.pk, asset.pk, time)


def another(grant: uuid.UUID, person: uuid.UUID, asset: uuid.UUID, time: FrozenClock) -> SSHSession:
    form = OpenForm(
        id=uuid.uuid4(),
        grant_id=grant,
        person_id=person,
        asset_id=asset,
        login="operator",
        decision_id=uuid.uuid4(),
        client_address="192.0.2.7",
        client_version="SSH-2.0-OpenSSH_9.2",
        factor="publickey+totp",
        gateway_id="gw-test",
    )
    session = services.open_session(form, time.now)
    recorder = Recorder(store().open_path(session.pk), HEADER, clock=clock)
    recorder.output(0, b"hello from the historian\r\n")
    recorder.close()
    return session


def sealed(session: SSHSession, time: FrozenClock) -> SSHSession:
    services.end_session(session.pk, EndReason.CLIENT_CLOSED, Totals(1, 26), time.now)
    assert services.seal_recording(session.pk, time.now)
    return session


def verify(*words: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("verify_recording", *map(str, words), stdout=out, stderr=err)
    except SystemExit as left:
        return int(left.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def test_an_intact_recording_exits_0_by_id_by_label_by_path_and_as_a_download(
    one: SSHSession, tmp_path: Path
) -> None:
    copy = tmp_path / "copy of it"
    copy.write_bytes(store().sealed_path(one.pk).read_bytes())
    pieces = services.recordings.seal.open_sealed(copy, recording_key(), seal_key().public_key())
    download = tmp_path / "session.cast"
    download.write_bytes(b"".join(pieces))
    for word in (one.pk, one.label, store().sealed_path(one.pk), copy, download, "--all"):
        code, out, err = verify(word)
        assert (code, err) == (0, "")
        assert "INTACT" in out
        assert one.label in out


def test_a_flipped_byte_exits_1_and_names_recording_and_part(one: SSHSession) -> None:
    flip(store().sealed_path(one.pk), FRAMES_START + 20)
    code, out, err = verify("--all")
    assert code == 1
    assert f"DAMAGED  {one.label}: chunk 0 (bytes 0 to " in err
    assert "0 intact, 0 open, 1 damaged" in out


def test_a_flipped_byte_in_a_download_is_noticed(one: SSHSession, tmp_path: Path) -> None:
    path = store().sealed_path(one.pk)
    download = tmp_path / "session.cast"
    download.write_bytes(
        b"".join(services.recordings.seal.open_sealed(path, recording_key(), seal_key().public_key()))
    )
    flip(download, 100)
    code, _, err = verify(download)
    assert (code, "no sealed recording holds exactly these bytes" in err) == (1, True)


def test_one_damaged_recording_does_not_hide_the_others(one: SSHSession, time: FrozenClock) -> None:
    other = sealed(another(one.grant_id, one.person_id, one.asset_id, time), time)
    flip(store().sealed_path(one.pk), -5)
    code, out, err = verify("--all")
    assert code == 1
    assert f"DAMAGED  {one.label}: last line" in err
    assert f"INTACT   {other.label}" in out


def test_a_recording_swapped_for_another_genuine_one_is_noticed(one: SSHSession, time: FrozenClock) -> None:
    other = sealed(another(one.grant_id, one.person_id, one.asset_id, time), time)
    store().sealed_path(one.pk).write_bytes(store().sealed_path(other.pk).read_bytes())
    code, _, err = verify(one.label)
    assert (code, "the one on record" in err) == (1, True)


def test_a_resealed_recording_is_noticed_though_file_and_database_agree(
    one: SSHSession, tmp_path: Path
) -> None:
    """Somebody with the house's keys edits the session, seals it again and fixes the row: the audit trail remembers."""
    path = store().sealed_path(one.pk)
    plain = tmp_path / "edited.cast"
    pieces = services.recordings.seal.open_sealed(path, recording_key(), seal_key().public_key())
    plain.write_bytes(b"".join(pieces).replace(b"historian", b"historiaN"))
    path.unlink()
    facts = Recording.objects.get(session=one).manifest or {}
    manifest = services.recordings.seal.seal(plain, path, recording_key(), seal_key(), facts["facts"])
    Recording.objects.filter(session=one).update(
        manifest=json.loads(json.dumps(manifest.as_dict())), sha256=manifest.sha256
    )
    for word in (one.label, path):
        code, _, err = verify(word)
        assert (code, "tells of another seal" in err) == (1, True)


def test_a_missing_file_is_damage_and_a_stray_file_too(one: SSHSession) -> None:
    path = store().sealed_path(one.pk)
    path.rename(store().sealed_path(uuid.uuid4()))
    code, _, err = verify("--all")
    assert code == 1
    assert f"DAMAGED  {one.label}: the sealed file is missing" in err
    assert "no session in the database" in err


def test_a_session_still_open_is_listed_not_judged(
    cast: Cast, time: FrozenClock, settings: object, tmp_path: Path
) -> None:
    session = opened(cast, time, tmp_path, settings)
    assert verify("--all")[:2] == (
        0,
        f"OPEN     {session.label}: the session is going on\n0 intact, 1 open, 0 damaged\n",
    )
    services.end_session(session.pk, EndReason.CLIENT_CLOSED, Totals(1, 26), time.now)
    assert "waits to be sealed" in verify(session.pk)[1]
    store().open_path(session.pk).unlink()
    code, _, err = verify(session.pk)
    assert (code, "missing and was never sealed" in err) == (1, True)


def test_what_is_not_there_exits_2(one: SSHSession) -> None:
    for words in (["S-999"], ["nowhere.cast"], [str(uuid.uuid4())], [], ["--all", one.label]):
        with pytest.raises(CommandError) as error:
            call_command("verify_recording", *words)
        assert error.value.returncode == 2
