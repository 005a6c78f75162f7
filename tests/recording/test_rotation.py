"""The key of recordings: where it comes from, what happens without it, and how it is changed without rewriting one."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from breakglass import config
from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import AuditEvent, Grant, Notice
from breakglass.services import vault
from sessions import services
from sessions.models import Recording, SSHSession
from sessions.recording import keyring
from sessions.recording.keyring import Keyring, KeyUnavailable, key_name
from sessions.services import recording_keys, rotation
from sessions.services.holdings import store
from tests.recording.keeping import kept_copy, local, verify
from tests.services import stage
from tests.services.scene import Scene, last, refused, trail_text
from tests.support.object_store import ObjectStoreServer, alter, objects, use

ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))


def text(key: bytes) -> str:
    return base64.b64encode(key).decode()


@pytest.fixture(autouse=True)
def _own_disk(settings: Any, tmp_path: Path) -> Iterator[None]:
    stage.keep_in(settings, tmp_path)
    recording_keys.forget()
    yield
    recording_keys.forget()


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStoreServer]:
    running = ObjectStoreServer()
    yield running
    running.close()


@pytest.fixture
def given(settings: Any) -> Any:
    """Sets the key in use and the older ones."""

    def give(key: bytes | None, *older: bytes, **more: Any) -> None:
        changes = {
            "recording_key": text(key) if key else "",
            "recording_keys_old": ",".join(map(text, older)),
        }
        settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update=changes | more)

    return give


@pytest.fixture
def sealed(scene: Scene, grant: Grant) -> SSHSession:
    """A sealed session with a kept copy, under the key that is derived from the master key."""
    session = stage.sealed(scene, grant)
    kept_copy(scene, session)
    return session


def rotate(*words: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("rotate_recording_key", *words, stdout=out, stderr=out)
    except SystemExit as left:
        return int(left.code or 0), out.getvalue()
    return 0, out.getvalue()


def replay(scene: Scene, session: SSHSession) -> bytes:
    return b"".join(services.open_replay(session.pk, scene.cast.vera, scene.now))


def reads_all(scene: Scene, session: SSHSession) -> None:
    assert stage.HELLO.strip() in replay(scene, session)
    _, pieces = services.open_kept_copy(session.pk, "9.1", scene.cast.vera, scene.now)
    assert b"".join(pieces)
    assert verify("--all")[0] == 0


# --- changed


def test_after_a_change_of_key_nothing_was_rewritten_and_all_is_read(
    sealed: SSHSession, scene: Scene, given: Any
) -> None:
    before = {path: path.read_bytes() for path in local(sealed)}
    given(ONE)
    reads_all(scene, sealed)
    code, said = rotate()
    assert (code, "2 wrapped anew, 0 were already, 0 failed" in said) == (0, True)
    assert {path: path.read_bytes() for path in local(sealed)} == before
    assert keyring.name_in(keyring.beside(store().sealed_path(sealed.pk)).read_bytes()) == key_name(ONE)
    reads_all(scene, sealed)
    told = last("key:rotated").data
    assert (told["key"], told["from"], told["files"]) == (
        key_name(ONE),
        {key_name(vault.derive("recordings")): 2},
        2,
    )
    assert last("key:rotating").seq < last("key:rotated").seq


def test_the_old_key_is_needed_until_then_and_no_more_after(scene: Scene, grant: Grant, given: Any) -> None:
    given(ONE)
    session = stage.sealed(scene, grant)
    kept_copy(scene, session)
    given(TWO)
    with refused(Code.RECORDING_DAMAGED):
        replay(scene, session)
    code, said = rotate("--check")
    assert code == 1
    assert f"key {key_name(ONE)} is needed, and isn't given" in said
    given(TWO, ONE)
    code, said = rotate("--check")
    assert (code, f"key {key_name(ONE)}: needed for 2 files" in said) == (1, True)
    assert rotate()[0] == 0
    code, said = rotate("--check")
    assert (code, f"key {key_name(ONE)}: needed no more" in said) == (0, True)
    given(TWO)
    assert rotate("--check")[0] == 0
    Recording.objects.update(problem="")
    reads_all(scene, session)


def test_again_changes_nothing_and_a_third_key_follows(sealed: SSHSession, scene: Scene, given: Any) -> None:
    given(ONE)
    rotate()
    rows = AuditEvent.objects.count()
    wraps = [keyring.beside(path).read_bytes() for path in local(sealed)]
    assert "0 wrapped anew, 2 were already" in rotate()[1]
    assert [keyring.beside(path).read_bytes() for path in local(sealed)] == wraps
    assert AuditEvent.objects.count() == rows
    given(THREE, ONE)
    assert "2 wrapped anew" in rotate()[1]
    given(THREE)
    reads_all(scene, sealed)


def test_going_back_to_the_key_that_a_file_carries_itself_works(
    sealed: SSHSession, scene: Scene, given: Any
) -> None:
    given(ONE)
    rotate()
    given(None)  # the derived key, and ONE is lost
    reads_all(scene, sealed)


def test_what_is_in_the_object_store_is_wrapped_there(
    sealed: SSHSession, scene: Scene, given: Any, settings: Any, server: ObjectStoreServer
) -> None:
    server.empty()
    use(settings, server.url())
    services.store_due(lambda: scene.now)
    before = objects(settings)
    given(ONE)
    assert "2 wrapped anew" in rotate()[1]
    after = objects(settings)
    assert {name: after[name] for name in before} == before
    assert {name for name in after if name.endswith(".key")} == {f"{name}.key" for name in before}
    reads_all(scene, sealed)
    assert rotate("--check")[0] == 0
    alter(f"sealed/{sealed.pk}.cast.sealed.key", b"nonsense")
    with refused(Code.RECORDING_DAMAGED):
        replay(scene, sealed)
    assert rotate("--check")[0] == 1


@pytest.mark.parametrize("fault", ["flipped", "of another file", "empty"])
def test_a_newer_wrap_that_was_altered_is_noticed(
    sealed: SSHSession, scene: Scene, grant: Grant, given: Any, fault: str
) -> None:
    other = stage.sealed(scene, grant)
    given(ONE)
    rotate()
    path = keyring.beside(store().sealed_path(sealed.pk))
    line = bytearray(path.read_bytes())
    if fault == "flipped":
        line[60] = line[60] ^ 1
    elif fault == "empty":
        line = bytearray()
    else:
        line = bytearray(keyring.beside(store().sealed_path(other.pk)).read_bytes())
    path.write_bytes(line)
    assert verify(sealed.label)[0] == 1
    assert verify(other.label)[0] == 0
    assert rotate()[0] == 1


def test_the_files_own_first_lines_are_bound_though_their_key_is_gone(
    scene: Scene, grant: Grant, given: Any
) -> None:
    given(ONE)
    session = stage.sealed(scene, grant)
    given(TWO, ONE)
    rotate()
    given(TWO)
    path = store().sealed_path(session.pk)
    raw = bytearray(path.read_bytes())
    at = raw.index(b'"key":"') + 10
    raw[at] = ord("0") if raw[at] != ord("0") else ord("1")
    path.write_bytes(raw)
    assert verify(session.label)[0] == 1


KILLED = """
import os, signal, sys
sys.path.insert(0, os.getcwd())
from pathlib import Path
from types import FrameType
from sessions.recording import files, keyring

def run(folder, wanted):
    seen = 0
    def trace(frame, event, argument):
        nonlocal seen
        if frame.f_code.co_filename not in (keyring.__file__, files.__file__):
            return None
        if event == "line":
            seen += 1
            if seen == wanted:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    path = Path(folder) / "a"
    head = path.read_bytes()[:50]
    keys = keyring.Keyring(bytes([2]) * 32, bytes([1]) * 32)
    data_key = keyring.unwrap_line(keys, keyring.read_beside(path), head)
    keyring.write_beside(path, keyring.wrap_line(keys, data_key, head))
    sys.settrace(None)

folder = sys.argv[1]
wanted = 1
while True:
    child = os.fork()
    if child == 0:
        run(folder, wanted)
        os._exit(0)
    if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
        break
    path = Path(folder) / "a"
    keys = keyring.Keyring(bytes([2]) * 32, bytes([1]) * 32)
    line = keyring.read_beside(path)
    assert keyring.unwrap_line(keys, line, path.read_bytes()[:50]) == b"d" * 32, wanted
    if keyring.name_in(line) == keys.name:
        first = keyring.wrap_line(keyring.Keyring(bytes([1]) * 32), b"d" * 32, path.read_bytes()[:50])
        keyring.write_beside(path, first)
    wanted += 1
print(wanted)
"""


def test_sigkill_before_any_line_of_the_replacement_leaves_a_wrap_that_opens(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    line = keyring.wrap_line(Keyring(ONE), b"d" * 32, b"x" * 50)
    keyring.write_beside(tmp_path / "a", line)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 20


@pytest.mark.parametrize("after", [0, 1])
def test_a_run_that_dies_is_finished_by_the_next(
    sealed: SSHSession, scene: Scene, given: Any, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    given(ONE)
    with monkeypatch.context() as dead:
        write, seen = keyring.write_beside, []

        def die(path: Path, line: bytes) -> None:
            if len(seen) == after:
                raise KeyboardInterrupt
            seen.append(path)
            write(path, line)

        dead.setattr(keyring, "write_beside", die)
        with pytest.raises(KeyboardInterrupt):
            rotation.rotate(scene.now, lambda one: None)
    assert last("key:rotating").data["from"], "begun is told before it is done"
    reads_all(scene, sealed)
    assert f"{2 - after} wrapped anew, {after} were already" in rotate()[1]
    assert rotate("--check")[0] == 0


# --- where the key comes from


def script(folder: Path, body: str) -> str:
    path = folder / "kms.sh"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return str(path)


def test_a_program_may_give_the_key(scene: Scene, grant: Grant, given: Any, tmp_path: Path) -> None:
    given(None, recording_key_command=script(tmp_path, f"echo {text(ONE)}; echo noise >&2"))
    session = stage.sealed(scene, grant)
    kept_copy(scene, session)
    reads_all(scene, session)
    given(ONE)
    reads_all(scene, session)
    given(
        TWO,
        recording_keys_old_command=script(tmp_path, f"echo {text(THREE)},; echo {text(ONE)}"),
        recording_key_command="",
    )
    reads_all(scene, session)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("exit 3", "ended with status 3"),
        ("echo nonsense", "didn't say 32 bytes"),
        ("echo c2hvcnQ=", "didn't say 32 bytes"),
        ("true", "didn't say 32 bytes"),
        ("sleep 60 & sleep 60", "didn't end within"),
        ("yes", "said too much"),
        ("exec >&-; sleep 60", "didn't end within"),
    ],
)
def test_a_program_that_fails_is_named_and_its_words_are_not(
    given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, says: str
) -> None:
    monkeypatch.setattr(recording_keys, "PATIENCE", 0.5 if "within" in says else 30.0)
    given(None, recording_key_command=script(tmp_path, body) + " --token s3cret")
    with pytest.raises(KeyUnavailable) as error:
        recording_keys.keyring()
    assert says in str(error.value)
    assert "kms.sh (BREAKGLASS_RECORDING_KEY_COMMAND)" in str(error.value)
    assert "s3cret" not in str(error.value)


def test_a_program_that_isnt_there_is_named(given: Any) -> None:
    given(None, recording_key_command="/nowhere/kms")
    with pytest.raises(KeyUnavailable, match=r"kms \(BREAKGLASS_RECORDING_KEY_COMMAND\) can't be run"):
        recording_keys.keyring()
    with pytest.raises(CommandError) as error:
        call_command("rotate_recording_key")
    assert error.value.returncode == 2


def test_the_program_sees_none_of_our_settings_and_is_not_asked_each_time(
    given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BREAKGLASS_MASTER_KEY", text(THREE))
    saw = tmp_path / "saw"
    given(
        None, recording_key_command=script(tmp_path, f"env >> {saw}; echo CALLED >> {saw}; echo {text(ONE)}")
    )
    for _ in range(3):
        assert recording_keys.keyring().current == ONE
    assert saw.read_text().count("CALLED") == 1
    assert "BREAKGLASS" not in saw.read_text()


def test_without_the_key_nothing_is_sealed_shown_or_lost(
    sealed: SSHSession, scene: Scene, given: Any
) -> None:
    waiting = stage.ended(scene, sealed.grant)
    plain = store().open_path(waiting.pk).read_bytes()
    given(None, recording_key_command="/nowhere/kms")
    Notice.objects.all().delete()
    assert services.seal_due(scene.now) == 0
    with refused(Code.RECORDING_UNAVAILABLE) as said:
        replay(scene, sealed)
    assert "kms (BREAKGLASS_RECORDING_KEY_COMMAND)" in said[0].message
    with refused(Code.RECORDING_UNAVAILABLE):
        services.open_kept_copy(sealed.pk, "9.1", scene.cast.vera, scene.now)
    assert verify(sealed.label)[0] == 3
    assert store().open_path(waiting.pk).read_bytes() == plain
    found = Recording.objects.get(session=waiting)
    assert (found.state, found.problem) == ("open", "")
    assert "kms" in found.store_problem
    assert not Notice.objects.exists()
    given(None, recording_key_command="")
    assert services.seal_due(scene.now) == 1
    assert Recording.objects.get(session=waiting).store_problem == ""


def test_no_key_is_told(
    sealed: SSHSession, given: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    given(ONE, TWO)
    said = rotate()[1] + rotate("--check")[1] + trail_text() + caplog.text + repr(settings.BREAKGLASS)
    for key in (ONE, TWO, vault.derive("recordings")):
        for spelling in (text(key), key.hex()):
            assert spelling not in said


# --- settings


KEYS = {"BREAKGLASS_SECRET_KEY": "x" * 40, "BREAKGLASS_MASTER_KEY": text(THREE)}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("RECORDING_KEY", "c2hvcnQ=", "must be 32 bytes in base64, not 5"),
        ("RECORDING_KEY", "!", "must be 32 bytes in base64"),
        ("RECORDING_KEY", f"{text(ONE)},{text(TWO)}", "must be one key"),
        ("RECORDING_KEYS_OLD", f"{text(ONE)},nonsense", "must be 32 bytes in base64"),
        ("RECORDING_KEY_COMMAND", "kms 'unclosed", "can't be read as a command"),
        ("STORAGE_URL", "https://host/bucket", "must be s3://"),
        ("STORAGE_URL", "s3://host:port/bucket", "port can't be read"),
        ("STORAGE_URL", "s3://KEY@host/bucket", "needs both KEY and SECRET"),
        ("STORAGE_URL", "s3://K:s3cret@host/", "must name a bucket"),
        ("STORAGE_URL", "s3://K:s3cret@host/bucket/../x", "its prefix may hold"),
        ("STORAGE_URL", "s3://K:s3cret@host/bucket?colour=red", "after ? it takes"),
        ("STORAGE_URL", "s3://K:s3cret@host/bucket?tls=maybe", "tls is 0 or 1"),
        ("RETENTION_DAYS", "-1", "greater than or equal to 0"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_not_repeated(name: str, value: str, says: str) -> None:
    with pytest.raises(config.ConfigError) as error:
        config.load({**KEYS, f"BREAKGLASS_{name}": value})
    assert str(error.value).startswith(f"BREAKGLASS_{name}: ")
    assert says in str(error.value)
    assert "s3cret" not in str(error.value)
    assert text(ONE) not in str(error.value)


def test_a_key_and_a_program_for_it_are_one_too_many() -> None:
    with pytest.raises(config.ConfigError, match="not both"):
        config.load(
            {**KEYS, "BREAKGLASS_RECORDING_KEY": text(ONE), "BREAKGLASS_RECORDING_KEY_COMMAND": "kms"}
        )


def test_keys_and_the_stores_secret_may_lie_in_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(text(ONE) + "\n")
    (tmp_path / "old").write_text(f"{text(TWO)}\n{text(THREE)}\n")
    (tmp_path / "url").write_text(
        "s3://K%2F1:s%40cret@[::1]:9000/bucket/a/b?region=eu-west-1&style=virtual&write=0\n"
    )
    read = config.load(
        KEYS
        | {
            "BREAKGLASS_RECORDING_KEY_FILE": str(tmp_path / "key"),
            "BREAKGLASS_RECORDING_KEYS_OLD_FILE": str(tmp_path / "old"),
            "BREAKGLASS_STORAGE_URL_FILE": str(tmp_path / "url"),
        }
    )
    assert config.keys_in(read.recording_keys_old) == (TWO, THREE)
    where = read.object_store
    assert where is not None
    assert (where.key, where.secret, where.endpoint) == ("K/1", "s@cret", "https://[::1]:9000")
    assert (where.bucket, where.prefix, where.region, where.writable) == ("bucket", "a/b", "eu-west-1", False)
    assert where.place == "https://[::1]:9000/bucket/a/b"
