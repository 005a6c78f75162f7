"""The audit trail's vocabulary, and what a row is: canonical bytes, and a hash that holds them and the row before.

docs/audit.md says the same for whoever checks a trail without this program.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from breakglass.domain.merkle import leaf_hash

GENESIS = "0" * 64


class AuditTag(StrEnum):
    """`source:subject:action`."""

    PERSON_CREATED = "people:person:created"
    PERSON_DISABLED = "people:person:disabled"
    PERSON_ENABLED = "people:person:enabled"
    PERSON_GROUPS_SET = "people:person:groups_set"
    PERSON_PASSWORD_CHOSEN = "people:person:password_chosen"
    PERSON_VENDOR_SET = "people:person:vendor_set"
    LOGIN_SUCCEEDED = "web:login:succeeded"
    LOGIN_FAILED = "web:login:failed"
    LOGOUT = "web:login:ended"
    LOGIN_UNLOCKED = "web:login:unlocked"
    FACTOR_ENROLLED = "people:second_factor:enrolled"
    FACTOR_REFUSED = "people:second_factor:refused"
    FACTOR_REMOVED = "people:second_factor:removed"
    PASSKEY_CLONED = "people:passkey:cloned"
    ENROLMENT_CODE_ISSUED = "people:enrolment_code:issued"
    ENROLMENT_CODE_USED = "people:enrolment_code:used"
    ENROLMENT_CODE_REFUSED = "people:enrolment_code:refused"
    RECOVERY_ASKED = "people:recovery:asked"
    RECOVERY_CONFIRMED = "people:recovery:confirmed"
    RECOVERY_DECLINED = "people:recovery:declined"
    RECOVERY_REFUSED = "people:recovery:refused"
    RECOVERY_CODE_USED = "people:recovery_code:used"
    KEY_REGISTERED = "people:ssh_key:registered"
    KEY_REMOVED = "people:ssh_key:removed"
    KEY_REFUSED = "people:ssh_key:refused"
    KEY_CLONED = "people:ssh_key:cloned"
    CERTIFICATE_ISSUED = "people:certificate:issued"
    CERTIFICATE_REVOKED = "people:certificate:revoked"
    CERTIFICATE_REFUSED = "people:certificate:refused"
    CONNECT_CODE_ISSUED = "people:connect_code:issued"
    CONNECT_CODE_USED = "people:connect_code:used"
    CONNECT_CODE_REFUSED = "people:connect_code:refused"
    TERMINAL_TICKET_ISSUED = "people:terminal_ticket:issued"
    TERMINAL_TICKET_USED = "people:terminal_ticket:used"
    TERMINAL_TICKET_REFUSED = "people:terminal_ticket:refused"
    TOKEN_ISSUED = "people:token:issued"
    TOKEN_REVOKED = "people:token:revoked"
    ASSET_REGISTERED = "assets:asset:registered"
    ASSET_CHANGED = "assets:asset:changed"
    CREDENTIAL_STORED = "assets:credential:stored"
    CREDENTIAL_USED = "assets:credential:used"
    PLAYBOOK_PUBLISHED = "playbooks:version:published"
    PLAYBOOK_RETIRED = "playbooks:version:retired"
    INCIDENT_OPENED = "incidents:incident:opened"
    INCIDENT_CLOSED = "incidents:incident:closed"
    REQUEST_SUBMITTED = "requests:request:submitted"
    REQUEST_REFUSED = "requests:request:refused"
    REQUEST_WITHDRAWN = "requests:request:withdrawn"
    REQUEST_ESCALATED = "requests:request:escalated"
    REQUEST_LAPSED = "requests:request:lapsed"
    REQUEST_APPROVED = "requests:request:approved"
    REQUEST_DENIED = "requests:request:denied"
    APPROVAL_GIVEN = "approvals:approval:given"
    APPROVAL_DENIED = "approvals:approval:denied"
    APPROVAL_TAKEN_BACK = "approvals:approval:taken_back"
    APPROVAL_REFUSED = "approvals:approval:refused"
    OVERRIDE_OFFERED = "approvals:override:offered"
    OVERRIDE_GIVEN = "approvals:override:given"
    OVERRIDE_REFUSED = "approvals:override:refused"
    GRANT_ISSUED = "grants:grant:issued"
    GRANT_EXTENDED = "grants:grant:extended"
    GRANT_ACTIVATED = "grants:grant:activated"
    GRANT_RELEASED = "grants:grant:released"
    GRANT_REVOKED = "grants:grant:revoked"
    GRANT_EXPIRED = "grants:grant:expired"
    LOCK_PLACED = "locks:lock:placed"
    LOCK_LIFTED = "locks:lock:lifted"
    ACCESS_REFUSED = "gateway:access:refused"
    CHANNEL_REFUSED = "gateway:channel:refused"
    SESSION_OPENED = "gateway:session:opened"
    SESSION_LIVE = "gateway:session:live"
    SESSION_KILLED = "gateway:session:killed"
    SESSION_FROZEN = "gateway:session:frozen"
    SESSION_UNFROZEN = "gateway:session:unfrozen"
    WATCH_BEGUN = "sessions:watch:begun"
    WATCH_ENDED = "sessions:watch:ended"
    KIOSK_MADE = "sessions:kiosk:made"
    KIOSK_PAIRED = "sessions:kiosk:paired"
    KIOSK_REFUSED = "sessions:kiosk:refused"
    KIOSK_REVOKED = "sessions:kiosk:revoked"
    ESCORT_CAME = "sessions:escort:came"
    ESCORT_LEFT = "sessions:escort:left"
    CHAT_SAID = "sessions:chat:said"
    SESSION_ENDED = "gateway:session:ended"
    SESSION_CRASHED = "gateway:session:crashed"
    HOST_KEY_ALARM = "gateway:host_key:alarm"
    GATEWAY_STARTED = "gateway:process:started"
    GATEWAY_STOPPED = "gateway:process:stopped"
    GATEWAY_STALLED = "gateway:process:stalled"
    CLOCK_STEPPED = "gateway:clock:stepped"
    JOURNAL_REJECTED = "gateway:journal:rejected"
    JOURNAL_REPLAYED = "gateway:journal:replayed"
    DISK_FULL = "gateway:disk:full"
    DISK_BACK = "gateway:disk:back"
    RECORDING_MARKED = "recordings:recording:marked"
    RECORDING_SEALED = "recordings:recording:sealed"
    RECORDING_RECOVERED = "recordings:recording:recovered"
    RECORDING_VIEWED = "recordings:recording:viewed"
    RECORDING_DOWNLOADED = "recordings:recording:downloaded"
    RECORDINGS_SEARCHED = "recordings:text:searched"
    TRANSCRIPT_VIEWED = "recordings:transcript:viewed"
    FILE_DOWNLOADED = "recordings:file:downloaded"
    RECORDING_DAMAGED = "recordings:recording:damaged"
    RECORDING_STORED = "recordings:recording:stored"
    RECORDING_STORE_FAILED = "recordings:recording:store_failed"
    RECORDING_HELD = "recordings:recording:held"
    RECORDING_UNHELD = "recordings:recording:unheld"
    RECORDING_DELETED = "recordings:recording:deleted"
    RECORDING_ERASED = "recordings:recording:erased"
    RECORDING_KEY_ROTATING = "recordings:key:rotating"
    RECORDING_KEY_ROTATED = "recordings:key:rotated"
    REVIEW_DUE = "reviews:review:due"
    REVIEW_VIEWED = "reviews:review:viewed"
    REVIEW_CLAIMED = "reviews:review:claimed"
    REVIEW_UNCLAIMED = "reviews:review:unclaimed"
    REVIEW_FIRST_SIGNED = "reviews:review:first_signed"
    REVIEW_SIGNED = "reviews:review:signed"
    REVIEW_OVERDUE = "reviews:review:overdue"
    REVIEW_ESCALATED = "reviews:review:escalated"
    FINDING_ADDED = "reviews:finding:added"
    FINDING_WITHDRAWN = "reviews:finding:withdrawn"
    FINDING_FOLLOWED = "reviews:finding:followed_up"
    FINDING_CLOSED = "reviews:finding:closed"
    FINDING_REOPENED = "reviews:finding:reopened"
    EVIDENCE_EXPORTED = "evidence:bundle:exported"
    NOTICE_SENT = "notices:notice:sent"
    NOTICE_FAILED = "notices:notice:failed"
    ROUTE_ADDED = "notices:route:added"
    ROUTE_SWITCHED = "notices:route:switched"
    ROUTE_REMOVED = "notices:route:removed"
    TRAIL_CONVERTED = "audit:trail:converted"
    NOTARY_STARTED = "audit:notary:started"
    NOTARY_REFUSED = "audit:notary:refused"
    ANCHOR_AWAY = "audit:anchor:away"
    ANCHOR_BACK = "audit:anchor:back"
    STREAM_AWAY = "audit:stream:away"
    STREAM_BACK = "audit:stream:back"


@dataclass(frozen=True)
class Entry:
    """What one row says, without its links. `data` holds only JSON values, never a secret."""

    seq: int
    at: datetime
    tag: str
    actor: str
    subject: str
    data: Mapping[str, object]
    actor_name: str = ""


_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def spelled(word: str) -> str:
    """A text as a row's body spells it."""
    return _JSON.encode(word)


def canonical(entry: Entry) -> bytes:
    """A row's body: JSON, keys sorted, no spaces, UTC with microseconds (as RFC 8785 would order them)."""
    fields = {
        "seq": entry.seq,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "tag": entry.tag,
        "actor": entry.actor,
        "actor_name": entry.actor_name,
        "subject": entry.subject,
        "data": entry.data,
    }
    return _JSON.encode(fields).encode()


def link(previous_hash: str, body: bytes) -> str:
    """A row's hash in hex: SHA-256(0x00 || the hash before, 32 bytes || body), which is its RFC 6962 leaf hash."""
    return leaf_hash(bytes.fromhex(previous_hash) + body).hex()
