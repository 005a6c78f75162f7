"""From a case to the files of a bundle, its manifest, and the signature over that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sessions.evidence import html, pdf, sshsig, standards, texts
from sessions.evidence.case import Case, Facts, as_json, over_at
from sessions.evidence.commands import COLUMNS, commands_of
from sessions.evidence.judgement import is_signed
from sessions.evidence.report import Contents
from sessions.evidence.standards import Records
from sessions.evidence.summary import report_of
from sessions.evidence.timeline import picture_of, svg
from sessions.evidence.trail import Row, Trail
from sessions.evidence.zipped import Measured, Member, measure

FORMAT: Final = "breakglass evidence bundle 1"
NAMESPACE: Final = "breakglass-evidence"
IDENTITY: Final = "evidence"
MANIFEST, SIGNATURE = "manifest.json", "manifest.json.sig"
VERIFIER: Final = Path(__file__).with_name("verify.py")


@dataclass(frozen=True)
class House:
    """Whose bundle it is, who had it made, and the public keys that its parts are signed by."""

    name: str
    made_by: str
    seal_key: bytes


@dataclass(frozen=True)
class Recorded:
    """What there is of one session's recording: an entry of recordings.json, its files, read and measured, and the
    commands that its transcript knows."""

    entry: Facts
    files: tuple[Measured, ...] = ()
    commands: tuple[Facts, ...] = ()

    @property
    def label(self) -> str:
        return str(self.entry["session"])


@dataclass(frozen=True)
class Inside:
    """All that goes into a bundle but for what is made of it here."""

    case: Case
    trail: Trail
    recordings: list[Recorded]
    copies: list[Measured]
    house: House
    alarms: list[str]
    cannot_show: list[str]

    @property
    def commands(self) -> list[Facts]:
        return commands_of(self.case, (one for recorded in self.recordings for one in recorded.commands))


def files_of(inside: Inside, key: Ed25519PrivateKey) -> list[Measured]:
    """Every file of the zip, in its order: manifest, signature, what people read, what programs read, recordings."""
    listed = [measure(member) for member in _documents(inside, key)]
    listed += [file for one in inside.recordings for file in one.files] + inside.copies
    manifest = as_json(_manifest(inside, listed, key))
    signature = sshsig.sign(manifest, key, NAMESPACE)
    signed = [measure(Member.of(MANIFEST, manifest)), measure(Member.of(SIGNATURE, signature))]
    return [*signed, *listed]


def _manifest(inside: Inside, listed: list[Measured], key: Ed25519PrivateKey) -> Facts:
    case, house = inside.case, inside.house
    return {
        "format": FORMAT,
        "grant": case.grant["id"],
        "request": case.label,
        "house": house.name,
        "made_at": case.at,
        "made_by": house.made_by,
        "keys": {
            "evidence": sshsig.public_line(key.public_key()),
            "seal": house.seal_key.hex(),
            "checkpoint": inside.trail.notary_key,
        },
        "cannot_show": inside.cannot_show,
        "alarms": inside.alarms,
        "files": [{"path": one.path, "size": one.size, "sha256": one.sha256} for one in listed],
    }


def _documents(inside: Inside, key: Ed25519PrivateKey) -> Iterator[Member]:
    case, trail = inside.case, inside.trail
    lines = standards.mapping(
        Records(case, trail, frozenset(one.label for one in inside.recordings if one.files))
    )
    report = report_of(_contents(inside, lines, key))
    yield Member.of("README.txt", _readme(inside, key))
    yield Member.of("report.html", html.page(report))
    yield Member.of("report.pdf", pdf.pages(report))
    yield Member.of("timeline.svg", svg(picture_of(case)))
    yield Member.of("verify.py", VERIFIER.read_bytes())
    yield Member.of(
        "allowed_signers", f'{IDENTITY} namespaces="{NAMESPACE}" {sshsig.public_line(key.public_key())}\n'
    )
    yield Member.of(
        "request.json", as_json({**case.request, "incident": case.incident, "extensions": case.extensions})
    )
    yield Member.of("approvals.json", as_json(case.approvals))
    yield Member.of("grant.json", as_json({**case.grant, "assets_as_registered": case.assets}))
    yield Member.of("policy/playbook.json", case.playbook_bytes)
    yield Member.of("policy/runbook.md", case.spec.runbook)
    yield Member.of("sessions.json", as_json(case.sessions))
    yield Member.of("receipts.json", as_json(case.receipts))
    yield Member.of("commands.json", as_json(inside.commands))
    yield Member.of("commands.csv", texts.table(COLUMNS, inside.commands))
    yield Member.of("files.json", as_json(case.files))
    yield Member.of("files.csv", texts.table(_FILES, case.files))
    yield Member.of("review.json", as_json(case.review))
    yield Member.of("recordings.json", as_json([one.entry for one in inside.recordings]))
    yield Member.of("standards.json", as_json(_standards(lines)))
    yield Member.of("audit/rows.jsonl", b"".join(map(row_line, trail.rows)))
    if trail.checkpoint:
        yield Member.of("audit/checkpoint.txt", trail.checkpoint)


_FILES: Final = (
    "session", "label", "verb", "path", "target", "direction", "bytes", "sha256", "outcome", "copy_kept", "started_at", "ended_at",
)  # fmt: skip


def row_line(row: Row) -> bytes:
    """A row as one line of JSON, in printable ASCII."""
    return json.dumps(row.as_dict(), ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _standards(lines: list[standards.Line]) -> list[Facts]:
    return [
        {
            "label": line.label,
            "about": line.about,
            "named_by_playbook": line.named_by_playbook,
            "shown": [{"says": one.says, "where": one.where} for one in line.shown],
        }
        for line in lines
    ]


def _contents(inside: Inside, lines: list[standards.Line], key: Ed25519PrivateKey) -> Contents:
    return Contents(
        case=inside.case,
        trail=inside.trail,
        standards=lines,
        recordings=[one.entry for one in inside.recordings],
        commands=inside.commands,
        alarms=inside.alarms,
        cannot_show=inside.cannot_show,
        house=inside.house.name,
        made_by=inside.house.made_by,
        key=sshsig.fingerprint(key.public_key()),
    )


def limits(case: Case, trail: Trail) -> list[str]:
    """What no bundle of this case can show, said in it."""
    found = [
        "Times are the broker's own clock's, and names are the people's that the broker knows by them.",
        "What was done on the machine past the session's end, or by another way in, is on no record here.",
    ]
    kinds = {one["kind"] for one in case.channels if not one["refusal"]}
    if "shell" in kinds:
        found.append(
            "Commands typed into a shell are inferred from the screen, which a program can draw as it likes; the recording decides."
        )
    if "forward" in kinds:
        found.append(
            "Of forwarded connections the destination and the bytes are counted; what they carried isn't recorded."
        )
    if over_at(case) is None:
        found.append("The access still ran when the bundle was made: what came after isn't in it.")
    if not is_signed(case.review):
        found.append("The review wasn't signed yet.")
    if not trail.checkpoint:
        found.append("The audit rows are chained, but no signed checkpoint of the trail covers them yet.")
    elif trail.younger:
        found.append(
            f"Audit rows {trail.younger[0]} to {trail.younger[-1]} are younger than the checkpoint: not proven yet."
        )
    if any(one["copy_kept"] for one in case.files):
        found.append(
            "Kept copies of files are listed with their SHA-256; they are in the bundle only if asked for."
        )
    return found


def _readme(inside: Inside, key: Ed25519PrivateKey) -> str:
    case = inside.case
    fingerprint = sshsig.fingerprint(key.public_key())
    alarms = "".join(f"ATTENTION: {alarm}\n" for alarm in inside.alarms)
    return f"""\
Evidence of emergency access {case.label}, made by {inside.house.name} at {case.at:%Y-%m-%d %H:%M:%S} UTC.
{alarms}
Read report.html or report.pdf first: they say the same. The rest is what they were made from:

  request.json, approvals.json, grant.json    who asked for what and why, who consented by which factor, until when
  policy/                                     the playbook as it was approved; its SHA-256 is the digest in grant.json
  sessions.json, receipts.json                each login; when its end was asked for, and when it was true
  commands.csv, files.csv (and .json)         what was run (exact, or inferred from the screen), which files were touched
  recordings/, recordings.json                asciicast (asciinema play FILE), its seal, a transcript as a terminal showed it
  review.json                                 the judgement afterwards
  audit/                                      the rows of the audit trail, each with its proof; the signed checkpoint
  standards.json                              which control is shown by what

Is it whole and genuine? In this folder, or with the zip's name:

  python3 -I verify.py --key {fingerprint}

checks every byte, and says what it can't know. It needs Python 3.9 or later and nothing else. Independent of us, with OpenSSH:

  ssh-keygen -Y verify -f allowed_signers -I {IDENTITY} -n {NAMESPACE} -s {SIGNATURE} < {MANIFEST}

and then compare the SHA-256 of each file with the manifest. The key in allowed_signers came along with what it signs,
which proves nothing: get it, or its fingerprint, from {inside.house.name} by another way.
And this verify.py came along, too: the source of Breakglass has the same file.

In the .csv files a cell that a spreadsheet would take for a formula begins with an apostrophe; the .json files have it as it was.
"""
