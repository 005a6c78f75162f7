"""The evidence bundle of a grant: gathered, signed, and handed out to those who may have it, the export in the audit trail."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import close_old_connections, connection

from breakglass.domain import permissions
from breakglass.domain.audit import AuditTag, link
from breakglass.domain.checkpoint import Key
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Grant, Person
from breakglass.queries import actor_of, grant_for, refuse_unless, thing_of_grant
from breakglass.services import audit, audit_proofs, vault
from breakglass.services.notes import opened
from sessions.evidence import bundle, sshsig, zipped
from sessions.evidence.bundle import House, Inside, Recorded
from sessions.evidence.case import Case, Facts, case_of
from sessions.evidence.trail import Trail, row_of, rows_about
from sessions.evidence.zipped import Measured, Member, TooLarge, measure
from sessions.models import FileOperation, Recording, SSHSession
from sessions.recording import kept
from sessions.recording.keyring import KeyUnavailable
from sessions.recording.sealed import Manifest, RecordingDamaged
from sessions.services import holdings, marks
from sessions.services.evidence_text import transcript_of
from sessions.services.recording_keys import keyring, seal_key
from sessions.services.recordings import read_recording
from sessions.services.remote import StoreAway
from sessions.states import OPEN_STATES, RecordingState

UNREADABLE = (OSError, ValueError, RecordingDamaged, StoreAway, KeyUnavailable)


@dataclass(frozen=True)
class Bundle:
    """A bundle that is ready: `pieces` gives the zip, of which size and SHA-256 are known."""

    name: str
    size: int
    sha256: str
    alarms: tuple[str, ...]
    files: tuple[Measured, ...]

    def pieces(self) -> Iterator[bytes]:
        """The zip, piece by piece. Raises ValueError if a recording changes meanwhile."""
        return zipped.pieces(list(self.files))


def evidence_key() -> Ed25519PrivateKey:
    """Signs bundles, and nothing else."""
    return Ed25519PrivateKey.from_private_bytes(vault.derive("evidence"))


def public_key() -> str:
    """The line of `allowed_signers` that strangers should get from the house, not from a bundle."""
    return (
        f'{bundle.IDENTITY} namespaces="{bundle.NAMESPACE}" {sshsig.public_line(evidence_key().public_key())}'
    )


def fingerprint() -> str:
    """The same key as `ssh-keygen -l` says it."""
    return sshsig.fingerprint(evidence_key().public_key())


def export(grant_id: UUID, person: Person, now: datetime, *, with_files: bool = False) -> Bundle:
    """The bundle for somebody who may have it; without what they may not replay. The export is in the audit trail.

    Raises Refused `not_found`, `not_allowed`, `bad_input` where it is too large.
    """
    grant = grant_for(person, grant_id)
    thing = thing_of_grant(grant)
    refuse_unless(person, Verb.EXPORT_EVIDENCE, thing)
    replays = permissions.may(actor_of(person), Verb.REPLAY_SESSION, thing)
    withheld = "" if replays else f"{person.get_full_name()}, who had it made, may not replay sessions"
    made_by = f"{person.get_full_name()} ({person.username})"
    made = _make(grant.pk, made_by, now, with_files=with_files, withheld=withheld)
    _note(made, grant, person, now, with_files=with_files)
    return made


def export_on_the_server(grant: Grant, operator: str, now: datetime, *, with_files: bool = False) -> Bundle:
    """The bundle for whoever runs `manage.py` on the server: they hold every key anyway. Raises TooLarge."""
    made = _make(grant.pk, f"{operator}, on the server", now, with_files=with_files, withheld="")
    _note(made, grant, None, now, with_files=with_files, operator=operator)
    return made


def find_grant(word: str) -> Grant | None:
    """By its id, or by its request's label: REQ-12."""
    digits = word.upper().removeprefix("REQ-")
    if digits != word.upper() and digits.isascii() and digits.isdigit() and len(digits) < 9:
        return Grant.objects.filter(request__number=int(digits)).first()
    try:
        return Grant.objects.filter(pk=UUID(word)).first()
    except ValueError:
        return None


def _note(made: Bundle, grant: Grant, person: Person | None, now: datetime, **more: object) -> None:
    data = {
        "request": grant.request.label,
        "sha256": made.sha256,
        "bytes": made.size,
        "file": made.name,
        **more,
    }
    audit.record(AuditTag.EVIDENCE_EXPORTED, actor=person, subject=grant, now=now, data=data)


def _make(grant_id: UUID, made_by: str, now: datetime, *, with_files: bool, withheld: str) -> Bundle:
    case = case_of(grant_id, now)
    recordings = [
        _recorded(row, facts, withheld, now) for row, facts in zip(case.rows, case.sessions, strict=True)
    ]
    copies, lost = _copies(case.rows) if with_files and not withheld else ([], [])
    trail, broken = _trail(case)
    alarms = [alarm for one in recordings if (alarm := _alarm(one.entry))] + lost + broken + _odd(case)
    house = House(settings.BREAKGLASS.public_url, made_by, seal_key().public_key().public_bytes_raw())
    cannot_show = bundle.limits(case, trail)
    inside = Inside(case, trail, recordings, copies, house, alarms, cannot_show)
    files = bundle.files_of(inside, evidence_key())
    try:
        size = zipped.size_of(files)
    except TooLarge as error:
        problem = f"The bundle is too large for one zip: {error}. Ask for it without files."
        raise refuse(RefusalCode.BAD_INPUT, problem=problem) from error
    digest = hashlib.sha256()
    for piece in zipped.pieces(files):
        digest.update(piece)
    name = f"evidence-{case.label}-{now:%Y%m%dT%H%M%SZ}.zip"
    return Bundle(name, size, digest.hexdigest(), tuple(alarms), tuple(files))


# --- recordings


def _recorded(row: SSHSession, facts: Facts, withheld: str, now: datetime) -> Recorded:
    recording: Recording | None = getattr(row, "recording", None)
    entry = {
        "session": row.label,
        "session_id": row.pk,
        "state": recording.state if recording else "none",
        "sha256": recording.sha256 if recording else "",
        "problem": recording.problem if recording else "",
        "missing": False,
        "cast": "",
        "seal": "",
        "transcript": "",
        "why_not": "",
    }
    why_not, missing = _why_not(row, recording, withheld)
    if why_not or recording is None:
        return Recorded({**entry, "why_not": why_not, "missing": missing})
    names = {kind: f"recordings/{row.label}.{ending}" for kind, ending in _ENDINGS.items()}
    try:
        cast = measure(Member(names["cast"], lambda: _opened(recording)))
        seal = measure(Member.of(names["seal"], Manifest.from_dict(recording.manifest or {}).line()))
        text, commands = transcript_of(row, recording, facts, now)
        files = (cast, seal, measure(Member.packed(names["transcript"], text)))
    except UNREADABLE as error:
        why_not = f"{error.place}: {error.what}" if isinstance(error, RecordingDamaged) else str(error)
        return Recorded({**entry, "why_not": why_not, "missing": True})
    return Recorded({**entry, **names}, files, tuple(commands))


_ENDINGS = {"cast": "cast", "seal": "seal.json", "transcript": "txt"}


def _opened(recording: Recording) -> Iterator[bytes]:
    """Where it is in the object store, opening asks the database, and that from whichever thread sends the zip."""
    pieces = read_recording(recording)
    _let_go()
    return pieces


def _let_go() -> None:
    if not connection.in_atomic_block:
        close_old_connections()


def _why_not(row: SSHSession, recording: Recording | None, withheld: str) -> tuple[str, bool]:
    """Why the recording can't be in the bundle, and whether that is a loss."""
    if recording is None:
        return "there is none on record", True
    if withheld:
        return withheld, False
    if recording.deleted_at is not None:
        return f"deleted by policy at {recording.deleted_at:%Y-%m-%d %H:%M:%S} UTC", False
    if recording.state != RecordingState.OPEN:
        return "", False
    if row.state in OPEN_STATES:
        return "the session is going on", False
    if not row.bytes_out and not marks.was_live(row):
        return "nothing was relayed, so nothing was recorded", False
    return recording.problem or "it waits to be sealed", bool(recording.problem)


def _alarm(entry: Facts) -> str:
    if entry["missing"]:
        return f"The recording of {entry['session']} is not in this bundle: {entry['why_not']}."
    if entry["problem"]:
        return f"The recording of {entry['session']}: {entry['problem']}."
    if entry["state"] == RecordingState.RECOVERED:
        return f"The gateway crashed during {entry['session']}: its recording was recovered as far as it was on disk."
    return ""


def _copies(rows: Iterable[SSHSession]) -> tuple[list[Measured], list[str]]:
    """The kept copies of files that can be read, and an alarm for each that can't."""
    found, lost = [], []
    for operation in (
        FileOperation.objects.filter(session__in=list(rows)).exclude(kept="").select_related("session")
    ):
        name = f"{operation.session.label}-{operation.label}.bin"
        try:
            found.append(measure(_copy(f"files/{name}", operation)))
        except UNREADABLE as error:
            lost.append(f"The kept copy {name} can't be read: {error}.")
    return found, lost


def _copy(path: str, row: FileOperation) -> Member:
    place = holdings.store().kept_path(row.session_id, row.channel, row.number)
    recording = Recording.objects.get(session_id=row.session_id)

    def read() -> Iterator[bytes]:
        found = holdings.open_file(recording, place)
        _let_go()
        return kept.open_kept_source(found.path, found.source, found.newer_wrap, keyring(), row.sha256)

    return Member(path, read)


# --- the audit trail


def _trail(case: Case) -> tuple[Trail, list[str]]:
    marked = [mark.seq for mark in map(marks.last_mark, case.rows) if mark is not None]
    events = rows_about(case, marked)
    broken = [event.seq for event in events if event.hash != link(event.previous_hash, event.body)]
    alarms = [f"Audit row {seq} is broken: its hash doesn't follow from its bytes." for seq in broken]
    checkpoint = audit_proofs.newest_checkpoint()
    size = checkpoint.size if checkpoint else 0
    covered = [event.seq for event in events if event.seq <= size]
    try:
        proofs = audit_proofs.inclusion_proofs(covered, size) if covered else {}
    except ValueError as error:
        alarms.append(f"The audit trail is shorter than what was signed: {error}.")
        proofs = {}
    rows = tuple(row_of(event, proofs.get(event.seq)) for event in events)
    younger = tuple(row.seq for row in rows if row.proof is None)
    key = _signer(checkpoint.note) if checkpoint else None
    note = checkpoint.note if checkpoint and proofs else ""
    return Trail(rows, note, size if note else 0, str(key or ""), younger), alarms


def _signer(note: str) -> Key | None:
    try:
        return opened(note, *audit_proofs.notary_keys())[1]
    except ValueError:
        return None


def _odd(case: Case) -> list[str]:
    """What a reader should not have to look for."""
    refused = [one for one in case.channels if one["refusal"]]
    old = [one["name"] for one in case.assets if one["legacy_algorithms"]]
    found = [f"{len(refused)} channels were refused: see commands.csv."] if refused else []
    found += [
        f"{name} was reached with old, weak SSH algorithms, as an administrator allowed." for name in old
    ]
    found += [
        f"The times of the end of {one['label']} are estimated: the gateway had crashed."
        for one in case.sessions
        if one["receipt"] and one["receipt"]["estimated"]
    ]
    return found
