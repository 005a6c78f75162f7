"""Is the trail what it was? Its rows, what the notary signed about them, what anchors outside kept, and the recordings.

The answer is a list of findings, of warnings, and of what can't be known from what was at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from breakglass.domain.audit import GENESIS
from breakglass.domain.checkpoint import Checkpoint, Key, is_whole
from breakglass.domain.merkle import CompactRange
from breakglass.models import AuditCheckpoint
from breakglass.models.audit_event import TABLE
from breakglass.models.audit_triggers import CHECKPOINT as CHECKPOINTS
from breakglass.services import audit_check, audit_guard
from breakglass.services.anchors import Anchor, AnchorFailed
from breakglass.services.audit_proofs import notary_keys
from breakglass.services.notes import opened


class Code(IntEnum):
    """What was found, as the exit code of `verify_audit`. 2 is a command that can't be understood."""

    INTACT = 0
    BROKEN = 1
    TRUNCATED = 3
    FORKED = 4
    RECORDING = 5
    ANCHOR = 6
    CHECKPOINT = 7


# Of several findings the first of these is the exit code: the trail's own before what hangs on it, and a break before
# a fork, of which one can only speak where the rows are whole in themselves.
GRAVEST_FIRST = (Code.TRUNCATED, Code.BROKEN, Code.FORKED, Code.CHECKPOINT, Code.RECORDING, Code.ANCHOR)


class CheckedRecording(Protocol):
    """What the data plane says of one recording."""

    @property
    def name(self) -> str: ...
    @property
    def verdict(self) -> str: ...
    @property
    def what(self) -> str: ...


@dataclass(frozen=True)
class Witness:
    """A checkpoint whose signature holds, and where it was found."""

    source: str
    checkpoint: Checkpoint
    outside: bool


@dataclass
class Report:
    """`chain` is the walk over the rows; `anchored` the newest size that something outside vouches for."""

    chain: audit_check.VerifyResult
    findings: list[tuple[Code, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    signed: int = 0
    anchored: int = 0
    recordings: int | None = None

    @property
    def code(self) -> Code:
        found = {code for code, _ in self.findings}
        return next((code for code in GRAVEST_FIRST if code in found), Code.INTACT)

    def gravest_first(self) -> list[tuple[Code, str]]:
        """All findings; those of one kind as they were found."""
        return sorted(self.findings, key=lambda finding: GRAVEST_FIRST.index(finding[0]))


@dataclass(frozen=True)
class Evidence:
    """What to hold the trail against. `keys` empty: those that the trail itself names."""

    keys: Sequence[Key] = ()
    notes: Sequence[tuple[str, str]] = ()
    """Checkpoints that somebody kept: where, and the signed note."""
    anchors: Sequence[Anchor] = ()
    stored: int | None = None
    """How many of the newest stored checkpoints are looked at; None: all."""


def examine(evidence: Evidence, *, recordings: bool = True, processes: int = 1) -> Report:
    """Everything. Reads whole tables and asks anchors: seconds to minutes; changes nothing."""
    gone = audit_guard.missing_parts()
    if gone.keys() - {CHECKPOINTS}:
        return _without_tables(gone)
    keys = list(evidence.keys) or notary_keys()
    findings: list[tuple[Code, str]] = [(Code.CHECKPOINT, what) for what in gone.values()]
    stored = [] if gone else _stored(keys, evidence.stored, findings)
    witnesses = [*stored, *_outside(evidence, keys, findings)]
    chain = audit_check.verify({one.checkpoint.size for one in witnesses}, processes)
    report = Report(chain, findings)
    if not chain.ok:
        findings.append((Code.TRUNCATED if chain.truncated else Code.BROKEN, chain.problem))
    for one in witnesses:
        _hold_against(report, one)
    if recordings:
        report.recordings = _recordings(report)
    report.warnings += audit_guard.warnings()
    report.unknown += _unknown(report, evidence)
    return report


def _without_tables(gone: Mapping[str, str]) -> Report:
    """There are no rows to walk. What outsiders kept says how many there were, and can't be held against anything."""
    problem = next(what for table, what in gone.items() if table != CHECKPOINTS)
    chain = audit_check.VerifyResult(0, GENESIS, 1, problem, truncated=TABLE in gone)
    codes = {TABLE: Code.TRUNCATED, CHECKPOINTS: Code.CHECKPOINT}
    findings = [(codes.get(table, Code.BROKEN), what) for table, what in gone.items()]
    return Report(chain, findings, unknown=["anything else: there are no rows to look at"])


def _stored(keys: Sequence[Key], newest: int | None, findings: list[tuple[Code, str]]) -> Iterator[Witness]:
    for row in AuditCheckpoint.objects.order_by("-size")[:newest].iterator():
        what = f"the stored checkpoint of {row.size} rows"
        one = _opened(what, str(row.note), keys, findings, Code.CHECKPOINT, outside=False)
        if one is None:
            continue
        if (one.checkpoint.size, one.checkpoint.root.hex(), one.checkpoint.root) != (
            row.size,
            row.root,
            _edge_root(row),
        ):
            findings.append((Code.CHECKPOINT, f"{what}: its columns say something else than its signed note"))
        yield one


def _edge_root(row: AuditCheckpoint) -> bytes:
    """The root that the stored edge of the tree gives; nothing where it can't be one."""
    try:
        nodes = [row.edge[at : at + 32] for at in range(0, len(row.edge), 32)]
        return CompactRange(row.size, nodes).root()
    except (ValueError, TypeError):
        return b""


def _outside(evidence: Evidence, keys: Sequence[Key], findings: list[tuple[Code, str]]) -> Iterator[Witness]:
    for source, note in evidence.notes:
        yield from filter(None, [_opened(source, note, keys, findings, Code.FORKED, outside=True)])
    for anchor in evidence.anchors:
        if not anchor.can_be_read:
            continue
        try:
            notes = anchor.read()
        except AnchorFailed as failed:
            findings.append((Code.ANCHOR, f"the anchor {anchor.name} can't be read: {failed}"))
            continue
        if not notes:
            findings.append((Code.ANCHOR, f"the anchor {anchor.name} has no checkpoint"))
        for note in notes:
            if not is_whole(note):
                text = f"the anchor {anchor.name} holds something that is no whole checkpoint: torn by a crash, or changed"
                findings.append((Code.ANCHOR, text))
                continue
            one = _opened(f"the anchor {anchor.name}", note, keys, findings, Code.FORKED, outside=True)
            if one is not None:
                yield one


def _opened(
    source: str,
    note: str,
    keys: Sequence[Key],
    findings: list[tuple[Code, str]],
    code: Code,
    *,
    outside: bool,
) -> Witness | None:
    """Anything here that no known key signed is a finding: a trail that was written anew brings a key of its own."""
    try:
        checkpoint, _ = opened(note, *keys)
    except ValueError as error:
        findings.append((code, f"{source}: {error}"))
        return None
    return Witness(source, checkpoint, outside)


def _hold_against(report: Report, one: Witness) -> None:
    size, rows = one.checkpoint.size, report.chain.rows
    root = report.chain.roots.get(size)
    if size > rows:
        if report.chain.ok:  # else the break says more
            text = f"{one.source} is of {size} rows; the trail has only {rows}"
            report.findings.append((Code.TRUNCATED, text))
    elif size and root != one.checkpoint.root:
        text = f"{one.source}: the trail's first {size} rows aren't those that were signed"
        report.findings.append((Code.FORKED, text))
    else:
        report.signed = max(report.signed, size)
        if one.outside:
            report.anchored = max(report.anchored, size)


def _recordings(report: Report) -> int:
    """The data plane's own check, which joins by name."""
    check: Callable[[], Iterable[CheckedRecording]] = import_string(settings.DATA_PLANE_RECORDINGS)
    count = 0
    for one in check():
        count += 1
        if one.verdict == "damaged":
            report.findings.append((Code.RECORDING, f"recording {one.name}: {one.what}"))
        elif one.verdict == "unknown":
            report.unknown.append(f"whether the recording {one.name} is whole: {one.what}")
    return count


def _unknown(report: Report, evidence: Evidence) -> Iterator[str]:
    rows = report.chain.rows
    if report.anchored == 0:
        yield "whether the whole trail was written anew, signatures and all: nothing outside of this database was asked"
    elif report.anchored < rows:
        yield f"whether rows {report.anchored + 1} to {rows} were changed since: no checkpoint outside covers them yet"
    if not evidence.keys:
        yield "whether the notary's key is the right one: it is taken from the trail itself (give it by --vkey)"
    yield "whether the notary's key was stolen, and used to sign another trail that nobody has been shown yet"
    for anchor in evidence.anchors:
        if not anchor.can_be_read:
            yield f"what the anchor {anchor.name} kept: it only takes (look there, and give it by --checkpoint FILE)"
    yield "whether what was written down was true at the time: only that it is what was written down"
    if report.recordings is None:
        yield "whether the recordings are whole: they weren't looked at"
