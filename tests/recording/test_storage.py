"""Sealed recordings in an object store: sent, read back, and only then gone from the disk. The S3 server is a real one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time as real_time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import Grant, Notice
from sessions import object_storage, services, tasks
from sessions.models import Recording, SSHSession
from sessions.recording import keyring
from sessions.services import holdings, remote, storing
from sessions.services.holdings import store
from tests.recording.keeping import kept_copy, local, verify
from tests.services import stage
from tests.services.scene import Scene, last, refused, tags, trail_text
from tests.support.fault_proxy import FaultProxy
from tests.support.object_store import SECRET, LyingStore, ObjectStoreServer, alter, objects, use


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStoreServer]:
    running = ObjectStoreServer()
    yield running
    running.close()


@pytest.fixture
def s3(server: ObjectStoreServer, settings: Any, tmp_path: Path) -> ObjectStoreServer:
    """An empty bucket, named by the settings; recordings of the test on a disk of its own."""
    server.empty()
    use(settings, server.url(), tmp_path)
    return server


@pytest.fixture
def liar(s3: ObjectStoreServer, settings: Any) -> Iterator[LyingStore]:
    proxy = LyingStore(s3.port)
    use(settings, s3.url(proxy.port))
    yield proxy
    proxy.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of silence is enough."""
    monkeypatch.setattr(object_storage, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(object_storage, "READ_SECONDS", 1)


@pytest.fixture
def sealed(s3: ObjectStoreServer, scene: Scene, grant: Grant) -> SSHSession:
    return stage.sealed(scene, grant)


def sweep(scene: Scene) -> int:
    return services.store_due(lambda: scene.now)


def row(session: SSHSession) -> Recording:
    return Recording.objects.get(session=session)


def replay(scene: Scene, session: SSHSession) -> bytes:
    return b"".join(services.open_replay(session.pk, scene.cast.vera, scene.now))


# --- stored


def test_a_sealed_recording_and_its_kept_copies_go_and_then_the_disk_is_free(
    sealed: SSHSession, scene: Scene, settings: Any
) -> None:
    kept_copy(scene, sealed)
    before = {path.name: path.read_bytes() for path in local(sealed)}
    assert sweep(scene) == 1
    assert local(sealed) == []
    assert {Path(name).name: content for name, content in objects(settings).items()} == before
    found = row(sealed)
    assert (found.stored_at, found.local_removed_at, found.store_problem) == (scene.now, scene.now, "")
    told = last("recording:stored").data
    assert (told["files"], told["sha256"]) == (2, found.sha256)
    assert told["bytes"] == sum(map(len, before.values()))
    assert sweep(scene) == 0
    assert tags(sealed).count("recording:stored") == 1


def test_the_worker_does_it_by_itself(sealed: SSHSession, settings: Any) -> None:
    asked = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert {tasks.store.name, tasks.retain.name} <= asked
    tasks.store()
    assert row(sealed).stored_at
    tasks.retain()
    assert len(objects(settings)) == 1


def test_replay_download_kept_copy_and_check_read_what_is_stored(sealed: SSHSession, scene: Scene) -> None:
    moved = kept_copy(scene, sealed)
    sweep(scene)
    assert stage.HELLO.strip() in replay(scene, sealed)
    assert stage.HELLO.strip() in b"".join(services.read_recording(row(sealed)))
    _, pieces = services.open_kept_copy(sealed.pk, "9.1", scene.cast.vera, scene.now)
    assert b"".join(pieces) == moved
    assert verify(sealed.label) == (0, f"INTACT   {sealed.label}")
    assert not any((store().root / "fetched").iterdir())


def test_what_is_large_goes_in_parts(
    sealed: SSHSession, scene: Scene, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(object_storage, "PART", 5 * 1024 * 1024)
    use(settings, settings.BREAKGLASS.storage_url)
    big = stage.ended(scene, sealed.grant)
    path = store().open_path(big.pk)
    path.unlink()
    stage.record(big, random.Random(7).randbytes(12 * 1024 * 1024))
    assert services.seal_recording(big.pk, scene.now)
    content = store().sealed_path(big.pk).read_bytes()
    assert len(content) > 2 * 5 * 1024 * 1024
    assert sweep(scene) == 2
    assert objects(settings)[f"sealed/{big.pk}.cast.sealed"] == content
    assert verify(big.label)[0] == 0


def test_without_the_setting_nothing_goes_and_switching_it_on_later_takes_all(
    s3: ObjectStoreServer, settings: Any, scene: Scene, grant: Grant
) -> None:
    use(settings, "")
    old = stage.sealed(scene, grant)
    assert sweep(scene) == 0
    assert store().sealed_path(old.pk).exists()
    use(settings, s3.url())
    assert sweep(scene) == 1


def test_switched_to_read_only_new_ones_stay_and_old_ones_are_read(
    sealed: SSHSession, s3: ObjectStoreServer, scene: Scene, settings: Any
) -> None:
    sweep(scene)
    use(settings, s3.url(more="&write=0"))
    new = stage.sealed(scene, sealed.grant)
    assert sweep(scene) == 0
    assert stage.HELLO.strip() in replay(scene, sealed)
    assert stage.HELLO.strip() in replay(scene, new)


def test_no_secret_is_told(
    sealed: SSHSession, scene: Scene, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    use(settings, settings.BREAKGLASS.storage_url.replace("recordings/house", "absent/house"))
    sweep(scene)
    said = caplog.text + trail_text() + row(sealed).store_problem + repr(settings.BREAKGLASS)
    assert "NoSuchBucket" in said
    for spelling in (SECRET, SECRET.replace("/", "%2F").replace("+", "%2B")):
        assert spelling not in said


# --- what fails


def failed(scene: Scene, session: SSHSession, says: str) -> None:
    """Nothing was stored, nothing deleted, and the reason stands on the row."""
    before = {path: path.read_bytes() for path in local(session)}
    assert sweep(scene) == 0
    found = row(session)
    assert says in found.store_problem
    assert found.stored_at is None
    assert {path: path.read_bytes() for path in local(session)} == before
    assert before
    assert found.store_next_at is not None
    assert scene.now < found.store_next_at <= scene.now + storing.FIRST_PAUSE
    assert "recording:stored" not in tags(session)


def test_a_store_that_is_away_is_tried_again_ever_more_slowly_and_auditors_are_told(
    sealed: SSHSession, s3: ObjectStoreServer, settings: Any, scene: Scene
) -> None:
    with FaultProxy("127.0.0.1", s3.port) as proxy:
        use(settings, s3.url(proxy.port))
        proxy.cut(refuse=True)
        failed(scene, sealed, "sealed/")
        assert sweep(scene) == 0
        assert row(sealed).store_tries == 1, "before its time it isn't tried"
        Notice.objects.all().delete()
        pauses = []
        for _ in range(storing.ALARM_AFTER):
            found = row(sealed)
            assert found.store_next_at
            pauses.append(found.store_next_at - scene.now)
            scene.time.set_wall(found.store_next_at)
            sweep(scene)
        assert pauses[-1] > 2 * pauses[0]
        assert [notice.person for notice in Notice.objects.all()] == [scene.cast.otto]
        assert last("recording:store_failed").data["tries"] == storing.ALARM_AFTER
        proxy.mend()
        scene.time.forward(hours=7)
        assert sweep(scene) == 1
        assert row(sealed).store_problem == ""


@pytest.mark.parametrize("fault", ["stall", "swallow", "trickle"])
def test_a_store_that_hangs_holds_nobody_up_for_long(
    sealed: SSHSession,
    s3: ObjectStoreServer,
    settings: Any,
    scene: Scene,
    impatient: None,
    fault: str,
) -> None:
    with FaultProxy("127.0.0.1", s3.port) as proxy:
        use(settings, s3.url(proxy.port))
        getattr(proxy, fault)(*([40.0] if fault == "trickle" else []))
        failed(scene, sealed, "sealed/")


def test_a_store_whose_bytes_trickle_is_given_up_though_it_never_stops(
    sealed: SSHSession, s3: ObjectStoreServer, settings: Any, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(scene)
    monkeypatch.setattr(remote, "GRACE", 0.2)
    monkeypatch.setattr(remote, "SLOWEST", 1 << 40)
    with FaultProxy("127.0.0.1", s3.port) as proxy:
        use(settings, s3.url(proxy.port))
        proxy.trickle(2000.0)
        with pytest.raises(remote.StoreAway, match=r"only \d+ bytes went in"):
            remote.Remote().digest(f"sealed/{sealed.pk}.cast.sealed")


def test_a_connection_that_is_cut_in_the_middle_costs_nothing(
    sealed: SSHSession, s3: ObjectStoreServer, liar: LyingStore, scene: Scene
) -> None:
    liar.truncate, liar.cut = 100, True
    failed(scene, sealed, "sealed/")
    liar.truncate, liar.cut = 0, False
    scene.time.forward(minutes=1)
    assert sweep(scene) == 1


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_store_that_refuses_is_told_by_name(
    sealed: SSHSession, liar: LyingStore, scene: Scene, status: int
) -> None:
    body = b"<Error><Code>Overslept</Code><Message>no</Message></Error>"
    liar.answer = lambda method, path: (status, body) if method == "PUT" else None
    failed(scene, sealed, "Overslept")


def test_a_store_that_answers_rubbish_is_noticed(sealed: SSHSession, liar: LyingStore, scene: Scene) -> None:
    liar.answer = lambda method, path: (200, b"\x00<rubbish")
    failed(scene, sealed, "sealed/")


@pytest.mark.parametrize("lie", ["drops", "other bytes", "shorter"])
def test_a_store_that_takes_a_file_and_gives_another_back_is_found_out(
    sealed: SSHSession, liar: LyingStore, scene: Scene, lie: str
) -> None:
    Notice.objects.all().delete()
    size = store().sealed_path(sealed.pk).stat().st_size

    def answer(method: str, path: str) -> tuple[int, bytes] | None:
        if lie == "drops" and method == "PUT":
            return 200, b""
        if lie == "other bytes" and method == "GET" and ".cast.sealed" in path:
            return 200, b"x" * size
        return None

    liar.answer = answer
    liar.truncate = 10 if lie == "shorter" else 0
    failed(scene, sealed, "came back")
    assert last("recording:store_failed").data["problem"] == row(sealed).store_problem
    assert [notice.person for notice in Notice.objects.all()] == [scene.cast.otto]


def test_one_bad_file_holds_up_no_other(sealed: SSHSession, scene: Scene, settings: Any) -> None:
    path = store().sealed_path(sealed.pk)
    raw = bytearray(path.read_bytes())
    raw[-300] ^= 1
    path.write_bytes(raw)
    assert sweep(scene) == 0
    scene.time.forward(minutes=5)
    good = stage.sealed(scene, sealed.grant)
    assert storing._due(scene.now) == [good.pk, sealed.pk]
    assert sweep(scene) == 1
    assert row(good).stored_at
    assert row(sealed).stored_at is None
    assert path.read_bytes() == bytes(raw)
    assert [name for name in objects(settings) if str(sealed.pk) in name] == []


def test_a_damaged_kept_copy_stays_where_it_is(sealed: SSHSession, scene: Scene) -> None:
    kept_copy(scene, sealed)
    path = store().kept_path(sealed.pk, 9, 1)
    raw = bytearray(path.read_bytes())
    raw[-30] ^= 1
    path.write_bytes(raw)
    failed(scene, sealed, "kept file")


def test_a_local_file_that_changed_after_it_was_stored_is_not_removed_unseen(
    sealed: SSHSession, scene: Scene, settings: Any
) -> None:
    storing.store_recording(sealed.pk, lambda: scene.now)
    kept_copy(scene, sealed)  # came late
    sweep(scene)
    assert local(sealed) == []
    assert len(objects(settings)) == 2
    assert last("recording:stored").data["files"] == 2
    assert verify(sealed.label)[0] == 0


@pytest.mark.parametrize("where", ["flipped", "cut", "gone"])
def test_what_somebody_changed_in_the_store_is_neither_shown_nor_called_intact(
    sealed: SSHSession, scene: Scene, settings: Any, where: str
) -> None:
    sweep(scene)
    name, content = objects(settings).popitem()
    if where == "gone":
        remote.Remote().delete(name)
    else:
        alter(name, content[:-7] if where == "cut" else content[:400] + b"\x00" + content[401:])
    Notice.objects.all().delete()
    with refused(Code.RECORDING_DAMAGED):
        replay(scene, sealed)
    assert [notice.person for notice in Notice.objects.all()] == [scene.cast.otto]
    assert verify(sealed.label)[0] == 1


def test_while_the_store_is_away_a_replay_says_so_and_nobody_is_alarmed(
    sealed: SSHSession, scene: Scene, s3: ObjectStoreServer, settings: Any
) -> None:
    sweep(scene)
    Notice.objects.all().delete()
    with FaultProxy("127.0.0.1", s3.port) as proxy:
        use(settings, s3.url(proxy.port))
        proxy.cut(refuse=True)
        for _ in range(2):
            with refused(Code.RECORDING_UNAVAILABLE):
                replay(scene, sealed)
        assert verify(sealed.label)[0] == 3
    use(settings, "")
    with refused(Code.RECORDING_UNAVAILABLE) as said:
        replay(scene, sealed)
    assert "BREAKGLASS_STORAGE_URL" in said[0].message
    assert not Notice.objects.exists()
    assert row(sealed).problem == ""


def test_a_recording_too_large_for_the_disk_is_not_fetched(
    sealed: SSHSession, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(scene)
    monkeypatch.setattr("sessions.recording.store.Store.free_bytes", lambda self: self.least_free)
    with refused(Code.RECORDING_UNAVAILABLE) as said:
        replay(scene, sealed)
    assert "too little is free" in said[0].message


# --- crashes and races


def test_a_worker_that_dies_before_it_wrote_down_what_it_sent_is_followed_by_another(
    sealed: SSHSession, scene: Scene, monkeypatch: pytest.MonkeyPatch, liar: LyingStore
) -> None:
    with monkeypatch.context() as dead:
        dead.setattr(storing, "_commit", _die)
        with pytest.raises(KeyboardInterrupt):
            sweep(scene)
    assert sweep(scene) == 0, "it is claimed"
    scene.time.forward(minutes=16)
    liar.seen.clear()
    assert sweep(scene) == 1
    assert [method for method, _ in liar.seen if method == "PUT"] == [], "what came whole isn't sent again"


def test_a_removal_that_was_cut_off_is_finished_and_loses_nothing(
    sealed: SSHSession, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_copy(scene, sealed)
    with monkeypatch.context() as dead:
        dead.setattr(holdings, "remove_local", _die)
        with pytest.raises(KeyboardInterrupt):
            sweep(scene)
    store().kept_path(sealed.pk, 9, 1).unlink()  # as far as it had come
    assert stage.HELLO.strip() in replay(scene, sealed)
    sweep(scene)
    assert local(sealed) == []
    assert tags(sealed).count("recording:stored") == 1
    assert verify(sealed.label)[0] == 0


def test_two_workers_store_it_once(sealed: SSHSession, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second comes while the first sends; and on another machine, where no lock is shared."""
    send = storing._send
    others: list[bool] = []

    def slowly(*arguments: Any) -> Any:
        others.append(bool(sweep(scene)))
        others.append(storing.store_recording(sealed.pk, lambda: scene.now))
        return send(*arguments)

    monkeypatch.setattr(storing, "_send", slowly)
    assert sweep(scene) == 1
    assert others == [False, False]
    assert tags(sealed).count("recording:stored") == 1


def test_a_newer_wrap_goes_with_its_file(sealed: SSHSession, scene: Scene, settings: Any) -> None:
    path = store().sealed_path(sealed.pk)
    from sessions.services import recording_keys
    from sessions.services.rotation import rotate

    new = "bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmU="
    settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"recording_key": new})
    rotate(scene.now, lambda one: None)
    wrap = keyring.beside(path).read_bytes()
    sweep(scene)
    assert not keyring.beside(path).exists()
    assert objects(settings)[f"sealed/{path.name}.key"] == wrap
    assert keyring.name_in(wrap) == recording_keys.keyring().name
    assert stage.HELLO.strip() in replay(scene, sealed)


KILLED = """
import json, os, signal, sys
import django
django.setup()
from pathlib import Path
from django.conf import settings
from tests.support.object_store import use
from sessions.services.remote import Remote
use(settings, sys.argv[1], Path(sys.argv[2]))
print("sending", flush=True)
Remote().put(sys.argv[3], Path(sys.argv[4]))
print("sent", flush=True)
"""


def test_sigkill_in_the_middle_of_an_upload_leaves_nothing_that_counts(
    sealed: SSHSession, s3: ObjectStoreServer, scene: Scene, settings: Any, tmp_path: Path
) -> None:
    """A process that sends is killed while the network holds its bytes back; the next one stores it whole."""
    path = store().sealed_path(sealed.pk)
    name = holdings.name_of(path)
    with FaultProxy("127.0.0.1", s3.port) as proxy:
        proxy.trickle(100.0)
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, s3.url(proxy.port), str(tmp_path), name, str(path)],
            stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        )  # fmt: skip
        assert child.stdout
        assert child.stdout.readline() == b"sending\n"
        until = real_time.monotonic() + 30
        while not proxy._pairs and real_time.monotonic() < until:
            real_time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert child.stdout.read() == b""
        child.stdout.close()
    assert name not in objects(settings)
    assert sweep(scene) == 1
    assert verify(sealed.label)[0] == 0


def _die(*_: object) -> None:
    raise KeyboardInterrupt
