"""Are the recordings what was sealed? Each is held against its own seal, the database's memory and the audit trail.

The trail knows of a recording before it is sealed (marks.py): also one that is still open, or that a crash left behind,
is missed when it is gone, and noticed when it is shorter or another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from breakglass.domain.audit import AuditTag
from breakglass.models import AuditEvent
from breakglass.services import audit
from sessions.models import Recording
from sessions.recording import seal
from sessions.recording.keyring import KeyUnavailable
from sessions.recording.sealed import MAGIC, Manifest, RecordingDamaged
from sessions.recording.store import SEALED
from sessions.recording.transcript import read_file
from sessions.services import holdings, holdings_check, marks
from sessions.services.marks import Mark
from sessions.services.recording_keys import keyring, seal_key
from sessions.services.recordings import store
from sessions.services.remote import StoreAway
from sessions.states import RecordingState, SessionState


class Verdict(StrEnum):
    INTACT = "intact"
    OPEN = "open"
    DAMAGED = "damaged"
    DELETED = "deleted"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Checked:
    """What was found of one recording; `what` names the damaged part, or why nothing can be said now (`unknown`)."""

    name: str
    verdict: Verdict
    what: str


def find(word: str) -> Recording | None:
    """The recording of a session named by its id or its label (`S-12`)."""
    found = Recording.objects.select_related("session")
    digits = word.upper().removeprefix("S-")
    if digits != word.upper() and digits.isascii() and digits.isdigit() and len(digits) < 9:
        return found.filter(session__number=int(digits)).first()
    try:
        return found.filter(session_id=UUID(word)).first()
    except ValueError:
        return None


def check_all() -> Iterator[Checked]:
    """Every recording on record, then every file that is on no record."""
    yield from against_the_trail()
    place = store()
    known = set(Recording.objects.values_list("session_id", flat=True))
    found = [(session_id, path) for session_id, path in place.sealed_recordings()]
    found += [(one.session_id, one.path) for one in place.open_recordings()]
    for session_id, path in found:
        if session_id not in known:
            yield Checked(path.name, Verdict.DAMAGED, "there is a file, but no session in the database")


def against_the_trail() -> Iterator[Checked]:
    """Every recording on record: missing, altered, or shorter than the audit trail says; open ones too."""
    last = marks.last_marks()
    for recording in Recording.objects.select_related("session").order_by("session__number").iterator():
        yield _check(recording, last.pop(recording.session.label, None))
    for label, mark in last.items():
        yield Checked(label, Verdict.DAMAGED, f"the database knows of no such session; {marks.told_of(mark)}")


def check(recording: Recording) -> Checked:
    """One recording: its file, its manifest as the database remembers it, its rows in the audit trail."""
    return _check(recording, marks.last_mark(recording.session))


def _check(recording: Recording, mark: Mark | None) -> Checked:
    """What was sealed, stored or deleted while it was looked for isn't missing: it is looked for again."""
    found = _look(recording, mark)
    while found.verdict in (Verdict.DAMAGED, Verdict.OPEN):
        now = Recording.objects.select_related("session").get(pk=recording.pk)
        if _whereabouts(now) == _whereabouts(recording):
            break
        recording, found = now, _look(now, mark)
    return found


def _whereabouts(recording: Recording) -> tuple[object, ...]:
    return recording.state, recording.session.state, recording.stored_at, recording.local_removed_at


def _look(recording: Recording, mark: Mark | None) -> Checked:
    name = recording.session.label
    if recording.state == RecordingState.OPEN:
        return _check_open(recording, mark)
    if recording.state == RecordingState.DELETED:
        agrees, said = holdings_check.deletion(recording)
        return Checked(name, Verdict.DELETED if agrees else Verdict.DAMAGED, said)
    try:
        manifest, problem = _check_sealed(recording, mark)
    except (StoreAway, KeyUnavailable) as error:
        return Checked(name, Verdict.UNKNOWN, str(error))
    except FileNotFoundError:
        where = "in the object store" if recording.stored_at else "and the audit trail knows of no deletion"
        return Checked(name, Verdict.DAMAGED, f"the sealed file is missing {where}")
    except (ValueError, OSError) as error:
        return Checked(name, Verdict.DAMAGED, f"it can't be read: {error}")
    except RecordingDamaged as damage:
        return Checked(name, Verdict.DAMAGED, f"{damage.place}: {damage.what}")
    return (
        Checked(name, Verdict.DAMAGED, problem)
        if problem
        else Checked(name, Verdict.INTACT, _facts(manifest))
    )


def _check_sealed(recording: Recording, mark: Mark | None) -> tuple[Manifest, str]:
    """What is sealed, wherever it is kept, and what speaks against it; raises where it doesn't open."""
    keys, signer = keyring(), seal_key().public_key()
    wanted = Manifest.from_dict(recording.manifest or {})
    found = holdings.open_file(recording, store().sealed_path(recording.session_id))
    with found.source:
        manifest = seal.verify_source(
            found.path, found.source, found.newer_wrap, keys, signer, manifest=wanted
        )
        problem = _against_the_record(recording, manifest)
        if not problem and mark is not None and (mark.bytes, mark.sha256) != (manifest.size, manifest.sha256):
            # The trail knew of it before it was sealed.
            pieces = seal.open_source(
                found.path, found.source, found.newer_wrap, keys, signer, manifest=wanted
            )
            problem = marks.problem_with(mark, pieces)
    return manifest, problem or holdings_check.kept_problem(recording, keys)


def check_file(path: Path) -> Checked:
    """A file wherever it is: a sealed recording, or a plain copy as it was downloaded."""
    with path.open("rb") as source:
        is_sealed = path.name.endswith(SEALED) or source.read(len(MAGIC)) == MAGIC
        source.seek(0)
        digest = "" if is_sealed else hashlib.file_digest(source, "sha256").hexdigest()
    if not is_sealed:
        recording = Recording.objects.select_related("session").filter(sha256=digest).first()
        if recording is None:
            return Checked(path.name, Verdict.DAMAGED, "no sealed recording holds exactly these bytes")
        return Checked(path.name, Verdict.INTACT, f"it is the recording of {recording.session.label}")
    try:
        manifest = seal.verify(path, keyring(), seal_key().public_key())
    except RecordingDamaged as damage:
        return Checked(path.name, Verdict.DAMAGED, f"{damage.place}: {damage.what}")
    recording = find(str(manifest.facts.get("session", "")))
    if recording is None:
        return Checked(
            path.name, Verdict.DAMAGED, "its seal holds, but no session in the database is its own"
        )
    problem = _against_the_record(recording, manifest)
    what = problem or f"{recording.session.label}, {_facts(manifest)}"
    return Checked(path.name, Verdict.DAMAGED if problem else Verdict.INTACT, what)


def _check_open(recording: Recording, mark: Mark | None) -> Checked:
    session = recording.session
    going_on = session.state != SessionState.ENDED
    if not going_on and store().sealed_path(session.pk).exists():
        return Checked(session.label, Verdict.OPEN, recording.problem or "it waits to be sealed")
    try:
        plain = store().open_path(session.pk)
        problem = marks.problem_with(mark, read_file(plain)) if mark else ""
        there = plain.exists()
    except FileNotFoundError:
        problem, there = "", False
    if problem:
        return Checked(session.label, Verdict.DAMAGED, problem)
    if there:
        waits = recording.problem or "it waits to be sealed"
        return Checked(session.label, Verdict.OPEN, "the session is going on" if going_on else waits)
    return _check_missing(recording, mark, going_on=going_on)


def _check_missing(recording: Recording, mark: Mark | None, *, going_on: bool) -> Checked:
    """No file: before a session is live, and where the asset wasn't reached, there may be none."""
    session = recording.session
    if mark is not None or session.bytes_out or marks.was_live(session):
        missing = "the file is missing" + ("" if going_on else " and was never sealed")
        knows = f": {marks.told_of(mark)}" if mark else ", though the session was live"
        return Checked(session.label, Verdict.DAMAGED, missing + knows)
    if going_on:
        return Checked(session.label, Verdict.OPEN, "the session is going on")
    return Checked(session.label, Verdict.OPEN, "nothing was relayed, so nothing was recorded")


def _against_the_record(recording: Recording, manifest: Manifest) -> str:
    """What speaks against this manifest, or nothing. A seal alone doesn't say that it is the one made back then."""
    if manifest.facts.get("session") != str(recording.session_id):
        return "manifest: it is of another session"
    if recording.manifest != manifest.as_dict() or recording.sha256 != manifest.sha256:
        return "manifest: it isn't the one on record for this recording"
    row = (
        AuditEvent.objects.filter(
            tag__in=(AuditTag.RECORDING_SEALED, AuditTag.RECORDING_RECOVERED),
            subject=audit.name_of(recording.session),
        )
        .order_by("seq")
        .first()
    )
    if row is None:
        return "audit trail: it knows of no seal for this session"
    if (row.data.get("sha256"), row.data.get("signature")) != (manifest.sha256, manifest.signature):
        return f"audit trail: row {row.seq} tells of another seal"
    return ""


def _facts(manifest: Manifest) -> str:
    minutes, seconds = divmod(manifest.duration_us // 1_000_000, 60)
    ended = "" if manifest.ended == "closed" else f", {manifest.ended}"
    return (
        f"{manifest.size} bytes, {manifest.events} events, {minutes}:{seconds:02}, {manifest.sha256}{ended}"
    )
