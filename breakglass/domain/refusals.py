"""The closed list of reasons to say no, and their wording: one text for page, terminal, API and audit row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from string import Formatter
from typing import NamedTuple

from breakglass.domain.text import visible


class RefusalCode(StrEnum):
    BAD_CREDENTIALS = "bad_credentials"
    SECOND_FACTOR_REQUIRED = "second_factor_required"
    SECOND_FACTOR_WRONG = "second_factor_wrong"
    SECOND_FACTOR_USED = "second_factor_used"
    PASSKEY_REFUSED = "passkey_refused"
    PASSKEY_CLONED = "passkey_cloned"
    ENROLMENT_CODE_WRONG = "enrolment_code_wrong"
    LAST_FACTOR = "last_factor"
    RECOVERY_TAKES_TWO = "recovery_takes_two"
    MATCH_NUMBER_WRONG = "match_number_wrong"
    TOO_MANY_REQUESTS = "too_many_requests"
    THROTTLED = "throttled"
    NOT_ALLOWED = "not_allowed"
    NOT_FOUND = "not_found"
    BAD_NAME = "bad_name"
    BAD_INPUT = "bad_input"
    PERSON_INACTIVE = "person_inactive"
    NO_GRANT = "no_grant"
    GRANT_ENDED = "grant_ended"
    GRANT_FOREIGN = "grant_foreign"
    GRANT_USE_WINDOW_OVER = "grant_use_window_over"
    UNKNOWN_ASSET = "unknown_asset"
    ASSET_OUTSIDE_PLAYBOOK = "asset_outside_playbook"
    LOGIN_NOT_IN_GRANT = "login_not_in_grant"
    CHANNEL_NOT_ALLOWED = "channel_not_allowed"
    FORWARD_NOT_ALLOWED = "forward_not_allowed"
    FORWARD_BARRED = "forward_barred"
    FILE_OUTSIDE_ROOTS = "file_outside_roots"
    FILE_LIMIT = "file_limit"
    FILE_PROTOCOL = "file_protocol"
    TOO_MANY_CHANNELS = "too_many_channels"
    REQUEST_NOT_PENDING = "request_not_pending"
    REQUEST_LAPSED = "request_lapsed"
    OWN_REQUEST = "own_request"
    ALREADY_DECIDED = "already_decided"
    NOT_AN_APPROVER = "not_an_approver"
    OVERRIDE_NOT_OFFERED = "override_not_offered"
    OVERRIDE_TOO_EARLY = "override_too_early"
    OVERRIDE_BLOCKED = "override_blocked"
    INCIDENT_CLOSED = "incident_closed"
    INCIDENT_BUSY = "incident_busy"
    PLAYBOOK_RETIRED = "playbook_retired"
    DURATION_OUT_OF_BOUNDS = "duration_out_of_bounds"
    NO_MORE_TIME = "no_more_time"
    EXTENSION_PENDING = "extension_pending"
    REASON_MISSING = "reason_missing"
    LOCKED = "locked"
    UNCONFIRMED = "unconfirmed"
    KEY_WEAK = "key_weak"
    KEY_TYPE = "key_type"
    KEY_IN_USE = "key_in_use"
    KEY_MALFORMED = "key_malformed"
    KEY_CLONED = "key_cloned"
    KEY_UNPROVEN = "key_unproven"
    CERTIFICATE_REFUSED = "certificate_refused"
    CONNECT_CODE_WRONG = "connect_code_wrong"
    KIOSK_CODE_WRONG = "kiosk_code_wrong"
    TERMINAL_TICKET_WRONG = "terminal_ticket_wrong"
    TERMINALS_FULL = "terminals_full"
    HOST_KEY_CHANGED = "host_key_changed"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_REFUSED = "upstream_refused"
    OLD_ALGORITHMS = "old_algorithms"
    CANNOT_RECORD = "cannot_record"
    SESSION_NOT_LIVE = "session_not_live"
    SESSION_ENDED = "session_ended"
    SESSION_FROZEN = "session_frozen"
    REVIEW_CONFLICT = "review_conflict"
    REVIEW_NOT_DUE = "review_not_due"
    REVIEW_CLAIMED = "review_claimed"
    FINDING_CLOSED = "finding_closed"
    FINDING_OPEN = "finding_open"
    RECORDING_OPEN = "recording_open"
    RECORDING_DAMAGED = "recording_damaged"
    RECORDING_DELETED = "recording_deleted"
    RECORDING_UNAVAILABLE = "recording_unavailable"
    RECORDING_HOLD = "recording_hold"
    GATEWAY_FULL = "gateway_full"
    GATEWAY_DRAINING = "gateway_draining"
    NOT_OFFERED = "not_offered"
    DATABASE_UNAVAILABLE = "database_unavailable"
    DISK_FULL = "disk_full"
    TOKEN_REQUIRED = "token_required"
    INTERNAL = "internal"


@dataclass(frozen=True)
class Refusal:
    """A coded no. `message` says why, `help` what to do next and who can help, `needs` what is missing."""

    code: RefusalCode
    message: str
    help: str
    status: int
    needs: tuple[str, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """What the wording was filled with, so that a page can lead on from there."""

    def as_dict(self) -> dict[str, object]:
        """The shape of an error in the REST API."""
        return {
            "refusal": str(self.code),
            "message": f"{self.message} {self.help}".strip(),
            "needs": list(self.needs),
        }

    def __str__(self) -> str:
        return f"{self.message} {self.help} [{self.code}]".replace("  ", " ")


class Refused(Exception):
    """Raised by services; every edge shows `refusal` in its own way."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Wording(NamedTuple):
    status: int
    message: str
    help: str


C = RefusalCode
WORDING: dict[RefusalCode, Wording] = {
    C.BAD_CREDENTIALS: Wording(401, "Name, password or key don't fit.", "Check them and try again."),
    C.SECOND_FACTOR_REQUIRED: Wording(
        401, "A second factor is needed.", "Type the current code of your authenticator app."
    ),
    C.SECOND_FACTOR_WRONG: Wording(
        403, "That code is wrong or too old.", "Wait for the next code of your authenticator app and type that one."
    ),
    C.SECOND_FACTOR_USED: Wording(
        403, "That code has been used already.", "Each code counts once: wait for the next one."
    ),
    C.PASSKEY_REFUSED: Wording(
        403, "Your passkey's answer doesn't count: {problem}.",
        "Press the button again, or type a code of your authenticator app.",
    ),
    C.PASSKEY_CLONED: Wording(
        403, "That passkey counts backwards: somebody may have a copy of it.",
        "It opens nothing any more. Administrators were alarmed; use another factor.",
    ),
    C.ENROLMENT_CODE_WRONG: Wording(
        403, "That enrolment code is wrong, used or too old.", "Ask an administrator for a new one: the page People issues it."
    ),
    C.LAST_FACTOR: Wording(
        409, "That is your only second factor.", "Register another one first; an administrator can help when it is lost."
    ),
    C.RECOVERY_TAKES_TWO: Wording(
        403, "A recovery takes two administrators, neither of them the person: {problem}.", "Ask another administrator."
    ),
    C.MATCH_NUMBER_WRONG: Wording(
        403, "That isn't the number that the requester sees.",
        "Ask them for it, by voice. If they asked for nothing, deny the request: somebody else is at it.",
    ),
    C.TOO_MANY_REQUESTS: Wording(
        429, "You have asked {limit} times within an hour.", "Ask again in {minutes} min, or call one of the approvers."
    ),
    C.THROTTLED: Wording(429, "Too many wrong attempts.", "Try again in {seconds} s; nobody else is held up by this."),
    C.NOT_ALLOWED: Wording(403, "You may not {verb}.", "Ask {who}."),
    C.NOT_FOUND: Wording(404, "There is no such {what}, or it isn't yours to see.", "Check the address or the number."),
    C.BAD_NAME: Wording(
        400, "That user name can't be read.", "Write PERSON+ASSET or PERSON+LOGIN@ASSET, with plain letters, digits, - . _"
    ),
    C.BAD_INPUT: Wording(422, "{problem}", ""),
    C.PERSON_INACTIVE: Wording(403, "{person} is disabled.", "An administrator can enable the person again."),
    C.NO_GRANT: Wording(403, "You hold no live grant for {asset}.", "Request access at {url}"),
    C.GRANT_ENDED: Wording(403, "Your grant for {asset} is over ({state}).", "Request access again at {url}"),
    C.GRANT_FOREIGN: Wording(403, "That grant is somebody else's.", "Request your own."),
    C.GRANT_USE_WINDOW_OVER: Wording(
        403, "The grant for {asset} wasn't used in time.", "Request access again at {url}"
    ),
    C.UNKNOWN_ASSET: Wording(404, "There is no asset {asset}.", "The playbook page lists the assets by name."),
    C.ASSET_OUTSIDE_PLAYBOOK: Wording(
        422, "{asset} is not part of the playbook {playbook}.", "Choose among: {choices}."
    ),
    C.LOGIN_NOT_IN_GRANT: Wording(403, "The login {login} is not part of it.", "Choose among: {choices}."),
    C.CHANNEL_NOT_ALLOWED: Wording(
        403, "This grant doesn't allow {channel}.", "It allows: {allowed}. A wider playbook may; ask its approvers."
    ),
    C.FORWARD_NOT_ALLOWED: Wording(
        403, "This grant doesn't lead to {destination}.", "It leads to: {allowed}. The playbook names what may be reached."
    ),
    C.FILE_OUTSIDE_ROOTS: Wording(
        403, "This grant doesn't lead to {path}.", "Files may be touched inside: {roots}. The playbook names them."
    ),
    C.FILE_LIMIT: Wording(
        403, "This session may move {limit} bytes each way, and {path} goes over that.",
        "The playbook sets the bound; a wider one may allow more. Ask its approvers.",
    ),
    C.FILE_PROTOCOL: Wording(
        400, "The {protocol} stream can't be followed: {problem}.", "What can't be read isn't passed on. Try another client."
    ),
    C.FORWARD_BARRED: Wording(
        403, "Nobody is led to {destination}: {why}.", "The playbook's owner can name another place."
    ),
    C.TOO_MANY_CHANNELS: Wording(429, "There are {limit} channels open already.", "Close one first."),
    C.REQUEST_NOT_PENDING: Wording(409, "That request is {state} already.", "Nothing was changed."),
    C.REQUEST_LAPSED: Wording(409, "That request lapsed unanswered.", "The requester can send a new one."),
    C.OWN_REQUEST: Wording(403, "Nobody decides on their own request.", "Asked were: {who}."),
    C.ALREADY_DECIDED: Wording(409, "You have decided on this request already.", "It waits for others."),
    C.NOT_AN_APPROVER: Wording(403, "The playbook doesn't name you as an approver.", "Asked were: {who}."),
    C.OVERRIDE_NOT_OFFERED: Wording(
        403, "Nobody decides on this request alone: {why}.", "Its approvers were asked; call them."
    ),
    C.OVERRIDE_TOO_EARLY: Wording(
        409, "The approvers may still answer: nobody decides alone before {at} UTC.", "Call them, or come back then."
    ),
    C.OVERRIDE_BLOCKED: Wording(
        409, "No override for this person: {overdue}.", "It opens again once a reviewer has signed that review. Call the approvers."
    ),
    C.INCIDENT_CLOSED: Wording(409, "The incident {incident} is closed.", "Open a new one, or pick one that is open."),
    C.INCIDENT_BUSY: Wording(
        409, "The incident {incident} can't close yet: {what}.", "See to that first, then close it."
    ),
    C.PLAYBOOK_RETIRED: Wording(
        409, "The playbook {playbook} can't be requested ({why}).", "The playbooks page lists those that can."
    ),
    C.DURATION_OUT_OF_BOUNDS: Wording(422, "{minutes} minutes is out of bounds.", "Ask for 1 to {longest} minutes."),
    C.NO_MORE_TIME: Wording(
        409, "This grant can't be made longer: {why}.", "Ask for access again before it ends: two grants may overlap."
    ),
    C.EXTENSION_PENDING: Wording(
        409, "More time is asked for already: {request}.", "Wait for its answer, or withdraw it first."
    ),
    C.REASON_MISSING: Wording(
        422, "A reason is needed: {least} characters or more.", "Say what is broken and what you will do."
    ),
    C.LOCKED: Wording(423, "Locked: {what} ({reason}).", "{who} can lift the lock."),
    C.UNCONFIRMED: Wording(
        503, "Your grant can't be confirmed right now, so nothing new begins.", "What is open goes on; try again in a moment."
    ),
    C.KEY_WEAK: Wording(
        422, "That {type} key has {bits} bits; {least} is the least.", "Make a new one: ssh-keygen -t ed25519"
    ),
    C.KEY_TYPE: Wording(422, "Keys of type {type} aren't taken.", "Make one with: ssh-keygen -t ed25519"),
    C.KEY_IN_USE: Wording(409, "That key is registered already.", "A key belongs to one person: make a new one."),
    C.KEY_MALFORMED: Wording(
        422, "That isn't an OpenSSH public key: {problem}.", "Paste the one line of the .pub file, not the private key."
    ),
    C.KEY_CLONED: Wording(
        403, "That security key counts backwards: somebody may have a copy of it.",
        "Don't use it any more: remove it on your profile page. Administrators were alarmed.",
    ),
    C.KEY_UNPROVEN: Wording(403, "The security key signed without {missing}.", "It was registered as one that asks for it."),
    C.CERTIFICATE_REFUSED: Wording(
        403, "That certificate can't be used: {problem}.", "Take a new one on the page of your grant."
    ),
    C.CONNECT_CODE_WRONG: Wording(
        403, "That connect code is wrong, used or too old.", "Take a new one on the page of your grant: it lives for 60 s."
    ),
    C.KIOSK_CODE_WRONG: Wording(
        403, "That pairing code is wrong, used or too old.", "An administrator makes a new one: it lives for 10 minutes."
    ),
    C.TERMINAL_TICKET_WRONG: Wording(
        403, "This terminal's ticket was used, is too old, or is somebody else's.", "Open a terminal anew: each opens once."
    ),
    C.TERMINALS_FULL: Wording(
        503, "{limit} browser terminals are open {whose} already.", "Close one first, or use ssh: it has a place of its own."
    ),
    C.HOST_KEY_CHANGED: Wording(
        502, "The host key of {asset} is not the one that was registered.",
        "Nothing was sent to it. Administrators were alarmed; they can tell a rebuilt machine from an impostor.",
    ),
    C.UPSTREAM_UNREACHABLE: Wording(
        502, "{asset} can't be reached: {problem}.", "Your grant lives on: try again, or check the machine's network."
    ),
    C.UPSTREAM_REFUSED: Wording(
        502, "{asset} refused the login {login}.", "An administrator can check the credential that is stored for it."
    ),
    C.OLD_ALGORITHMS: Wording(
        502, "{asset} speaks only old, weak algorithms ({speaks}), so nothing was sent to it.",
        "An administrator can allow them for this one asset, on its page; that is a risk, and is shown as one.",
    ),
    C.CANNOT_RECORD: Wording(
        503, "The session can't be recorded, so it doesn't happen: {why}.", "An administrator must free the recording store."
    ),
    C.SESSION_NOT_LIVE: Wording(409, "That session is over already.", "Nothing was changed."),
    C.SESSION_FROZEN: Wording(
        423, "This session is frozen {why}.", "Wait: one of the approvers or an administrator can let it go on."
    ),
    C.SESSION_ENDED: Wording(403, "This session was ended: {why}.", "{next}"),
    C.REVIEW_CONFLICT: Wording(
        403, "Who asked or approved doesn't review.", "Another reviewer must sign this one."
    ),
    C.REVIEW_NOT_DUE: Wording(409, "That review can't be signed now: {why}.", "Nothing was changed."),
    C.REVIEW_CLAIMED: Wording(
        409, "{who} has claimed that review, until {until} UTC.", "Wait, or take it over on its page: {who} is told."
    ),
    C.FINDING_OPEN: Wording(409, "That finding is open.", "Nothing was changed."),
    C.FINDING_CLOSED: Wording(409, "That finding is closed already.", "Its page says by whom, and how it was seen to."),
    C.RECORDING_OPEN: Wording(409, "The recording isn't sealed yet.", "Try again in a few seconds."),
    C.RECORDING_DAMAGED: Wording(
        409, "The recording doesn't match its seal: {where}.", "It isn't shown. The auditors were alarmed; keep the files."
    ),
    C.RECORDING_DELETED: Wording(
        410, "The recording was deleted by policy on {at}.", "What was sealed, and that it was deleted, stays in the audit trail."
    ),
    C.RECORDING_UNAVAILABLE: Wording(
        503, "The recording can't be read now: {why}.", "It is not lost. Try again in a moment; an administrator can look into it."
    ),
    C.RECORDING_HOLD: Wording(409, "The hold can't be changed: {why}.", "Nothing was changed."),
    C.GATEWAY_FULL: Wording(503, "The gateway is full.", "Try again in a moment; live sessions are not touched."),
    C.GATEWAY_DRAINING: Wording(503, "The gateway is going down for a restart.", "Try again in a moment."),
    C.NOT_OFFERED: Wording(403, "{what} is not offered here.", "{help}"),
    C.TOKEN_REQUIRED: Wording(
        401, "A valid bearer token is needed.", "Make one on your profile page; send it as: Authorization: Bearer TOKEN"
    ),
    C.INTERNAL: Wording(
        500, "Something broke on our side.", "It was logged. Look at what you see now before you try again."
    ),
    C.DATABASE_UNAVAILABLE: Wording(503, "The database can't be reached.", "Nothing was changed; try again in a moment."),
    C.DISK_FULL: Wording(
        507, "The broker's disk is full, so nothing can be written.", "Nothing was changed. An administrator must free some space."
    ),
}  # fmt: skip

_NEEDS: dict[RefusalCode, tuple[str, ...]] = {
    C.SECOND_FACTOR_REQUIRED: ("otp",),
    C.SECOND_FACTOR_WRONG: ("otp",),
    C.SECOND_FACTOR_USED: ("otp",),
    C.PASSKEY_REFUSED: ("otp",),
    C.PASSKEY_CLONED: ("otp",),
    C.ENROLMENT_CODE_WRONG: ("enrolment_code",),
    C.MATCH_NUMBER_WRONG: ("number",),
    C.REASON_MISSING: ("reason",),
    C.TOKEN_REQUIRED: ("token",),
    C.NO_GRANT: ("grant",),
    C.GRANT_ENDED: ("grant",),
    C.GRANT_USE_WINDOW_OVER: ("grant",),
}


def refusal(code: RefusalCode, *, needs: tuple[str, ...] = (), **params: object) -> Refusal:
    """The refusal `code` with its wording filled in, fit for a terminal whoever wrote the parameters.

    Raises KeyError when a parameter of the wording is missing.
    """
    status, message, help_ = WORDING[code]
    params = {name: visible(str(value)) for name, value in params.items()}
    return Refusal(
        code=code,
        message=message.format(**params),
        help=help_.format(**params),
        status=status,
        needs=needs or _NEEDS.get(code, ()),
        about={name: str(value) for name, value in params.items()},
    )


def refuse(code: RefusalCode, *, needs: tuple[str, ...] = (), **params: object) -> Refused:
    """As `refusal`, ready to raise."""
    return Refused(refusal(code, needs=needs, **params))


def parameters(code: RefusalCode) -> set[str]:
    """The names that the wording of `code` wants filled in."""
    wording = WORDING[code]
    return {
        name for text in (wording.message, wording.help) for _, name, _, _ in Formatter().parse(text) if name
    }
