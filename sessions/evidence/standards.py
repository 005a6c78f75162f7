"""Which control each part of a bundle serves, by what is really in it. A label without a record is said not to be shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from breakglass.domain.audit import link
from breakglass.domain.checkpoint import checkpoint_of, note_of
from breakglass.domain.merkle import root_from_inclusion
from playbooks.standards import LABELS
from sessions.evidence.case import Case, factor_kind, over_at
from sessions.evidence.judgement import is_signed, signers
from sessions.evidence.trail import Row, Trail

# A security key that asked for its PIN, a certificate that was given for a fresh code: both hold a second factor.
EMBODIED = ("fido:", "certificate:", "passkey:")
EARLY = frozenset({"revoked", "killed", "locked", "released", "not_authorized"})


@dataclass(frozen=True)
class Shown:
    """One thing that the records say, and the file that says it."""

    says: str
    where: str


@dataclass(frozen=True)
class Line:
    """A control; `shown` is empty where nothing in the bundle shows it."""

    label: str
    about: str
    named_by_playbook: bool
    shown: tuple[Shown, ...]


@dataclass(frozen=True)
class Records:
    """What the facts below are computed from: the case, its trail, and the labels of the recordings in the bundle."""

    case: Case
    trail: Trail
    recorded: frozenset[str]


def mapping(records: Records) -> list[Line]:
    """Every label that a playbook may name, in its order."""
    found = {name: fact(records) for name, fact in FACTS.items()}
    named = set(records.case.spec.standards)
    return [_line(label, found, label in named) for label in LABELS]


def _line(label: str, found: dict[str, Shown | None], named: bool) -> Line:
    about, wanted = CONTROLS.get(label, ("", ()))
    shown = [found[name] for name in wanted]
    # All of what a control asks for, or none: half of it shows nothing.
    whole = tuple(one for one in shown if one is not None) if wanted and all(shown) else ()
    return Line(label, about, named, whole)


# --- facts: each is None unless the records say it


def _one_person(records: Records) -> Shown | None:
    sessions = records.case.sessions
    if not sessions or any(one["person"]["id"] != records.case.grant["person"]["id"] for one in sessions):
        return None
    name = records.case.grant["person"]["name"]
    return Shown(
        f"Each of {len(sessions)} sessions is of {name}, the one person of the grant", "sessions.json"
    )


def _proof(records: Records) -> Shown | None:
    factors = {one["factor"] for one in records.case.sessions}
    if not factors or not all(factors):
        return None
    kinds = ", ".join(sorted({factor_kind(factor) for factor in factors}))
    return Shown(f"Each login is on record with its proof: {kinds}", "sessions.json")


def _two_factors(records: Records) -> Shown | None:
    factors = {one["factor"] for one in records.case.sessions}
    if not factors or not all("totp" in one or one.startswith(EMBODIED) for one in factors):
        return None
    return Shown("Each login gave a second factor", "sessions.json")


def _consent(records: Records) -> Shown | None:
    people = _approvers(records.case)
    if not people:
        return None
    names = ", ".join(sorted(person["name"] for person in people.values()))
    return Shown(
        f"Approved by {names}, with a second factor each, none of them the requester", "approvals.json"
    )


def _dual(records: Records) -> Shown | None:
    people = _approvers(records.case)
    return Shown(f"{len(people)} distinct people approved", "approvals.json") if len(people) > 1 else None


def _approvers(case: Case) -> dict[Any, Any]:
    """Who said yes to the request itself, by id, where each did so with a factor and isn't the requester."""
    given = [one for one in case.approvals if one["request"] == case.label and one["verdict"] == "approved"]
    if any(not one["factor"] or one["person"]["id"] == case.request["requester"]["id"] for one in given):
        return {}
    return {one["person"]["id"]: one["person"] for one in given}


def _policy(records: Records) -> Shown | None:
    book = records.case.grant["playbook"]
    said = f"Scope, people and duration are those of playbook {book['slug']} v{book['version']}, named by its digest"
    return Shown(said, "policy/playbook.json")


def _scope(records: Records) -> Shown | None:
    grant = records.case.grant
    inside = all(
        one["asset"] in grant["assets"] and one["login"] in grant["logins"] for one in records.case.sessions
    )
    if not records.case.sessions or not inside:
        return None
    return Shown(f"Every session was on {', '.join(grant['assets'])} as a granted login", "sessions.json")


def _decided(records: Records) -> Shown | None:
    ids = {one["decision_id"] for one in records.case.sessions}
    return (
        Shown("Each session carries the id of the decision that let it in", "sessions.json")
        if ids and all(ids)
        else None
    )


def _ended(records: Records) -> Shown | None:
    over = over_at(records.case)
    sessions = records.case.sessions
    if over is None or any(one["ended_at"] is None for one in sessions):
        return None
    return Shown(f"The grant was over at {over:%Y-%m-%d %H:%M:%S} UTC, and no session is open", "grant.json")


def _receipt(records: Records) -> Shown | None:
    cuts = [one["receipt"] for one in records.case.sessions]
    if not cuts or any(one is None or one["estimated"] or one["cut_at"] is None for one in cuts):
        return None
    slowest = max(one["cut_ms"] for one in cuts)
    return Shown(
        f"Receipts say when each session was cut: at most {slowest:.0f} ms after it was asked",
        "receipts.json",
    )


def _cut_early(records: Records) -> Shown | None:
    cut = [one for one in records.case.sessions if one["receipt"] and one["end_reason"] in EARLY]
    if not cut:
        return None
    names = ", ".join(f"{one['label']} ({one['end_reason'].replace('_', ' ')})" for one in cut)
    return Shown(f"Access was ended before its time: {names}", "receipts.json")


def _recorded(records: Records) -> Shown | None:
    labels = {one["label"] for one in records.case.sessions}
    if not labels or not labels <= records.recorded:
        return None
    return Shown("Every session's recording is here, sealed and signed", "recordings.json")


def _trail(records: Records) -> Shown | None:
    rows = records.trail.rows
    if not rows or any(row.hash != link(row.previous, row.body.encode()) for row in rows):
        return None
    return Shown(f"{len(rows)} audit rows, each chained to the one before", "audit/rows.jsonl")


def _proofs(records: Records) -> Shown | None:
    trail = records.trail
    if not trail.checkpoint or trail.younger or not trail.rows or _trail(records) is None:
        return None
    root = checkpoint_of(note_of(trail.checkpoint).text).root
    if any(_leads_to(row, trail.size) != root for row in trail.rows):
        return None
    return Shown("Every row is proven to be in the signed trail", "audit/checkpoint.txt")


def _leads_to(row: Row, size: int) -> bytes:
    path = [bytes.fromhex(one) for one in row.proof or ()]
    return root_from_inclusion(row.seq - 1, size, bytes.fromhex(row.hash), path)


def _reviewed(records: Records) -> Shown | None:
    review = records.case.review
    if review is None or not is_signed(review):
        return None
    had_part = {one["person"]["id"] for one in records.case.approvals if one["verdict"] == "approved"}
    had_part.add(records.case.request["requester"]["id"])
    judged = signers(review)
    if any(one["id"] in had_part for one in judged):
        return None
    names = " and ".join(one["name"] for one in judged)
    return Shown(f"Reviewed by {names}, who neither asked nor approved", "review.json")


def _host_key(records: Records) -> Shown | None:
    pinned = {key["fingerprint"] for asset in records.case.assets for key in asset["host_keys"]}
    seen = {one["upstream_host_key"] for one in records.case.sessions}
    if not seen or not seen <= pinned:
        return None
    return Shown("Each session's machine showed a host key that was registered before", "sessions.json")


def _certificate(records: Records) -> Shown | None:
    used = [row for row in records.trail.rows if row.tag == "assets:credential:used"]
    methods = {row.data["method"] for row in used}
    if methods != {"certificate"}:
        return None
    said = f"{len(used)} certificates, one a login, were made for it; none outlives the grant"
    return Shown(said, "audit/rows.jsonl")


def _idle(records: Records) -> Shown | None:
    ended = [one["label"] for one in records.case.sessions if one["end_reason"] == "idle"]
    return Shown(f"Ended because nothing was typed: {', '.join(ended)}", "sessions.json") if ended else None


def _not_recordable(records: Records) -> Shown | None:
    ended = [one["label"] for one in records.case.sessions if one["end_reason"] == "cannot_record"]
    return (
        Shown(f"Ended because they could not be recorded: {', '.join(ended)}", "sessions.json")
        if ended
        else None
    )


def _gateway(records: Records) -> Shown | None:
    if not records.case.sessions or not all(one["gateway_id"] for one in records.case.sessions):
        return None
    return Shown("Each session was one of the gateway's, with the addresses on both sides", "sessions.json")


def _times(records: Records) -> Shown | None:
    return (
        Shown("Every row has its time, in UTC, inside what is hashed", "audit/rows.jsonl")
        if records.trail.rows
        else None
    )


FACTS: Final[dict[str, Callable[[Records], Shown | None]]] = {
    "one_person": _one_person,
    "proof": _proof,
    "two_factors": _two_factors,
    "consent": _consent,
    "dual": _dual,
    "policy": _policy,
    "scope": _scope,
    "decided": _decided,
    "ended": _ended,
    "receipt": _receipt,
    "cut_early": _cut_early,
    "recorded": _recorded,
    "trail": _trail,
    "proofs": _proofs,
    "reviewed": _reviewed,
    "host_key": _host_key,
    "certificate": _certificate,
    "idle": _idle,
    "not_recordable": _not_recordable,
    "gateway": _gateway,
    "times": _times,
}

_NHI = "OWASP NHI Top 10 2025: NHI"
CONTROLS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "NIST CSF 2.0 PR.AA-01": ("identities and credentials are managed (CSF 1.1: PR.AC-1)", ("one_person",)),
    "NIST CSF 2.0 PR.AA-02": ("identities are proofed and bound to credentials (PR.AC-6)", ()),
    "NIST CSF 2.0 PR.AA-03": ("users and services are authenticated (PR.AC-7)", ("proof", "host_key")),
    "NIST CSF 2.0 PR.AA-04": ("assertions of identity are protected", ("certificate", "host_key")),
    "NIST CSF 2.0 PR.AA-05": (
        "access is defined, enforced, reviewed (PR.AC-4)",
        ("policy", "consent", "scope", "reviewed"),
    ),
    "NIST CSF 2.0 PR.AA-06": ("physical access (PR.AC-2)", ()),
    "NIST SP 800-207 section 2.1": ("access a session, by policy, recorded", ("decided", "policy", "trail")),
    "NIST SP 800-207 PDP/PEP": ("decided in one place, enforced in another", ("decided", "gateway")),
    "SP 800-53r5 AC-2(2)": ("temporary and emergency accounts end by themselves", ("ended", "certificate")),
    "SP 800-53r5 AC-12": ("sessions are terminated", ("ended", "receipt")),
    "SP 800-53r5 AC-17(9)": ("remote access is cut on demand", ("cut_early", "receipt")),
    "SP 800-53r5 AU-9": ("audit information is protected", ("trail", "proofs")),
    "SP 800-53r5 AU-10": ("who did it can't be denied", ("one_person", "proof", "trail")),
    "SP 800-53r5 AU-14": ("sessions are recorded", ("recorded",)),
    "SP 800-53r5 CP-13": ("alternative security mechanisms", ()),
    "IEC 62443-3-3 SR 1.13 RE 1": ("explicit approval of access", ("consent",)),
    "IEC 62443-3-3 SR 2.1 RE 3": ("supervisor override", ()),
    "IEC 62443-3-3 SR 2.1 RE 4": ("dual approval", ("consent", "dual")),
    "IEC 62443-3-3 SR 2.5": ("session lock", ("idle",)),
    "IEC 62443-3-3 SR 2.6": ("remote sessions are terminated", ("ended", "receipt")),
    "IEC 62443-3-3 SR 2.7": ("limits on concurrent sessions", ()),
    "IEC 62443-3-3 SR 2.8": ("auditable events", ("trail",)),
    "IEC 62443-3-3 SR 2.9": ("room for audit records", ()),
    "IEC 62443-3-3 SR 2.10": ("response when auditing fails", ("not_recordable",)),
    "IEC 62443-3-3 SR 2.11": ("timestamps", ("times",)),
    "IEC 62443-3-3 SR 2.12": ("non-repudiation", ("one_person", "proof", "trail")),
    "IEC 62443-3-3 SR 3.8": ("session integrity", ("host_key", "decided")),
    "IEC 62443-3-3 SR 3.9": ("audit information is protected", ("trail", "proofs")),
    "IEC 62443-3-3 SR 5.2": ("zone boundary protection", ()),
    "IEC 62443-3-3 SR 6.1": ("audit records can be read", ("trail", "reviewed")),
    "IEC 62443-3-3 SR 6.2": ("continuous monitoring", ()),
    "NERC CIP-005-7 R2.1": ("an intermediate system", ("gateway",)),
    "NERC CIP-005-7 R2.2": ("encryption up to the intermediate system", ()),
    "NERC CIP-005-7 R2.3": ("multi-factor authentication", ("two_factors",)),
    "NERC CIP-005-7 R2.4": ("vendors' sessions are known", ()),
    "NERC CIP-005-7 R2.5": ("vendors' sessions can be cut", ()),
    "NERC CIP-005-7 R3.1": ("vendors' connections are known", ()),
    "NERC CIP-005-7 R3.2": ("vendors' connections are ended and kept out", ()),
    "NIS2 Art. 21(2)(i)": ("access control policies", ("policy", "consent", "scope")),
    "NIS2 Art. 21(2)(j)": ("multi-factor authentication", ("two_factors",)),
    f"{_NHI}1 Improper Offboarding": ("", ("ended", "certificate")),
    f"{_NHI}2 Secret Leakage": ("", ()),
    f"{_NHI}3 Vulnerable Third-Party NHI": ("", ()),
    f"{_NHI}4 Insecure Authentication": ("", ("certificate", "host_key")),
    f"{_NHI}5 Overprivileged NHI": ("", ("policy", "scope")),
    f"{_NHI}6 Insecure Cloud Deployment Configurations": ("", ()),
    f"{_NHI}7 Long-Lived Secrets": ("", ("certificate",)),
    f"{_NHI}8 Environment Isolation": ("", ()),
    f"{_NHI}9 NHI Reuse": ("", ()),
    f"{_NHI}10 Human Use of NHI": ("", ("one_person", "gateway")),
}
