"""verify.py as a stranger runs it: a Python without anything of ours, on a bundle that somebody has had in their hands."""

from __future__ import annotations

import ast
import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sessions.evidence import bundle, sshsig, verify, zipped
from sessions.evidence.case import as_json
from sessions.evidence.zipped import Member, measure
from sessions.services import evidence
from tests.evidence.house import SIGNER, House, Told, member, names_in, stranger, unpacked

PROGRAM = bundle.VERIFIER
Files = dict[str, bytes]


_made: dict[str, bytes] = {}


@pytest.fixture
def data(request: pytest.FixtureRequest) -> bytes:
    """A whole bundle, made once: what is done to it here needs no house."""
    if not _made:
        _made["whole"] = request.getfixturevalue("done").zipped()
    return _made["whole"]


def files_of(data: bytes) -> Files:
    return {name: member(data, name) for name in names_in(data)}


def rebuilt(files: Files, key: Ed25519PrivateKey | None = None) -> bytes:
    """A bundle of these files, signed anew: what somebody could make who holds the key, or who thinks up one."""
    key = key or evidence.evidence_key()
    listed = [
        measure(Member.of(name, data)) for name, data in files.items() if not name.startswith("manifest.json")
    ]
    manifest = json.loads(files["manifest.json"])
    manifest["files"] = [{"path": one.path, "size": one.size, "sha256": one.sha256} for one in listed]
    text = as_json(manifest)
    signed = [
        Member.of("manifest.json", text),
        Member.of("manifest.json.sig", sshsig.sign(text, key, bundle.NAMESPACE)),
    ]
    return b"".join(zipped.pieces([*map(measure, signed), *listed]))


def on_disk(folder: Path, data: bytes) -> Path:
    path = folder / "evidence.zip"
    path.write_bytes(data)
    return path


def check(folder: Path, data: bytes, *words: str | Path) -> Told:
    return stranger(PROGRAM, on_disk(folder, data), *words)


def quietly(path: Path) -> tuple[int, str]:
    """In this process, for thousands of runs. Whatever comes out of it but a code is a traceback."""
    out = io.StringIO()
    return verify.main([str(path)], out), out.getvalue()


# --- intact


def test_a_whole_bundle_is_intact_as_zip_and_as_folder(done: House) -> None:
    data = done.zipped(with_files=True)
    folder = done.unpacked(data)
    for told in (check(done.folder, data), stranger(PROGRAM, folder), stranger(folder / "verify.py")):
        assert told.code == 0, told.says
        assert told.says.rstrip().endswith("INTACT")
        assert "inclusion proofs lead to the root of the checkpoint" in told.says
        assert "as sealed and as the audit trail has it" in told.says
        assert "the bundle's" not in told.says


def test_it_says_what_it_can_not_know(done: House) -> None:
    data = done.zipped()
    told = check(done.folder, data)
    assert "unknown whether SHA256:" in told.says
    assert "whether broker.example/audit is the notary's key" in told.says
    signers = done.folder / "signers"
    signers.write_text(evidence.public_key())
    told = check(done.folder, data, "--key", signers, "--checkpoint-key", str(SIGNER.key))
    assert "that is the key which you gave" in told.says
    assert "unknown whether" not in told.says
    assert check(done.folder, data, "--key", evidence.fingerprint()).code == 0
    # The export of that bundle has a row, which no checkpoint covers yet.
    assert "they are younger than the checkpoint" in check(done.folder, done.zipped()).says


def test_it_is_one_file_for_python_3_9_with_the_standard_library_alone(data: bytes, tmp_path: Path) -> None:
    text = PROGRAM.read_text()
    tree = ast.parse(text, feature_version=(3, 9))
    assert member(data, "verify.py") == text.encode()
    imported = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    imported |= {
        str(node.module).partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }
    assert imported <= {
        "__future__", "argparse", "base64", "binascii", "collections", "hashlib", "json", "os", "shutil", "struct",
        "subprocess", "sys", "tempfile", "typing", "zlib", "cryptography",
    }  # fmt: skip


# --- one flipped byte


def test_any_one_flipped_byte_shows(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte of the zip's own structure, of manifest and signature, and a sample of each file's inside."""
    monkeypatch.setattr(verify.shutil, "which", lambda _: None)
    files = files_of(data)
    for name in (
        "report.html",
        "report.pdf",
        "verify.py",
        "standards.json",
        "timeline.svg",
        "policy/runbook.md",
    ):
        files[name] = files[name][:60]
    data = rebuilt(files)
    path = on_disk(tmp_path, data)
    assert quietly(path)[0] == 0
    rng = random.Random(4)
    inside = set()
    at = 0
    for name, content in files.items():
        at += 30 + len(name)
        if not name.startswith("manifest.json"):
            inside |= set(range(at, at + len(content))) - set(
                rng.sample(range(at, at + len(content)), min(8, len(content)))
            )
        at += len(content)
    places = [place for place in range(len(data)) if place not in inside]
    sample = {*rng.sample(places, 200), *places[-(22 + 46 * 3) :], *range(30)}
    missed = []
    for place in sorted(sample):
        altered = bytearray(data)
        altered[place] ^= 1 << rng.randrange(8)
        path.write_bytes(altered)
        code, says = quietly(path)
        if code == 0 or "NOT INTACT" not in says:
            missed.append((place, altered[place]))
    assert missed == []


def test_a_cut_or_lengthened_zip_shows(data: bytes, tmp_path: Path) -> None:
    for altered in (data[:-1], data[: len(data) // 2], data[:10], b"", data + b"\0", b"\0" + data):
        path = on_disk(tmp_path, altered)
        code, says = quietly(path)
        assert code, says
        assert "NOT INTACT" in says


def test_bytes_hidden_between_the_files_show(data: bytes, tmp_path: Path) -> None:
    """Python's zipfile, and most programs, would pass over them."""
    files = files_of(data)
    measured = [measure(Member.of(name, data)) for name, data in files.items()]
    whole = b"".join(zipped.pieces(measured))
    with_comment = whole[:-2] + b"\x05\x00hello"
    told = check(tmp_path, with_comment)
    assert told.code == 8


# --- each kind of tampering, in a bundle that was signed anew by the house's own key


def altered_row(files: Files) -> None:
    files["audit/rows.jsonl"] = files["audit/rows.jsonl"].replace(b"rita", b"rota", 1)


def row_taken_from_elsewhere(files: Files) -> None:
    """Whole in itself, but never in the trail."""
    rows = [json.loads(line) for line in files["audit/rows.jsonl"].splitlines()]
    rows[-1]["body"] = rows[-1]["body"].replace("in_order", "question")
    rows[-1]["hash"] = verify.row_hash(rows[-1]["previous"], rows[-1]["body"].encode())
    files["audit/rows.jsonl"] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def forged_checkpoint(files: Files) -> None:
    text = files["audit/checkpoint.txt"].decode()
    body, _, _ = text.partition("\n\n")
    from breakglass.domain.checkpoint import signed

    other = Ed25519PrivateKey.generate()
    files["audit/checkpoint.txt"] = signed(
        body + "\n", SIGNER.key, other.sign(body.encode() + b"\n")
    ).encode()


def cast_of(files: Files) -> str:
    return next(name for name in files if name.endswith(".cast"))


def altered_recording(files: Files) -> None:
    files[cast_of(files)] = files[cast_of(files)].replace(b"uptime", b"reboot")


def cut_recording(files: Files) -> None:
    files[cast_of(files)] = files[cast_of(files)][:-20]


def missing_recording(files: Files) -> None:
    del files[cast_of(files)]


def other_seal(files: Files) -> None:
    name = cast_of(files).replace(".cast", ".seal.json")
    files[name] = files[name].replace(b'"events":', b'"events":1')


def other_playbook(files: Files) -> None:
    files["policy/playbook.json"] = files["policy/playbook.json"].replace(b"historian", b"histerian", 1)


@pytest.mark.parametrize(
    ("tamper", "code", "names"),
    [
        (altered_row, 1, "is broken: its hash doesn't follow from its bytes"),
        (row_taken_from_elsewhere, 11, "its inclusion proof is wrong"),
        (forged_checkpoint, 7, "checkpoint: its signature isn't of key broker.example/audit"),
        (altered_recording, 5, "altered in bytes 0 to"),
        (cut_recording, 5, "truncated after"),
        (missing_recording, 5, ".cast is missing"),
        (other_seal, 5, "the signature of its seal is wrong"),
        (other_playbook, 8, "isn't the playbook that the grant names"),
    ],
)
def test_what_is_not_true_shows_though_the_house_signed_it(
    data: bytes, tmp_path: Path, tamper: Callable[[Files], None], code: int, names: str
) -> None:
    files = files_of(data)
    before = dict(files)
    tamper(files)
    assert files != before
    told = check(tmp_path, rebuilt(files))
    assert (told.code, names in told.says) == (code, True), told.says


def test_a_broken_row_is_named_by_its_number(data: bytes, tmp_path: Path) -> None:
    files = files_of(data)
    rows = [json.loads(line) for line in files["audit/rows.jsonl"].splitlines()]
    seq = rows[3]["seq"]
    rows[3]["body"] = rows[3]["body"].replace('"tag":"', '"tag":"x', 1)
    files["audit/rows.jsonl"] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    told = check(tmp_path, rebuilt(files))
    assert told.code == 1
    assert f"audit row {seq} is broken" in told.says


def test_another_signer_shows_to_whoever_knows_the_key(data: bytes, tmp_path: Path) -> None:
    data = rebuilt(files_of(data), Ed25519PrivateKey.generate())
    assert check(tmp_path, data).code == 0  # whole in itself; that is all one can know without the key
    told = check(tmp_path, data, "--key", evidence.fingerprint())
    assert told.code == 10
    assert "not by the one that you gave" in told.says


def test_a_signature_of_something_else_shows(data: bytes, tmp_path: Path) -> None:
    files = files_of(data)
    files["manifest.json.sig"] = sshsig.sign(b"something else", evidence.evidence_key(), bundle.NAMESPACE)
    told = check(tmp_path, b"".join(zipped.pieces([measure(Member.of(*pair)) for pair in files.items()])))
    assert told.code == 9


def test_a_signature_for_another_purpose_shows(data: bytes, tmp_path: Path) -> None:
    files = files_of(data)
    files["manifest.json.sig"] = sshsig.sign(files["manifest.json"], evidence.evidence_key(), "git")
    told = check(tmp_path, b"".join(zipped.pieces([measure(Member.of(*pair)) for pair in files.items()])))
    assert (told.code, "made for another purpose" in told.says) == (9, True)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("approvals.json", 8),
        ("report.pdf", 8),
        ("recordings/S-1.cast", 5),
        ("verify.py", 8),
        ("audit/rows.jsonl", 1),
    ],
)
def test_an_altered_file_in_a_folder_is_named(data: bytes, tmp_path: Path, name: str, code: int) -> None:
    folder = unpacked(tmp_path / "bundle", data)
    name = name.replace("S-1", "S-1")
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    told = stranger(PROGRAM, folder)
    assert told.code == code, told.says
    assert f"{name} was altered" in told.says


def test_missing_and_added_files_are_named(data: bytes, tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "bundle", data)
    (folder / "approvals.json").unlink()
    (folder / "recordings" / "S-99.cast").write_bytes(b"{}")
    (folder / ".DS_Store").write_bytes(b"x")
    told = stranger(PROGRAM, folder)
    assert told.code == 8
    assert "approvals.json is missing" in told.says
    assert "recordings/S-99.cast was added" in told.says
    assert "DS_Store" not in told.says


def test_what_is_no_bundle_is_said_to_be_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert stranger(PROGRAM, empty).code == 8
    assert stranger(PROGRAM, tmp_path / "nothing").code == 2
    noise = tmp_path / "noise"
    noise.write_bytes(bytes(range(256)))
    assert stranger(PROGRAM, noise).code == 1


def test_forms_that_nobody_wrote_end_in_words_not_in_a_traceback(data: bytes, tmp_path: Path) -> None:
    """JSON of any shape in place of each file: signed, so that the checks behind the signature see it."""
    base = files_of(data)
    odd = [
        b"null",
        b"[]",
        b"{}",
        b"[1]",
        b'{"seq":"x"}\n',
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"body":{}}',
        b"9" * 5000,
    ]
    for name in ("audit/rows.jsonl", "audit/checkpoint.txt", "recordings.json", "grant.json"):
        for content in odd:
            data = rebuilt(base | {name: content})
            code, says = quietly(on_disk(tmp_path, data))
            assert code or (name, content) == ("recordings.json", b"[]"), (name, content, says)
    for content in odd:
        signed = {
            "manifest.json": content,
            "manifest.json.sig": sshsig.sign(content, evidence.evidence_key(), bundle.NAMESPACE),
        }
        data = b"".join(zipped.pieces([measure(Member.of(*pair)) for pair in (base | signed).items()]))
        code, says = quietly(on_disk(tmp_path, data))
        assert code, (content, says)


def test_nothing_in_evidence_reaches_the_terminal(data: bytes, tmp_path: Path) -> None:
    files = files_of(data)
    manifest = json.loads(files["manifest.json"])
    manifest["cannot_show"] = ["\x1b]0;owned\x07 \u202e"]
    files["manifest.json"] = as_json(manifest)
    told = check(tmp_path, rebuilt(files))
    assert "\x1b" not in told.says
    assert "\u202e" not in told.says


# --- signatures: three ways must agree


def test_the_ed25519_of_the_verifier_agrees_with_the_library() -> None:
    rng = random.Random(8032)
    for size in (0, 1, 33, 1000):
        key, message = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32)), rng.randbytes(size)
        public, signature = key.public_key().public_bytes_raw(), key.sign(message)
        assert verify.ed25519_holds(public, message, signature)
        for place in rng.sample(range(64), 8):
            wrong = bytearray(signature)
            wrong[place] ^= 1 << rng.randrange(8)
            assert not verify.ed25519_holds(public, message, bytes(wrong))
        high = (int.from_bytes(signature[32:], "little") + verify.L).to_bytes(32, "little")
        assert not verify.ed25519_holds(public, message, signature[:32] + high)
        assert not verify.ed25519_holds(public, message + b"x", signature)
    # RFC 8032, section 7.1, test 2
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert verify.ed25519_holds(public, b"\x72", signature)


def test_without_ssh_keygen_it_checks_the_signature_all_the_same(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shutil.which("ssh-keygen")
    path = on_disk(tmp_path, data)
    assert "stock ssh-keygen agrees" in quietly(path)[1]
    monkeypatch.setattr(verify.shutil, "which", lambda _: None)
    code, says = quietly(path)
    assert (code, "ssh-keygen" in says) == (0, False)
    assert "signature of manifest.json by key SHA256:" in says


def test_where_ssh_keygen_disagrees_it_is_not_intact(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = on_disk(tmp_path, data)
    monkeypatch.setattr(verify, "ssh_keygen_says", lambda *_: False)
    assert quietly(path)[0] == 9


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "value"),
    [("signed_at", "2026-03-02T00:00:00.000000+00:00"), ("verdict", "violation"), ("note", "x"), ("reviewer", {"id": 0})],
)  # fmt: skip
def test_a_review_that_says_something_else_than_the_audit_rows_is_named(
    name: str, value: object, data: bytes, tmp_path: Path
) -> None:
    """Also when the house itself signed it: `signed_at` is the time of the row."""
    files = files_of(data)
    review = json.loads(files["review.json"])
    files["review.json"] = as_json({**review, name: value})
    out = io.StringIO()
    assert verify.main([str(on_disk(tmp_path, rebuilt(files)))], out) == verify.ALTERED, out.getvalue()
    assert "review.json: signature 1 isn't what the audit rows say" in out.getvalue()


@pytest.mark.django_db
@pytest.mark.parametrize("left_out", [{"signed_at": None}, None])
def test_a_signature_that_is_left_out_of_the_review_is_missed(
    left_out: dict[str, object] | None, data: bytes, tmp_path: Path
) -> None:
    files = files_of(data)
    review = None if left_out is None else json.loads(files["review.json"]) | left_out
    files["review.json"] = as_json(review)
    out = io.StringIO()
    assert verify.main([str(on_disk(tmp_path, rebuilt(files)))], out) == verify.ALTERED, out.getvalue()
    assert "the audit rows tell of 1 signature(s) of the review, review.json of 0" in out.getvalue()


@pytest.mark.django_db
def test_the_reviews_signatures_are_compared(data: bytes, tmp_path: Path) -> None:
    out = io.StringIO()
    assert verify.main([str(on_disk(tmp_path, data))], out) == 0, out.getvalue()
    assert "1 signature(s) of the review" in out.getvalue()
