"""The report after its first page: tables of everything that the bundle holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sessions.evidence.case import Case, factor_kind
from sessions.evidence.report import Contents, Section, Table
from sessions.evidence.standards import Line
from sessions.evidence.trail import Trail
from sessions.evidence.words import clock, ms, plain, reason, shortened, stamp

MOST_ROWS: Final = 200


def sections(what: Contents) -> Iterable[Section]:
    """In the order in which a reader asks; the first belongs to the first page."""
    case = what.case
    yield Section("What this can't show", items=tuple(what.cannot_show))
    yield Section("Sessions", table=_sessions(case))
    yield Section(
        "Receipts of the ends",
        ("Milliseconds from the moment at which access should have been gone.",),
        _receipts(case),
    )
    yield _cut(Section("Commands and channels", _shells(case), _commands(what)), "commands.csv")
    yield _cut(Section("Files", (), _files(case)), "files.csv")
    yield Section(
        "Recordings", ("SHA-256 of each plain recording; its seal beside it is signed.",), _recordings(what)
    )
    yield Section("What was allowed", (), _policy(case))
    yield _cut(Section("The audit rows", (), _trail(what.trail)), "audit/rows.jsonl")
    yield Section(
        "Standards",
        (
            "What in this bundle shows each control. \u201cNot shown\u201d says nothing about the house, only about this bundle.",
        ),
        _standards(what.standards),
    )
    yield Section("How to check this", items=_how(what))


def _sessions(case: Case) -> Table:
    rows = [
        (one["label"], one["asset"] + " as " + one["login"], stamp(one["opened_at"]), stamp(one["ended_at"]),
         reason(one["end_reason"]), one["client_address"], factor_kind(one["factor"]))
        for one in case.sessions
    ]  # fmt: skip
    heads = ("Session", "Machine", "Opened (UTC)", "Ended (UTC)", "Why", "From", "Proof")
    return _table(heads, rows, (0.8, 1.7, 2.1, 2.1, 1.9, 1.4, 1.9))


def _receipts(case: Case) -> Table:
    rows = [
        (one["session"], reason(one["cause"]), stamp(one["asked_at"]),
         one["asked_by"]["name"] if one["asked_by"] else "", *map(ms, (one["cut_ms"], one["last_byte_ms"],
         one["client_gone_ms"], one["target_gone_ms"])), "estimated after a crash" if one["estimated"] else "")
        for one in case.receipts
    ]  # fmt: skip
    heads = ("Session", "Cause", "Asked (UTC)", "By", "Cut", "Last byte", "Client gone", "Asset gone", "")
    return _table(heads, rows, (0.9, 1.8, 1.8, 1.3, 0.9, 1, 1, 1, 1.1))


def _shells(case: Case) -> tuple[str, ...]:
    if any(one["kind"] == "shell" for one in case.channels):
        return (
            "\u201cInferred\u201d was typed into a shell and read from the screen, which a program can draw as it likes: "
            "the recording and its transcript have what was shown.",
        )
    return ()


def _commands(what: Contents) -> Table:
    rows = [
        (f"{one['session']}.{one['number']}", one["kind"] or "", one["command"] or one["destination"] or "", one["how"],
         clock(one["opened_at"]), "" if one["seconds"] is None else f"{one['seconds']:.1f} s",
         one["refusal"] or one["exit_signal"] or plain(one["exit_status"]),
         "" if one["bytes_out"] is None else f"{one['bytes_out']:,}".replace(",", "\u2009"))
        for one in what.commands
    ]  # fmt: skip
    heads = ("Channel", "Kind", "What", "Known", "At", "Took", "Exit", "Bytes out")
    return _table(heads, rows, (1, 0.8, 4.6, 0.9, 1, 0.8, 1, 1), {2})


def _files(case: Case) -> Table:
    rows = [
        (f"{one['session']}:{one['label']}", one["verb"], one["path"] + (f" \u2192 {one['target']}" if one["target"] else ""),
         {"up": "to asset", "down": "from asset"}.get(one["direction"], ""), str(one["bytes"]), one["sha256"][:16],
         one["outcome"])
        for one in case.files
    ]  # fmt: skip
    heads = ("Where", "What", "File", "Way", "Bytes", "SHA-256", "Outcome")
    return _table(heads, rows, (1.1, 0.9, 4, 1, 0.9, 1.9, 1.6), {2, 5})


def _recordings(what: Contents) -> Table:
    rows = [
        (one["session"], one["cast"] or "not in this bundle", one["why_not"] or one["state"], one["sha256"])
        for one in what.recordings
    ]
    return _table(("Session", "File", "State", "SHA-256"), rows, (0.8, 2, 2.4, 5), {3})


def _policy(case: Case) -> Table:
    spec, book = case.spec, case.grant["playbook"]
    forwards = ", ".join(map(str, spec.forward_to))
    files = spec.files
    bounds = (
        ""
        if files is None
        else f"only inside {', '.join(files.roots) or 'anywhere'}; at most {files.max_bytes or 'any'} bytes"
    )
    rows = [
        ("Playbook", f"{book['title']} ({book['slug']} v{book['version']})"),
        ("Digest", book["digest"]),
        ("Purpose", spec.purpose),
        ("Answers for it", spec.owner),
        ("Risk", str(spec.risk)),
        ("Machines", ", ".join(spec.assets)),
        ("Logins", ", ".join(spec.logins)),
        ("Channels", ", ".join(map(str, spec.channels)) + (f"; forwards to {forwards}" if forwards else "")),
        *([("Files", bounds)] if bounds else []),
        ("Duration", f"{spec.duration.default_minutes} min, at most {spec.duration.max_minutes}; extensions: {spec.duration.extensions}"),
        ("Consent", f"{spec.approvers.count} of {', '.join(spec.approvers.groups)}"),
        ("Idle end", f"after {spec.idle_minutes} min without input"),
    ]  # fmt: skip
    return _table(("", ""), rows, (1, 5))


def _trail(trail: Trail) -> Table:
    rows = []
    for row in trail.rows:
        proven = "" if row.proof is None else "proven"
        rows.append((str(row.seq), row.at[:19].replace("T", " "), row.tag, row.actor, row.hash[:16], proven))
    return _table(("Row", "Time (UTC)", "What", "Actor", "Hash", ""), rows, (0.7, 1.8, 3, 1.8, 1.9, 0.8), {4})


def _standards(lines: list[Line]) -> Table:
    rows = []
    for line in lines:
        shown = "; ".join(f"{one.says} ({one.where})" for one in line.shown) or "not shown by this bundle"
        label = f"{line.label}: {line.about}" if line.about else line.label
        rows.append((label + (" \u2022" if line.named_by_playbook else ""), shown))
    return _table(("Control (\u2022 named by the playbook)", "What shows it"), rows, (2, 3))


def _how(what: Contents) -> tuple[str, ...]:
    return (
        "python3 verify.py (in the unpacked folder, or with the zip's name) checks every byte, the audit rows and their "
        "proofs, the seals and all signatures. It needs nothing but Python 3.9.",
        "ssh-keygen -Y verify -f allowed_signers -I evidence -n breakglass-evidence -s manifest.json.sig < manifest.json",
        f"The key must be {what.key}. Ask {what.house} for it: a key that comes along with what it signs proves nothing.",
    )


def _table(
    heads: tuple[str, ...],
    rows: Iterable[tuple[str, ...]],
    shares: tuple[float, ...],
    mono: Iterable[int] = (),
) -> Table:
    clean = tuple(tuple(map(shortened, row)) for row in rows)
    return Table(heads, clean, shares, frozenset(mono))


def _cut(section: Section, file: str) -> Section:
    table = section.table
    if table is None or len(table.rows) <= MOST_ROWS:
        return section
    left = len(table.rows) - MOST_ROWS
    more = f"The first {MOST_ROWS}; {left} more are in {file}."
    return Section(
        section.title,
        (*section.says, more),
        Table(table.heads, table.rows[:MOST_ROWS], table.shares, table.mono),
    )
