"""A sealed recording proves itself: each changed byte is named, and sealing never risks the only copy."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions.recording import seal as seal_module
from sessions.recording.files import RecordingBusy
from sessions.recording.recorder import Recorder
from sessions.recording.seal import Manifest, RecordingDamaged, open_sealed, seal, verify
from sessions.recording.sealed import CHUNK, FRAMES_START, MAGIC, open_frame, seal_frame
from tests.recording.scene import HEADER, REPOSITORY, HandClock, Keys, session

FACTS = {"session": "0b5e", "ended": "client_closed", "people": ["rita"], "quote": "café \u2028"}


def sealed_session(folder: Path, keys: Keys, plain: bytes | None = None) -> tuple[bytes, Path, Manifest]:
    path = folder / "a.cast"
    if plain is None:
        plain = session(path)
    path.write_bytes(plain)
    out = folder / "a.sealed"
    return plain, out, seal(path, out, keys.encryption, keys.signing, FACTS)


def long_recording(size: int) -> bytes:
    chance = random.Random(7)
    header = json.dumps({"version": 2, **HEADER}).encode() + b"\n"
    lines = [header]
    while size > 0:
        line = b'[1.0,"o","%s"]\n' % chance.randbytes(300).hex().encode()
        lines.append(line)
        size -= len(line)
    return b"".join(lines)


def test_what_was_sealed_comes_back_byte_for_byte(tmp_path: Path, keys: Keys) -> None:
    plain, out, manifest = sealed_session(tmp_path, keys)
    assert b"".join(open_sealed(out, keys.encryption, keys.public)) == plain
    assert not (tmp_path / "a.cast").exists()
    assert manifest.sha256 == hashlib.sha256(plain).hexdigest()
    assert (manifest.size, manifest.events, manifest.ended) == (len(plain), plain.count(b"\n") - 1, "closed")
    assert manifest.facts == FACTS
    assert out.stat().st_mode & 0o777 == 0o600
    assert verify(out, keys.encryption, keys.public) == manifest


@settings(max_examples=25, deadline=None)
@given(
    size=st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 5]),
    fill=st.binary(min_size=1),
)
def test_any_bytes_of_any_length_come_back(
    size: int, fill: bytes, keys: Keys, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plain = (fill * (size // len(fill) + 1))[: size - 1] + b"\n" if size else b""
    _, out, manifest = sealed_session(tmp_path_factory.mktemp("s"), keys, plain)
    assert b"".join(open_sealed(out, keys.encryption, keys.public)) == plain
    assert len(manifest.chunks) == max(1, -(-size // CHUNK))


def test_a_manifest_survives_a_json_column(tmp_path: Path, keys: Keys) -> None:
    _, out, manifest = sealed_session(tmp_path, keys)
    remembered = Manifest.from_dict(json.loads(json.dumps(manifest.as_dict())))
    assert remembered == manifest
    remembered.check(keys.public)
    verify(out, keys.encryption, keys.public, manifest=remembered)


def test_nothing_of_the_session_can_be_read_without_the_key(tmp_path: Path, keys: Keys) -> None:
    _, out, _ = sealed_session(tmp_path, keys, long_recording(5000) + b'[2.0,"o","the secret"]\n')
    assert b"the secret" not in out.read_bytes()
    with pytest.raises(RecordingDamaged, match=r"key \w+ is needed"):
        verify(out, b"x" * 32, keys.public)


def test_each_flipped_bit_is_named(tmp_path: Path, keys: Keys) -> None:
    _, out, manifest = sealed_session(tmp_path, keys)
    raw = out.read_bytes()
    frames_end = FRAMES_START + 4 + manifest.frames[0]
    altered = tmp_path / "altered.sealed"
    for at in range(len(raw)):
        for bit in {1 << at % 8, 0x20}:  # 0x20: capital for small, as hex readers let pass
            altered.write_bytes(raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :])
            with pytest.raises(RecordingDamaged) as damage:
                open_sealed(altered, keys.encryption, keys.public)
            place = damage.value.place
            if at < len(MAGIC):
                assert place == "first line"
            elif at < FRAMES_START:
                assert place == "second line"
            elif at < frames_end:
                assert place.startswith("chunk 0 ")
            else:
                assert place in ("manifest", "last line", "length")


def test_damage_names_its_chunk_and_no_byte_is_given_out_before(tmp_path: Path, keys: Keys) -> None:
    _, out, manifest = sealed_session(tmp_path, keys, long_recording(5 * CHUNK))
    raw = bytearray(out.read_bytes())
    at = FRAMES_START + sum(manifest.frames[:3]) + 4 * 3 + 1000
    raw[at] ^= 1
    out.write_bytes(raw)
    with pytest.raises(RecordingDamaged) as damage:
        open_sealed(out, keys.encryption, keys.public)
    assert damage.value.place == f"chunk 3 (bytes {3 * CHUNK} to {4 * CHUNK} of the recording)"
    assert str(out.name) in str(damage.value)


def test_a_shortened_file_is_named_at_any_length(tmp_path: Path, keys: Keys) -> None:
    _, out, _ = sealed_session(tmp_path, keys)
    raw = out.read_bytes()
    for size in range(len(raw)):
        out.write_bytes(raw[:size])
        with pytest.raises(RecordingDamaged):
            verify(out, keys.encryption, keys.public)
    out.write_bytes(raw + b"\n")
    with pytest.raises(RecordingDamaged):
        verify(out, keys.encryption, keys.public)


def test_chunks_can_not_be_swapped_dropped_or_borrowed(tmp_path: Path, keys: Keys) -> None:
    unit = b'[1.0,"o","' + b"x" * (CHUNK // 2 - 13) + b'"]\n'
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    _, out, manifest = sealed_session(tmp_path / "one", keys, unit * 6)
    _, other, _ = sealed_session(tmp_path / "two", keys, unit * 6)
    raw, length = out.read_bytes(), manifest.frames[0] + 4
    assert manifest.frames[0] == manifest.frames[1]
    first, second = raw[FRAMES_START:][:length], raw[FRAMES_START + length :][:length]
    borrowed = other.read_bytes()[FRAMES_START:][:length]
    for beginning, place in (
        (second + first, "chunk 0 "),
        (borrowed + second, "chunk 0 "),
        (first * 2, "chunk 1 "),
    ):
        out.write_bytes(raw[:FRAMES_START] + beginning + raw[FRAMES_START + 2 * length :])
        with pytest.raises(RecordingDamaged) as damage:
            verify(out, keys.encryption, keys.public)
        assert damage.value.place.startswith(place)
    out.write_bytes(raw[:FRAMES_START] + raw[FRAMES_START + length :])
    with pytest.raises(RecordingDamaged, match="shorter or longer"):
        verify(out, keys.encryption, keys.public)


def test_who_has_the_encryption_key_can_not_rewrite_the_session(tmp_path: Path, keys: Keys) -> None:
    _, out, manifest = sealed_session(tmp_path, keys, long_recording(20_000))
    raw = out.read_bytes()
    wrapped = json.loads(raw[len(MAGIC) : FRAMES_START])["key"]
    data_key = aes_key_unwrap(keys.encryption, bytes.fromhex(wrapped))
    frame = raw[FRAMES_START + 4 : FRAMES_START + 4 + manifest.frames[0]]
    plain = open_frame(data_key, 0, True, frame)
    for digit in range(256):  # a change that packs to the same length
        forged = seal_frame(data_key, 0, True, plain.replace(plain[500:503], b"%03d" % digit, 1))
        if len(forged) == len(frame) + 4 and forged[4:] != frame:
            break
    out.write_bytes(raw[:FRAMES_START] + forged + raw[FRAMES_START + len(forged) :])
    with pytest.raises(RecordingDamaged, match="SHA-256") as damage:
        verify(out, keys.encryption, keys.public)
    assert damage.value.place.startswith("chunk 0 ")


def test_another_signer_and_another_recording_are_refused(tmp_path: Path, keys: Keys) -> None:
    _, out, manifest = sealed_session(tmp_path, keys)
    with pytest.raises(RecordingDamaged, match="signed by key"):
        verify(out, keys.encryption, Ed25519PrivateKey.generate().public_key())
    on_record = Manifest.from_dict({**manifest.as_dict(), "facts": {"session": "another"}})
    with pytest.raises(RecordingDamaged, match="the one on record"):
        verify(out, keys.encryption, keys.public, manifest=on_record)


def test_sealing_twice_is_sealing_once(tmp_path: Path, keys: Keys) -> None:
    plain, out, manifest = sealed_session(tmp_path, keys)
    before = out.read_bytes()
    assert seal(tmp_path / "a.cast", out, keys.encryption, keys.signing, FACTS) == manifest
    (tmp_path / "a.cast").write_bytes(plain)
    assert seal(tmp_path / "a.cast", out, keys.encryption, keys.signing, FACTS) == manifest
    assert out.read_bytes() == before
    assert not (tmp_path / "a.cast").exists()


def test_a_plain_file_that_differs_from_the_sealed_one_is_kept(tmp_path: Path, keys: Keys) -> None:
    plain, out, _ = sealed_session(tmp_path, keys)
    (tmp_path / "a.cast").write_bytes(plain.replace(b"exit", b"edit"))
    with pytest.raises(RecordingDamaged, match="both were kept"):
        seal(tmp_path / "a.cast", out, keys.encryption, keys.signing, FACTS)
    assert (tmp_path / "a.cast").exists()
    assert out.exists()


def test_a_damaged_sealed_file_does_not_cost_the_plain_one(tmp_path: Path, keys: Keys) -> None:
    plain, out, _ = sealed_session(tmp_path, keys)
    (tmp_path / "a.cast").write_bytes(plain)
    out.write_bytes(out.read_bytes()[:-1])
    with pytest.raises(RecordingDamaged):
        seal(tmp_path / "a.cast", out, keys.encryption, keys.signing, FACTS)
    assert (tmp_path / "a.cast").read_bytes() == plain


def test_a_plain_file_altered_since_it_was_written_is_not_sealed(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "a.cast"
    recorder = Recorder(path, HEADER, clock=HandClock())
    recorder.output(1, b"rm -rf /\r\n")
    end = recorder.close()
    honest = path.read_bytes()
    path.write_bytes(honest.replace(b"rm -rf", b"ls -la"))
    with pytest.raises(RecordingDamaged, match="what the recorder wrote"):
        seal(path, tmp_path / "o", keys.encryption, keys.signing, {}, expected_sha256=end.sha256)
    assert [file.name for file in tmp_path.iterdir()] == ["a.cast"]
    path.write_bytes(honest)
    seal(path, tmp_path / "o", keys.encryption, keys.signing, {}, expected_sha256=end.sha256)


def test_a_torn_or_live_recording_is_not_sealed(tmp_path: Path, keys: Keys) -> None:
    recorder = Recorder(tmp_path / "live.cast", HEADER, clock=HandClock())
    with pytest.raises(RecordingBusy):
        seal(recorder.path, tmp_path / "o", keys.encryption, keys.signing, {})
    recorder.close()
    torn = tmp_path / "torn.cast"
    torn.write_bytes(recorder.path.read_bytes()[:-1])
    with pytest.raises(RecordingDamaged, match="torn"):
        seal(torn, tmp_path / "o", keys.encryption, keys.signing, {})
    assert torn.exists()
    with pytest.raises(FileNotFoundError):
        seal(tmp_path / "nothing.cast", tmp_path / "o", keys.encryption, keys.signing, {})


def test_a_sealed_file_that_does_not_read_back_is_not_trusted(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = session(tmp_path / "a.cast")
    real = os.fsync

    def bad_disk(descriptor: int) -> None:
        real(descriptor)
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if name.suffix == seal_module.DRAFT:
            with name.open("r+b") as file:
                file.seek(FRAMES_START + 50)
                file.write(b"\0\0\0\0")

    monkeypatch.setattr(os, "fsync", bad_disk)
    with pytest.raises(RecordingDamaged):
        seal(tmp_path / "a.cast", tmp_path / "o", keys.encryption, keys.signing, {})
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.cast", plain)]


def test_a_full_disk_while_sealing_keeps_the_plain_file_and_leaves_no_draft(
    small_disk: Path, keys: Keys
) -> None:
    path = small_disk / "a.cast"
    plain = b"".join(b'[1.0,"o","%s"]\n' % os.urandom(300).hex().encode() for _ in range(4800))
    path.write_bytes(plain)
    with pytest.raises(OSError, match="No space left"):
        seal(path, small_disk / "o", keys.encryption, keys.signing, {})
    assert [file.name for file in small_disk.iterdir()] == ["a.cast"]
    assert path.read_bytes() == plain


def test_sigkill_at_any_line_of_the_sealing_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.recording.kill_at_each_line", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    lines, states = map(int, done.stdout.split())
    assert lines > 150  # each was a place to die at
    assert states >= 4  # before, with a draft, with both, with the sealed one only


def test_memory_stays_small_for_a_long_recording(tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "a.cast").write_bytes(long_recording(20 * CHUNK))
    tracemalloc.start()
    seal(tmp_path / "a.cast", tmp_path / "o", keys.encryption, keys.signing, {})
    for _ in open_sealed(tmp_path / "o", keys.encryption, keys.public):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * CHUNK
