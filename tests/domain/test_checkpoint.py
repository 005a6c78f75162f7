"""Checkpoints are C2SP's, byte for byte: the vectors are those of the specifications and of Go's note package."""

from __future__ import annotations

from pathlib import Path

import pytest

from breakglass.domain import checkpoint as c
from breakglass.domain.checkpoint import Checkpoint
from breakglass.services.notes import KeyUnusable, Signer, make_key, opened, read_key

VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
NOTE = f"{TEXT}\n\N{EM DASH} PeterNeumann {SIGNATURE}\n"
PUBLISHED = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\N{EM DASH} example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
SIGNER = Signer("broker.example/audit", bytes(range(32)))


def a_note(size: int = 7) -> str:
    return SIGNER.sign(Checkpoint("broker.example/audit", size, bytes(32)).text())


def test_our_signature_is_gos_to_the_byte() -> None:
    signer = Signer.of(SECRET)
    assert str(signer.key) == VERIFIER
    assert signer.sign(TEXT) == NOTE
    assert signer.secret() == SECRET


def test_a_verifier_key_reads_back() -> None:
    key = c.key_of(VERIFIER)
    assert (key.name, key.id.hex(), str(key)) == ("PeterNeumann", "c74f20a3", VERIFIER)


@pytest.mark.parametrize("place", range(len(VERIFIER)))
def test_a_verifier_key_with_a_changed_letter_is_refused(place: int) -> None:
    wrong = VERIFIER[:place] + chr(ord(VERIFIER[place]) + 1) + VERIFIER[place + 1 :]
    with pytest.raises(ValueError, match=r"."):
        c.key_of(wrong)


def test_the_published_checkpoint_is_read() -> None:
    note = c.note_of(PUBLISHED)
    found = c.checkpoint_of(note.text)
    assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20852163)
    assert found.text() == note.text
    assert note.signatures[0][0] == found.origin


def test_a_checkpoint_of_ours_opens_with_our_key_only() -> None:
    found, key = opened(a_note(), c.key_of(VERIFIER), SIGNER.key)
    assert (found, key) == (Checkpoint("broker.example/audit", 7, bytes(32)), SIGNER.key)
    with pytest.raises(ValueError, match="isn't signed by a key that is known here"):
        opened(a_note(), c.key_of(VERIFIER))


def test_another_key_of_the_same_name_is_another_key() -> None:
    with pytest.raises(ValueError, match="known here"):
        opened(a_note(), Signer(SIGNER.key.name, bytes(32)).key)


def test_any_changed_byte_shows() -> None:
    raw = a_note().encode()
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        with pytest.raises(ValueError, match=r"."):
            opened(changed.decode(), SIGNER.key)


def test_a_witness_may_sign_below() -> None:
    witness = Signer("witness.example/w", bytes(32)).sign(c.note_of(a_note()).text)
    both = a_note() + witness.rpartition("\n\n")[2]
    assert opened(both, SIGNER.key)[0].size == 7


@pytest.mark.parametrize(
    "text",
    ["a\n7\n", "a\n07\nAAAA\n", "a\n-1\n" + "A" * 44 + "\n", "\n7\n" + "A" * 44 + "\n", "a\n7\nAAAA\n", "a\n7\n\nx\n",
     "a\n7\n" + c.b64(bytes(32))],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        c.checkpoint_of(text)


@pytest.mark.parametrize(
    "text", ["", "a\n", "a\n\nb\n", "a\n\n\N{EM DASH} b AAAAAA==", "a\r\n\n\N{EM DASH} b AAAAAA==\n"]
)
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        c.note_of(text)


def test_notes_one_after_the_other_come_apart() -> None:
    notes = [a_note(size) for size in (1, 20, 300)]
    assert c.notes_in("".join(notes)) == notes
    assert c.notes_in("\n".join(notes) + "\n\n") == notes
    assert c.notes_in("") == []


# --- the key's file


def test_a_new_key_is_its_owners_alone_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = make_key(path, "broker.example/audit")
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(path).key == made.key
    with pytest.raises(FileExistsError):
        make_key(path, "broker.example/audit")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_key_that_others_may_touch_is_not_used(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    make_key(path, "a")
    path.chmod(mode)
    with pytest.raises(KeyUnusable, match="chmod 600"):
        read_key(path)


def test_a_key_that_is_none_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(KeyUnusable, match="No such file"):
        read_key(path)
    path.write_text(SECRET.replace("c74f20a3", "c74f20a4"))
    path.chmod(0o600)
    with pytest.raises(KeyUnusable, match="its id"):
        read_key(path)
