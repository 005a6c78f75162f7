#!/usr/bin/env python3
"""Check evidence of Breakglass without Breakglass: one file, Python 3.9 or later, nothing else needed.

    python3 -I verify.py BUNDLE.zip           an evidence bundle, or the folder that it was unpacked to
    python3 -I verify.py FOLDER --key KEY     KEY: the house's evidence key, from elsewhere than the bundle:
                                              its fingerprint (SHA256:...), or a .pub or allowed_signers file
    python3 -I verify.py TRAIL.jsonl          a whole audit trail, as `manage.py export_audit` writes it, or its folder
    ... --checkpoint FILE                     a checkpoint of the audit trail that you kept; or many, as an anchor has them
    ... --checkpoint-key K                    the notary's key, from elsewhere: NAME+ID+BASE64, or a file with it

-I keeps Python from importing what lies beside this file: in a folder that somebody altered, that would run first.

Exit code: 0 intact; 1 a row of the audit trail is broken; 2 it can't be read, or is no evidence; 3 the trail was
truncated; 4 the trail was forked; 5 a recording is altered, truncated or missing; 7 a checkpoint's signature is wrong;
8 another file is altered, missing or added; 9 the bundle's signature is wrong; 10 it is signed by another key than --key;
11 an inclusion proof is wrong. Of several the gravest; each has a line that names the place. (6 is `verify_audit`'s.)

What can't be known from what was given is said, too. Signatures are checked by the Ed25519 below (RFC 8032, plain
Python), and again by `ssh-keygen -Y` and Python's `cryptography` where this machine has them: all must agree.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, Dict, TextIO, Tuple, Union  # noqa: UP035 - evaluated below, on Python 3.9 too

NAMESPACE = "breakglass-evidence"
FORMAT = "breakglass evidence bundle 1"
ROW, UNREADABLE, TRUNCATED, FORKED, RECORDING = 1, 2, 3, 4, 5
CHECKPOINT, ALTERED, SIGNATURE, SIGNER, PROOF = 7, 8, 9, 10, 11
GRAVEST_FIRST = (UNREADABLE, SIGNATURE, SIGNER, TRUNCATED, FORKED, RECORDING, ROW, PROOF, CHECKPOINT, ALTERED)
MANIFEST, MANIFEST_SIG = "manifest.json", "manifest.json.sig"
ROWS, CHECKPOINT_FILE = "audit/rows.jsonl", "audit/checkpoint.txt"
TRAIL, CHECKPOINT_BESIDE, NOTARY_KEY = "trail.jsonl", "checkpoint.txt", "notary.key"
STRAY = {".DS_Store", "Thumbs.db", "desktop.ini"}
BLOCK = 1024 * 1024
MOST_TEXT = 256 * BLOCK
GENESIS = "0" * 64
Row = Dict[str, Any]  # noqa: UP006
Point = Tuple[int, int, int, int]  # noqa: UP006
Options = argparse.Namespace


class Wrong(Exception):
    """Something isn't as it must be; `code` is the exit code."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(what)
        self.code = code


class Report:
    """What was found, said as it is found."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.codes: list[int] = []
        self.unknown: list[str] = []

    def ok(self, what: str) -> None:
        self._say("ok     ", what)

    def bad(self, code: int, what: str) -> None:
        self.codes.append(code)
        self._say("BAD    ", what)

    def note(self, what: str) -> None:
        self._say("note   ", what)

    def cannot_know(self, what: str) -> None:
        self.unknown.append(what)

    def end(self) -> int:
        for what in self.unknown:
            self._say("unknown", what)
        code = next((code for code in GRAVEST_FIRST if code in self.codes), 0)
        self._say("", f"NOT INTACT: {len(self.codes)} found, exit code {code}" if code else "INTACT")
        return code

    def _say(self, kind: str, what: str) -> None:
        text = (kind + " " if kind else "") + printable(what)
        try:
            print(text, file=self.out)
        except UnicodeEncodeError:  # a terminal that knows few letters
            print(text.encode("ascii", "backslashreplace").decode(), file=self.out)


def printable(text: object) -> str:
    """Evidence is written by others: nothing in it may reach a terminal but plain characters."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in str(text))


# --- Ed25519 (RFC 8032, section 5.1.7): verifying only, so nothing here is secret and slow is fine

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def _add(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(factor: int, point: Point) -> Point:
    result = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            result = _add(result, point)
        point, factor = _add(point, point), factor >> 1
    return result


def _point(encoded: bytes) -> Point | None:
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - xx) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")) or (0, 1, 1, 0)


def ed25519_holds(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether this key (32 bytes) made this signature (64 bytes); asked of `cryptography` as well, where it is."""
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r, s = _point(key), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    left, right = _times(s, BASE), _add(r, _times(k, a))
    same = (left[0] * right[2] - right[0] * left[2]) % P == 0 == (left[1] * right[2] - right[1] * left[2]) % P
    return same and _cryptography_agrees(key, message, signature)


def _cryptography_agrees(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except (ImportError, OSError, AttributeError):  # it is one check more, not the check
        return True
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


# --- SSHSIG (OpenSSH's PROTOCOL.sshsig) and OpenSSH's keys


def _strings(blob: bytes, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        length = struct.unpack(">I", blob[:4])[0]
        if len(blob) < 4 + length:
            raise ValueError("it is cut short")
        found.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    if blob:
        raise ValueError("something follows it")
    return found


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _armored(blob: bytes) -> str:
    text = base64.b64encode(blob).decode()
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def sshsig_key(message: bytes, armor: bytes, namespace: str) -> bytes:
    """The raw key that signed the message. Raises Wrong. One spelling only: a changed byte of the armor shows, too."""
    try:
        blob = base64.b64decode("".join(armor.decode("ascii").split("\n")[1:-2]), validate=True)
        if _armored(blob).encode() != armor or blob[:10] != b"SSHSIG\0\0\0\1":
            raise ValueError("it isn't spelled as it was written")
        key, name, reserved, algorithm, signature = _strings(blob[10:], 5)
        key_type, raw = _strings(key, 2)
        signature_type, signature = _strings(signature, 2)
        if (key_type, signature_type) != (b"ssh-ed25519", b"ssh-ed25519") or reserved:
            raise ValueError("it isn't of an ed25519 key")
        if name != namespace.encode() or algorithm != b"sha512":
            raise ValueError("it was made for another purpose")
    except (ValueError, struct.error, binascii.Error) as error:
        raise Wrong(SIGNATURE, f"{MANIFEST_SIG} can't be read: {error}") from None
    signed = b"SSHSIG" + _string(name) + _string(b"") + _string(algorithm)
    if not ed25519_holds(raw, signed + _string(hashlib.sha512(message).digest()), signature):
        raise Wrong(SIGNATURE, f"the signature {MANIFEST_SIG} isn't of this {MANIFEST}")
    return raw


def fingerprint(raw: bytes) -> str:
    digest = hashlib.sha256(_string(b"ssh-ed25519") + _string(raw)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def ssh_keygen_says(message: bytes, armor: bytes) -> bool | None:
    """True or False as stock ssh-keygen has it; None where there is none, or one from before -Y."""
    program = shutil.which("ssh-keygen")
    if program is None:
        return None
    with tempfile.NamedTemporaryFile(suffix=".sig") as file:
        file.write(armor)
        file.flush()
        order = [program, "-Y", "check-novalidate", "-n", NAMESPACE, "-s", file.name]
        try:
            done = subprocess.run(order, input=message, capture_output=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
    if b"illegal option" in done.stderr or b"unknown option" in done.stderr:
        return None
    return done.returncode == 0


# --- where the files are: a folder, or a zip of which each byte is accounted for


class Folder:
    kind = "folder"

    def __init__(self, root: str) -> None:
        self.root = root

    def names(self) -> list[str]:
        found = []
        for folder, folders, files in os.walk(self.root):
            folders.sort()
            inside = os.path.relpath(folder, self.root).replace(os.sep, "/")
            found += [name if inside == "." else inside + "/" + name for name in sorted(files)]
        return [name for name in found if name.rpartition("/")[2] not in STRAY]

    def pieces(self, name: str) -> Iterator[bytes]:
        path = os.path.join(self.root, *name.split("/"))
        if os.path.islink(path) or (
            os.path.exists(path) and not os.path.isfile(path)
        ):  # a link may lead to what never ends
            raise Wrong(ALTERED, f"{name} is no plain file")
        with open(path, "rb") as source:
            yield from iter(lambda: source.read(BLOCK), b"")

    def check(self, names: list[str]) -> None:
        pass


LOCAL, CENTRAL, END = (
    struct.Struct("<IHHHHHIIIHH"),
    struct.Struct("<IHHHHHHIIIHHHHHII"),
    struct.Struct("<IHHHHIIH"),
)


def local_header(name: bytes, crc: int, size: int) -> bytes:
    return LOCAL.pack(0x04034B50, 20, 0, 0, 0, 33, crc, size, size, len(name), 0) + name


def central_header(name: bytes, crc: int, size: int, at: int) -> bytes:
    head = (0x02014B50, 788, 20, 0, 0, 0, 33, crc, size, size, len(name), 0, 0, 0, 0, 0o100644 << 16, at)
    return CENTRAL.pack(*head) + name


class Zip:
    """Not Python's zipfile, which passes over bytes that don't matter to it: here all of them do."""

    kind = "zip"

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: dict[str, tuple[int, int, int]] = {}
        self.oddities: list[str] = []
        with open(path, "rb") as source:
            try:
                self._read(source, os.fstat(source.fileno()).st_size)
            except (struct.error, UnicodeDecodeError):
                raise Wrong(ALTERED, f"{path}: its directory is damaged") from None

    def _read(self, source: BinaryIO, size: int) -> None:
        source.seek(max(size - END.size, 0))
        end = source.read()
        magic, _, _, _, count, length, start, _ = END.unpack(end)
        if magic != 0x06054B50 or start + length + END.size != size:
            raise Wrong(ALTERED, f"{self.path}: truncated, or its end was altered")
        if end != END.pack(magic, 0, 0, count, count, length, start, 0):
            self.oddities.append("the zip's last 22 bytes were altered")
        source.seek(start)
        directory, at, offset = source.read(length), 0, 0
        for number in range(count):
            fields = CENTRAL.unpack(directory[at : at + CENTRAL.size])
            name = directory[at + CENTRAL.size : at + CENTRAL.size + fields[10]]
            crc, size = fields[7], fields[8]
            entry = central_header(name, crc, size, offset)
            if directory[at : at + len(entry)] != entry:
                raise Wrong(ALTERED, "the zip's directory was altered at its file %s" % (number + 1))
            header = local_header(name, crc, size)
            source.seek(offset)
            if source.read(len(header)) != header:
                self.oddities.append("the zip's header of {} was altered".format(name.decode("ascii")))
            if name.decode("ascii") in self.found:
                raise Wrong(ALTERED, "the zip holds {} twice".format(name.decode("ascii")))
            self.found[name.decode("ascii")] = (offset + len(header), size, crc)
            at, offset = at + len(entry), offset + len(header) + size
        if at != length or offset != start:
            raise Wrong(ALTERED, f"{self.path}: bytes that belong to no file")

    def names(self) -> list[str]:
        return list(self.found)

    def pieces(self, name: str) -> Iterator[bytes]:
        start, size, expected = self.found[name]
        crc = 0
        with open(self.path, "rb") as source:
            source.seek(start)
            while size:
                piece = source.read(min(size, BLOCK))
                if not piece:
                    raise Wrong(ALTERED, f"{name} is cut short")
                crc, size = zlib.crc32(piece, crc), size - len(piece)
                yield piece
        if crc != expected:
            oddity = f"the zip's own checksum of {name} is wrong"
            if oddity not in self.oddities:
                self.oddities.append(oddity)

    def check(self, names: list[str]) -> None:
        if self.names() != names and sorted(self.names()) == sorted(names):
            self.oddities.append("the files are in another order than they were written")
        for oddity in self.oddities:
            raise Wrong(ALTERED, oddity)


Place = Union[Folder, Zip]  # noqa: UP007


def read(place: Place, name: str) -> bytes:
    """A whole file of text. Raises Wrong if there is none, or none of a size that can be."""
    parts, size = [], 0
    try:
        for piece in place.pieces(name):
            size += len(piece)
            parts.append(piece)
            if size > MOST_TEXT:
                raise Wrong(UNREADABLE, f"{name} is too large to be what it should be")
    except (OSError, KeyError):
        raise Wrong(ALTERED, f"{name} is missing") from None
    return b"".join(parts)


def parsed(data: bytes, name: str, kind: type = dict, code: int = ALTERED) -> Any:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, kind):
        raise Wrong(code, f"{name} can't be read: it isn't the JSON that it should be")
    return value


# --- the bundle


def check_bundle(place: Place, report: Report, options: Options) -> None:
    manifest = check_manifest(place, report, options)
    attempt(report, check_files, place, manifest, report)
    attempt(report, check_playbook, place, report)
    rows = attempt(report, check_rows, place, report) or []
    attempt(report, check_tree, place, rows, manifest, report, options)
    attempt(report, check_review, place, manifest, rows, report)
    names = place.names()
    for entry in parsed(read(place, "recordings.json"), "recordings.json", list):
        attempt(report, check_recording, place, entry, names, rows, manifest, report)
    report.cannot_know(
        "if the report and the .json files tell what the audit rows tell: but for the review's signatures "
        "and the recordings only these files' own signature was checked"
    )
    for what in manifest.get("alarms", []):
        report.note(f"the house says: {what}")
    for what in manifest.get("cannot_show", []):
        report.cannot_know(what)


def attempt(report: Report, check: Callable[..., Any], *given: Any) -> Any:
    """Do one check; what it finds doesn't keep the others from being done."""
    try:
        return check(*given)
    except Wrong as wrong:
        report.bad(wrong.code, str(wrong))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        report.bad(ALTERED, f"{check.__name__}: it isn't of the form that it should be ({error!r})")
    return None


def check_manifest(place: Place, report: Report, options: Options) -> dict[str, Any]:
    data, armor = read(place, MANIFEST), read(place, MANIFEST_SIG)
    manifest: dict[str, Any] = parsed(data, MANIFEST, code=UNREADABLE)
    if manifest.get("format") != FORMAT:
        report.bad(UNREADABLE, f"{MANIFEST} is of no format that this program knows")
    try:
        key = sshsig_key(data, armor, NAMESPACE)
    except Wrong as wrong:
        report.bad(wrong.code, str(wrong))
        return manifest
    says = ssh_keygen_says(data, armor)
    if says is False:
        report.bad(SIGNATURE, f"stock ssh-keygen says that the signature {MANIFEST_SIG} is wrong")
        return manifest
    also = "" if says is None else ", and stock ssh-keygen agrees"
    report.ok(f"signature of {MANIFEST} by key {fingerprint(key)}{also}")
    check_signer(key, report, options)
    return manifest


def check_signer(key: bytes, report: Report, options: Options) -> None:
    if options.key is None:
        report.cannot_know(
            f"whether {fingerprint(key)} is this house's key: you didn't say which is (--key). Ask the house, not the bundle"
        )
    elif fingerprint(key) in keys_in(options.key):
        report.ok("that is the key which you gave")
    else:
        report.bad(SIGNER, f"it is signed by key {fingerprint(key)}, not by the one that you gave")


def keys_in(given: str) -> set[str]:
    """The fingerprints that --key means."""
    if given.startswith("SHA256:"):
        return {given.rstrip("=")}
    found = set()
    try:
        with open(given, encoding="utf-8") as file:
            words = file.read().split()
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(UNREADABLE, f"--key {given}: {error}") from None
    for before, word in zip(words, words[1:]):  # noqa: B905, RUF007
        if before == "ssh-ed25519":
            digest = hashlib.sha256(base64.b64decode(word)).digest()
            found.add("SHA256:" + base64.b64encode(digest).decode().rstrip("="))
    if not found:
        raise Wrong(UNREADABLE, f"--key {given}: no ssh-ed25519 key is in it")
    return found


def check_file(place: Place, name: str, entry: dict[str, Any], present: set[str], report: Report) -> bool:
    if name.startswith("/") or ".." in name.split("/") or "\\" in name or name not in present:
        report.bad(RECORDING if name.startswith("recordings/") else ALTERED, f"{name} is missing")
        return False
    digest, size = hashlib.sha256(), 0
    for piece in place.pieces(name):
        digest.update(piece)
        size += len(piece)
    if (digest.hexdigest(), size) == (entry["sha256"], entry["size"]):
        return True
    kind = RECORDING if name.endswith(".cast") else ALTERED
    how = "" if size == entry["size"] else ": {} bytes, {} were written".format(size, entry["size"])
    report.bad(kind, f"{name} was altered{how}")
    return False


def check_files(place: Place, manifest: dict[str, Any], report: Report) -> None:
    """Each file against its size and SHA-256; nothing missing, nothing added."""
    wrong, listed = 0, manifest.get("files")
    if not isinstance(listed, list):
        raise Wrong(UNREADABLE, f"{MANIFEST} lists no files")
    present, known = set(place.names()), {MANIFEST, MANIFEST_SIG}
    for entry in listed:
        name = str(entry["path"])
        if name in known:  # it would have to be read again each time
            raise Wrong(ALTERED, f"{MANIFEST} lists {name} twice")
        known.add(name)
        wrong += not check_file(place, name, entry, present, report)
    for name in place.names():
        if name not in known:
            report.bad(ALTERED, f"{name} was added: the manifest doesn't know it")
            wrong += 1
    try:
        place.check([MANIFEST, MANIFEST_SIG] + [str(entry["path"]) for entry in listed])
    except Wrong as odd:
        report.bad(odd.code, str(odd))
        wrong += 1
    if not wrong:
        whole = ", and not a byte of the zip is beside them" if place.kind == "zip" else ""
        report.ok(f"{len(listed)} files are as they were written{whole}")


def check_playbook(place: Place, report: Report) -> None:
    """The policy snapshot is the very text that was approved: its SHA-256 is the digest that the grant names."""
    digest = hashlib.sha256(read(place, "policy/playbook.json")).hexdigest()
    named = parsed(read(place, "grant.json"), "grant.json")["playbook"]["digest"]
    if digest != named:
        raise Wrong(ALTERED, f"policy/playbook.json isn't the playbook that the grant names ({named})")
    report.ok(f"the playbook is the one that the grant names by its digest, {digest[:16]}...")


# --- the audit trail


def row_hash(previous: str, body: bytes) -> str:
    return hashlib.sha256(b"\0" + bytes.fromhex(previous) + body).hexdigest()


def check_row(row: Row, before: Row | None) -> None:
    """Raises Wrong unless the row's hash follows from its bytes, and, if the one before is at hand, follows that."""
    try:
        number, body = row["seq"], row["body"].encode()
        good = row_hash(row["previous"], body) == row["hash"] and len(row["previous"]) == 64
        inside = json.loads(body)["seq"]
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise Wrong(ROW, "audit row {} can't be read".format(row.get("seq", "?"))) from None
    if not good or inside != number:
        raise Wrong(ROW, f"audit row {number} is broken: its hash doesn't follow from its bytes")
    if before is not None and before["seq"] + 1 == number and before["hash"] != row["previous"]:
        raise Wrong(ROW, "audit row {} is broken: it doesn't follow row {}".format(number, before["seq"]))


def check_rows(place: Place, report: Report) -> list[Row]:
    """The grant's rows, those that can be read."""
    good, before, wrong = [], None, 0
    *lines, rest = read(place, ROWS).split(b"\n")
    for number, line in enumerate([*lines, rest] if rest else lines, 1):
        try:
            row = parsed(line, f"line {number} of {ROWS}", code=ROW)
            check_row(row, before)
            if before is not None and row["seq"] <= before["seq"]:
                raise Wrong(ROW, "audit row {} stands in the wrong place".format(row["seq"]))
            good.append(row)
            before = row
        except Wrong as broken:
            report.bad(broken.code, str(broken))
            wrong += 1
            before = None
    if not wrong:
        report.ok(f"{len(good)} audit rows: each hash follows from the row's bytes and the row before")
    return good


def check_review(place: Place, manifest: dict[str, Any], rows: list[Row], report: Report) -> None:
    """Who signed the review, when, and as what, by review.json and by the audit rows: the row is the signature. Who signed
    while the bundle was made may be in the rows alone."""
    review = json.loads(read(place, "review.json")) or {}
    grant = str(parsed(read(place, "grant.json"), "grant.json")["id"])
    bodies = [json.loads(row["body"]) for row in rows]
    tags = ("reviews:review:first_signed", "reviews:review:signed")
    told = [body for body in bodies if body["tag"] in tags and str(body["data"]["grant"]) == grant]
    given = [one for one in (review, review.get("second")) if one and one.get("signed_at")]
    before = sum(body["at"] <= manifest["made_at"] for body in told)
    if before > len(given):
        said = f"{before} signature(s) of the review, review.json of {len(given)}"
        raise Wrong(ALTERED, f"the audit rows tell of {said}")
    if not given:
        return
    for number, one in enumerate(given):
        found = told[number] if number < len(told) else None
        if found is None or _signature(one) != _signature_row(found):
            raise Wrong(ALTERED, f"review.json: signature {number + 1} isn't what the audit rows say of it")
    report.ok(f"{len(given)} signature(s) of the review: who, when and the verdict are as the audit rows say")


def _signature(said: dict[str, Any]) -> tuple[Any, ...]:
    who = said["reviewer"] or {}
    return said["signed_at"], "person:{}".format(who.get("id")), said["verdict"], said["note"], said["factor"]


def _signature_row(body: Row) -> tuple[Any, ...]:
    data = body["data"]
    return body["at"], body["actor"], data["verdict"], data["note"], str(data["factor"])[:120]


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root to which an inclusion proof leads (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        raise Wrong(PROOF, f"the tree has no leaf {index}")
    first, second, value = index, size - 1, leaf
    for other in path:
        if second == 0:
            raise Wrong(PROOF, "the proof is too long")
        if first & 1 or first == second:
            value = node(other, value)
            while not first & 1 and first:
                first, second = first >> 1, second >> 1
        else:
            value = node(value, other)
        first, second = first >> 1, second >> 1
    if second:
        raise Wrong(PROOF, "the proof is too short")
    return value


class Checkpoint:
    """A C2SP checkpoint: a signed note of origin, size and root."""

    def __init__(self, text: str) -> None:
        try:
            self.text, _, self.signatures = text.partition("\n\n")
            self.text += "\n"
            lines = self.text.split("\n")
            self.origin, self.size = lines[0], int(lines[1])
            self.root = base64.b64decode(lines[2], validate=True)
            if len(self.root) != 32 or str(self.size) != lines[1] or not self.signatures.endswith("\n"):
                raise ValueError
        except (ValueError, IndexError, binascii.Error):
            raise Wrong(CHECKPOINT, "it isn't a checkpoint") from None

    def signed_by(self, name: str, raw: bytes) -> bool:
        """Whether this key's signature is on it, and holds."""
        number = key_number(name, raw)
        for line in self.signatures.split("\n"):
            dash, _, rest = line.partition(" ")
            signer, _, blob = rest.partition(" ")
            if dash != "\u2014" or signer != name:
                continue
            try:
                data = base64.b64decode(blob, validate=True)
            except (ValueError, binascii.Error):
                continue
            if data[:4] == number and base64.b64encode(data).decode() == blob:
                return ed25519_holds(raw, self.text.encode(), data[4:])
        return False


def key_number(name: str, raw: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n\1" + raw).digest()[:4]


def key_given(text: str) -> str:
    """What --checkpoint-key means: a file's text, or its own. What a bundle says is never taken for a file's name."""
    if os.path.exists(text):
        with open(text, encoding="utf-8") as file:
            return file.read(BLOCK)
    return text


def notary_key(text: str) -> tuple[str, bytes]:
    """(name, raw key) of NAME+HASH+BASE64."""
    try:
        name, number, blob = text.strip().split("+", 2)
        data = base64.b64decode(blob, validate=True)
        if data[:1] != b"\1" or len(data) != 33 or key_number(name, data[1:]).hex() != number:
            raise ValueError
    except (ValueError, binascii.Error):
        raise Wrong(UNREADABLE, f"{text[:80]} isn't a checkpoint's key (NAME+HASH+BASE64)") from None
    return name, data[1:]


def checkpoints_at(path: str) -> list[Checkpoint]:
    """A file with a checkpoint, or with many, as an anchor keeps them, one after the other. The largest comes last."""
    notes: list[list[str]] = [[]]
    try:
        with open(path, encoding="utf-8") as file:
            for line in file.read(MOST_TEXT).split("\n"):
                if notes[-1] and notes[-1][-1].startswith("\u2014 ") and not line.startswith("\u2014 "):
                    notes.append([])
                if line or notes[-1]:
                    notes[-1].append(line)
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(UNREADABLE, f"--checkpoint {path}: {error}") from None
    found = [Checkpoint("\n".join(lines) + "\n") for lines in notes if lines]
    if not found:
        raise Wrong(UNREADABLE, f"--checkpoint {path}: there is no checkpoint in it")
    return sorted(found, key=lambda one: one.size)


def check_signature(
    checkpoint: Checkpoint, own_key: str | None, report: Report, options: Options, which: str
) -> None:
    """A checkpoint's signature, by the key that was given, or by the one that came along."""
    given: str | None = options.checkpoint_key
    wanted = given or own_key
    if not wanted:
        report.cannot_know(f"who signed {which}: no key is at hand (--checkpoint-key)")
        return
    name, raw = notary_key(wanted if given is None else key_given(given))
    if not checkpoint.signed_by(name, raw):
        raise Wrong(CHECKPOINT, f"{which}: its signature isn't of key {name}")
    report.ok(f"{which}: {checkpoint.size} rows, signed by {name}")
    if given is None:
        report.cannot_know(f"whether {name} is the notary's key: it came along (--checkpoint-key)")


def check_tree(
    place: Place, rows: list[Row], manifest: dict[str, Any], report: Report, options: Options
) -> None:
    """Each row's proof against the checkpoint, and that against its signature and the one that the reader kept."""
    if CHECKPOINT_FILE not in place.names():
        report.cannot_know("whether the rows are in the signed trail: the bundle holds no checkpoint")
        return
    checkpoint = Checkpoint(read(place, CHECKPOINT_FILE).decode("utf-8", "replace"))
    attempt(
        report, check_signature, checkpoint, manifest["keys"].get("checkpoint"), report, options, "checkpoint"
    )
    proven, later, wrong = 0, [], 0
    for row in rows:
        if row["seq"] > checkpoint.size:
            later.append(row["seq"])
            continue
        path = [bytes.fromhex(one) for one in row["proof"]]
        try:
            if root_of(bytes.fromhex(row["hash"]), row["seq"] - 1, checkpoint.size, path) != checkpoint.root:
                raise Wrong(PROOF, "it leads to another root")
            proven += 1
        except Wrong as fault:
            wrong += 1
            report.bad(PROOF, "audit row {}: its inclusion proof is wrong: {}".format(row["seq"], fault))
    if not wrong:
        report.ok(f"{proven} inclusion proofs lead to the root of the checkpoint")
    if later:
        report.cannot_know(
            f"whether rows {later[0]} to {later[-1]} are in the signed trail: they are younger than the checkpoint"
        )
    if options.checkpoint:
        kept = checkpoints_at(options.checkpoint)
        same = [one for one in kept if one.size == checkpoint.size]
        for one in same or kept[-1:]:
            compare(checkpoint, one, report)


def compare(own: Checkpoint, kept: Checkpoint, report: Report) -> None:
    if own.size == kept.size and own.root != kept.root:
        raise Wrong(FORKED, f"forked: your checkpoint of {kept.size} rows has another root")
    if own.size == kept.size:
        report.ok("your checkpoint has the same root")
    else:
        report.cannot_know(f"how your checkpoint ({kept.size} rows) fits this one ({own.size}): ask the house for the trail")  # fmt: skip


# --- recordings


def check_recording(
    place: Place,
    entry: dict[str, Any],
    names: list[str],
    rows: list[Row],
    manifest: dict[str, Any],
    report: Report,
) -> None:
    """The asciicast against its seal, chunk by chunk, and the seal against its signature and the audit trail."""
    label, cast, seal = entry["session"], entry["cast"], entry["seal"]
    if not cast:
        report.note("recording of {}: not in this bundle: {}".format(label, entry["why_not"]))
        return
    for name in (cast, seal):
        if name not in names:
            raise Wrong(RECORDING, f"recording of {label}: {name} is missing")
    body = check_seal(place, entry, manifest)
    check_cast(place, cast, body, label)
    told = attested(rows, entry["session_id"])
    if told is None:
        report.cannot_know(f"whether the seal of {label} is in the audit trail: its row isn't among these")
    elif (told.get("sha256"), told.get("signature")) != (body["sha256"], body["signature"]):
        raise Wrong(RECORDING, f"recording of {label}: the audit trail tells of another seal")
    for seq, mark_size, digest in marks(rows, entry["session_id"], label):
        if prefix(place, cast, mark_size) != digest:
            raise Wrong(
                RECORDING, f"recording of {label}: audit row {seq} knew other first {mark_size} bytes"
            )
    ended = "" if body["ended"] == "closed" else "; it ends {}".format(body["ended"])
    report.ok(
        "recording of {}: {} bytes, as sealed and as the audit trail has it{}".format(
            label, body["size"], ended
        )
    )


def check_seal(place: Place, entry: dict[str, Any], manifest: dict[str, Any]) -> dict[str, Any]:
    """What the seal says, with its signature, once that holds."""
    label, seal = entry["session"], entry["seal"]
    line = read(place, seal)
    sealed = parsed(line, seal, code=RECORDING)
    body: dict[str, Any] = sealed["body"]
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    if b'{"body":' + canonical + b',"signature":"' + sealed["signature"].encode() + b'"}\n' != line:
        raise Wrong(RECORDING, f"recording of {label}: {seal} was altered")
    key = bytes.fromhex(manifest["keys"]["seal"])
    signed = b"breakglass recording manifest 1\n" + canonical
    if not ed25519_holds(key, signed, bytes.fromhex(sealed["signature"])):
        raise Wrong(RECORDING, f"recording of {label}: the signature of its seal is wrong")
    if body["facts"].get("session") != entry["session_id"]:
        raise Wrong(RECORDING, f"recording of {label}: its seal is of another session")
    return {**body, "signature": sealed["signature"]}


def check_cast(place: Place, cast: str, body: dict[str, Any], label: str) -> None:
    """Each MiB has its own SHA-256, so that damage is placed."""
    whole, size = hashlib.sha256(), 0
    for number, chunk in enumerate(in_chunks(place.pieces(cast))):
        if number >= len(body["chunks"]) or hashlib.sha256(chunk).hexdigest() != body["chunks"][number]:
            if size + len(chunk) < body["size"] and len(chunk) < BLOCK:
                size += len(chunk)
                break
            where = f"bytes {number * BLOCK} to {number * BLOCK + len(chunk)}"
            raise Wrong(RECORDING, f"recording of {label}: altered in {where}")
        whole.update(chunk)
        size += len(chunk)
    if size < body["size"]:
        raise Wrong(
            RECORDING, "recording of {}: truncated after {} of {} bytes".format(label, size, body["size"])
        )
    if whole.hexdigest() != body["sha256"]:
        raise Wrong(RECORDING, f"recording of {label}: its SHA-256 isn't the one in its seal")


def marks(rows: list[Row], session_id: str, label: str) -> Iterator[tuple[int, int, str]]:
    """What the audit trail knew of the recording before it was sealed: row, bytes, SHA-256 of those first bytes."""
    for row in rows:
        entry: dict[str, Any] = json.loads(row["body"])
        data = entry["data"]
        if entry["tag"] == "recordings:recording:marked":
            told = [(one["bytes"], one["sha256"]) for one in data["recordings"] if one["session"] == label]
        elif entry["subject"] == "sshsession:" + session_id and data.get("recorded"):
            told = [(data["recorded"], data["recorded_sha256"])]
        else:
            told = []
        for size, digest in told:
            yield row["seq"], size, digest


def prefix(place: Place, name: str, size: int) -> str:
    """The SHA-256 of a file's first bytes."""
    digest, left = hashlib.sha256(), size
    for piece in place.pieces(name):
        digest.update(piece[:left])
        left -= min(left, len(piece))
    return digest.hexdigest() if not left else ""


def in_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        rest += piece
        while len(rest) >= BLOCK:
            yield rest[:BLOCK]
            rest = rest[BLOCK:]
    if rest:
        yield rest


def attested(rows: list[Row], session_id: str) -> dict[str, Any] | None:
    """What the audit trail said when the recording was sealed."""
    for row in rows:
        entry: dict[str, Any] = json.loads(row["body"])
        if entry["subject"] == "sshsession:" + session_id and entry["tag"] in (
            "recordings:recording:sealed",
            "recordings:recording:recovered",
        ):
            told: dict[str, Any] = entry["data"]
            return told
    return None


# --- a whole trail


def check_trail(path: str, report: Report, options: Options) -> None:
    """Every row from the first on, and the tree that they make against a checkpoint."""
    given, own = options.checkpoint, ""
    if os.path.isdir(path):
        path, own = os.path.join(path, TRAIL), os.path.join(path, CHECKPOINT_BESIDE)
    came_along = given is None and os.path.exists(own)
    kept = checkpoints_at(own if came_along else given)[-1] if given or came_along else None
    whose = "the checkpoint beside it" if came_along else "your checkpoint"
    last, at_kept = walk(path, kept)
    report.ok(f"{last['seq']} rows: each follows from the one before; head {last['hash']}")
    if kept is None:
        report.cannot_know(
            "whether rows were cut off at the end, or the whole was written anew: no --checkpoint"
        )
        return
    if came_along:
        report.cannot_know(
            "whether the whole was written anew: the checkpoint came along with it (--checkpoint)"
        )
    key = os.path.join(os.path.dirname(path), NOTARY_KEY)
    own_key = key_given(key) if came_along and os.path.exists(key) else None
    attempt(report, check_signature, kept, own_key, report, options, whose)
    if kept.size > last["seq"]:
        raise Wrong(TRUNCATED, f"truncated: {whose} has {kept.size} rows, the trail {last['seq']}")
    if at_kept != kept.root:
        raise Wrong(FORKED, f"forked: its first {kept.size} rows aren't those of {whose}")
    report.ok(f"its first {kept.size} rows are those of {whose}")
    if last["seq"] > kept.size:
        report.cannot_know(f"about rows after {kept.size}: they are younger than {whose}")


def walk(path: str, kept: Checkpoint | None) -> tuple[Row, bytes | None]:
    """The last row, and the tree's root when it was as large as the checkpoint. Raises Wrong at the first bad row."""
    nodes: list[bytes] = []
    before: Row = {"seq": 0, "hash": GENESIS}
    at_kept = None
    with open(path, "rb") as source:
        for line in source:
            row = parsed(line, f"the line after row {before['seq']}", code=ROW)
            if row.get("seq") != before["seq"] + 1:
                raise Wrong(ROW, f"audit row {before['seq'] + 1} is missing or out of place")
            check_row(row, before)
            push(nodes, row["seq"], bytes.fromhex(row["hash"]))
            before = row
            if kept is not None and row["seq"] == kept.size:
                at_kept = top(nodes)
    return before, at_kept


def push(nodes: list[bytes], size: int, leaf: bytes) -> None:
    """One leaf more; `nodes` are the roots of the whole subtrees, from the left (RFC 6962, section 2.1)."""
    nodes.append(leaf)
    while not size & 1:
        right = nodes.pop()
        nodes[-1] = node(nodes[-1], right)
        size >>= 1


def top(nodes: list[bytes]) -> bytes:
    value = nodes[-1]
    for one in reversed(nodes[:-1]):
        value = node(one, value)
    return value


# --- the command


def place_of(path: str) -> Place | None:
    if os.path.isdir(path):
        is_trail = os.path.exists(os.path.join(path, TRAIL)) and not os.path.exists(
            os.path.join(path, MANIFEST)
        )
        return None if is_trail else Folder(path)
    with open(path, "rb") as source:
        start = source.read(4)
    return Zip(path) if start == b"PK\3\4" or path.lower().endswith(".zip") else None


def main(arguments: list[str] | None = None, out: TextIO | None = None) -> int:
    summary, _, rest = (__doc__ or "").partition("\n")
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=summary, epilog=rest, formatter_class=form)
    parser.add_argument(
        "evidence", nargs="?", help="a bundle's zip or folder, or a trail (default: where this file is)"
    )
    parser.add_argument("--key", help="the house's evidence key, from elsewhere than the bundle")
    parser.add_argument("--checkpoint", metavar="FILE", help="a checkpoint of the audit trail that you kept")
    parser.add_argument(
        "--checkpoint-key", metavar="KEY", help="the notary's key: NAME+HASH+BASE64, or a file with it"
    )
    options = parser.parse_args(arguments)
    path = options.evidence or os.path.dirname(os.path.abspath(__file__))
    report = Report(out)
    try:
        place = place_of(path)
        if place is None:
            check_trail(path, report, options)
        else:
            check_bundle(place, report, options)
    except Wrong as wrong:
        report.bad(wrong.code, str(wrong))
    except OSError as error:
        report.bad(UNREADABLE, f"{path} can't be read: {error.strerror or error}")
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        OverflowError,
        RecursionError,
    ) as error:
        report.bad(UNREADABLE, f"it isn't of the form that it should be ({error!r})")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
