"""The server's side of SSH authentication: a key of that very person, then that person's one-time code.

A state machine of our own, because stock paramiko counts answers that nobody asked for and asks about keys before
their signature is checked. Here an answer counts only for the open question; a probe without a signature changes
nothing; the identity is bound in one place, `_bind`, from a signature that verified over this connection's own
session id; and success is sent in one place, `_succeed`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from paramiko import ECDSAKey, Ed25519Key, PKey, RSAKey
from paramiko.message import Message
from paramiko.ssh_exception import SSHException

from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refusal
from sessions.gateway.names import LOGIN, Address, parse
from sessions.gateway.wire import Disconnect, Msg, Reader, boolean, message, string, u32

if TYPE_CHECKING:
    from sessions.gateway.transport import ServerLeg

KEY_CLASSES: dict[str, type[PKey]] = {
    "ssh-ed25519": Ed25519Key,
    "ecdsa-sha2-nistp256": ECDSAKey,
    "ecdsa-sha2-nistp384": ECDSAKey,
    "ecdsa-sha2-nistp521": ECDSAKey,
    "rsa-sha2-512": RSAKey,
    "rsa-sha2-256": RSAKey,
}
MOST_PROBES = 20
MOST_WRONG_KEYS = 6
MOST_QUESTIONS = 3
PROMPT = "One-time code: "


@dataclass(frozen=True)
class Identity:
    """Whom a verified signature stands for. `person_id` is immutable; `key` is the key's fingerprint."""

    person_id: UUID
    username: str
    key: str


class Door(Protocol):
    """What the authenticator asks of the gateway. It decides; this module only keeps the order of the protocol."""

    def owner(self, address: Address, key_type: str, blob: bytes) -> Identity | None:
        """The person of that name if this very key is registered for them. Has no side effects."""
        ...

    def wait(self, address: Address) -> float:
        """Seconds until this account may try again from this connection's address."""
        ...

    def wrong(self, address: Address, code: RefusalCode) -> None:
        """A signature or a code was wrong: count it, and say so in the audit trail."""
        ...

    def proved_key(self, identity: Identity) -> None:
        """The key step is done: this is no stranger any more."""
        ...

    def check_code(self, identity: Identity, code: str) -> None:
        """Take the one-time code. Raises Refused."""
        ...

    def admit(self, identity: Identity, address: Address) -> str:
        """Let the person in to where they want to go, and return the banner to show. Raises Refused."""
        ...

    def entered(self) -> None:
        """Success was sent: channels may open."""
        ...


class State(Enum):
    SERVICE = auto()
    KEY = auto()
    CODE = auto()
    ASKED = auto()
    DONE = auto()
    OVER = auto()


class Authenticator:
    """One connection's way from a stranger to a person. Called by the leg's reader thread only."""

    def __init__(self, leg: ServerLeg, door: Door) -> None:
        self._leg = leg
        self._door = door
        self._state = State.SERVICE
        self._username: str | None = None
        self._address: Address | None = None
        self._identity: Identity | None = None
        self._probes = 0
        self._wrong_keys = 0
        self._questions = 0

    # As paramiko's run loop sees it. ---------------------------------------------------------------------

    @property
    def _handler_table(self) -> dict[int, Callable[[Message], None]]:
        return {
            Msg.SERVICE_REQUEST: self._on_service_request,
            Msg.USERAUTH_REQUEST: self._on_request,
            Msg.USERAUTH_INFO_RESPONSE: self._on_answer,
        }

    def is_authenticated(self) -> bool:
        return self._state is State.DONE and self._identity is not None

    def get_username(self) -> str | None:
        return self._username

    def abort(self) -> None: ...

    # Steps -----------------------------------------------------------------------------------------------

    def _on_service_request(self, m: Message) -> None:
        name = Reader(m.get_remainder()).text(64)
        if name != "ssh-userauth" or self._state in (State.DONE, State.OVER):
            raise SSHException("a service that isn't offered, or not now")
        if self._state is State.SERVICE:
            self._state = State.KEY  # paramiko's client asks for the service again before its second step
        self._leg.send(message(Msg.SERVICE_ACCEPT, string(name)))

    def _on_request(self, m: Message) -> None:
        if self._state in (State.DONE, State.OVER):
            return
        if self._state is State.SERVICE:
            raise SSHException("authentication before its service")
        body = Reader(m.get_remainder())
        username, service, method = body.text(256), body.text(64), body.text(64)
        if service != "ssh-connection":
            raise SSHException("authentication for a service that isn't offered")
        if not self._same_name(username):
            return
        if self._state is State.ASKED:
            self._state = State.CODE  # RFC 4256: a new request abandons the open question
        self._on_method(method, body)

    def _on_method(self, method: str, body: Reader) -> None:
        if method == "publickey" and self._state is State.KEY:
            self._on_public_key(body)
        elif method == "keyboard-interactive" and self._state is State.CODE:
            self._ask("")
        else:
            self._fail()

    def _same_name(self, username: str) -> bool:
        if self._username is None:
            try:
                self._address = parse(username)
            except Refused as refused:
                self._end(refused.refusal)
                return False
            self._username = username
        if username != self._username:
            raise SSHException("the user name was changed on the way")
        return True

    def _on_public_key(self, body: Reader) -> None:
        assert self._address is not None
        signed, algorithm, blob = body.boolean(), body.text(64), body.string(16 * 1024)
        key = _load(algorithm, blob)
        owner = self._door.owner(self._address, key.get_name(), blob) if key is not None else None
        if not signed:
            self._probes += 1
            if self._probes > MOST_PROBES:
                self._end(refusal(RefusalCode.BAD_CREDENTIALS))
            elif owner is None:
                self._fail()
            else:
                self._leg.send(message(Msg.USERAUTH_PK_OK, string(algorithm), string(blob)))
            return
        if self._throttled():
            return
        if (
            key is not None
            and owner is not None
            and self._verifies(key, algorithm, blob, body.string(16 * 1024))
        ):
            self._bind(owner)
            return
        self._door.wrong(self._address, RefusalCode.BAD_CREDENTIALS)
        self._wrong_keys += 1
        if self._wrong_keys >= MOST_WRONG_KEYS:
            self._end(refusal(RefusalCode.BAD_CREDENTIALS))
        else:
            self._fail()

    def _verifies(self, key: PKey, algorithm: str, blob: bytes, signature: bytes) -> bool:
        """Whether the signature is the key's, of that algorithm, over this session and this very request."""
        assert self._username is not None
        if Reader(signature).text(64) != algorithm:
            return False
        signed = b"".join(
            (
                string(self._leg.session_id or b""), bytes((Msg.USERAUTH_REQUEST,)), string(self._username),
                string("ssh-connection"), string("publickey"), boolean(True), string(algorithm), string(blob),
            )
        )  # fmt: skip
        try:
            return bool(key.verify_ssh_sig(signed, Message(signature)))
        except (SSHException, ValueError):
            return False

    def _bind(self, owner: Identity) -> None:
        self._identity = owner
        self._state = State.CODE
        self._door.proved_key(owner)
        self._leg.send(message(Msg.USERAUTH_FAILURE, string("keyboard-interactive"), boolean(True)))

    def _ask(self, instruction: str) -> None:
        if self._throttled():
            return
        self._questions += 1
        self._state = State.ASKED
        self._leg.send(
            message(
                Msg.USERAUTH_INFO_REQUEST, string(""), string(instruction), string(""), u32(1), string(PROMPT),
                boolean(False),
            )
        )  # fmt: skip

    def _on_answer(self, m: Message) -> None:
        if self._state is not State.ASKED or self._identity is None or self._address is None:
            raise SSHException("an answer to a question that wasn't asked")
        self._state = State.CODE
        body = Reader(m.get_remainder())
        if body.u32() != 1:
            raise SSHException("one answer was asked for")
        try:
            self._door.check_code(self._identity, body.text(64).strip().replace(" ", ""))
        except Refused as refused:
            self._door.wrong(self._address, refused.refusal.code)
            if self._questions >= MOST_QUESTIONS:
                self._end(refused.refusal)
            else:
                self._ask(str(refused.refusal))
            return
        self._succeed()

    def _succeed(self) -> None:
        assert self._identity is not None and self._address is not None
        try:
            banner = self._door.admit(self._identity, self._address)
        except Refused as refused:
            self._end(refused.refusal)
            return
        self._say(banner)
        self._state = State.DONE
        self._leg.send(message(Msg.USERAUTH_SUCCESS))
        self._leg.authenticated_now()
        self._door.entered()

    # Answers ---------------------------------------------------------------------------------------------

    def _throttled(self) -> bool:
        assert self._address is not None
        seconds = self._door.wait(self._address)
        if seconds > 0:
            self._end(refusal(RefusalCode.THROTTLED, seconds=int(seconds) + 1))
        return seconds > 0

    def _fail(self) -> None:
        method = "keyboard-interactive" if self._state is State.CODE else "publickey"
        self._leg.send(message(Msg.USERAUTH_FAILURE, string(method), boolean(False)))

    def _say(self, text: str) -> None:
        if text:
            self._leg.send(message(Msg.USERAUTH_BANNER, string(text.replace("\n", "\r\n")), string("en")))

    def _end(self, why: Refusal) -> None:
        """Say the coded reason where every client shows it, and close."""
        self._state = State.OVER
        self._say(f"Breakglass: {why}\n")
        self._leg.cut(Disconnect.NO_MORE_AUTH_METHODS, f"{why.message} [{why.code}]")


class InnerAuthenticator(Authenticator):
    """The inner connection of a ProxyJump: whoever is at the other end is known from the outer one.

    It is made only for our end of a socket pair whose other end an authenticated person's channel is joined to.
    """

    def __init__(self, leg: ServerLeg, door: Door, identity: Identity, asset: str) -> None:
        super().__init__(leg, door)
        self._identity = identity
        self._asset = asset

    def _same_name(self, username: str) -> bool:
        """The user name is the login at the asset."""
        if self._address is None:
            if not LOGIN.fullmatch(username):
                self._end(refusal(RefusalCode.BAD_NAME))
                return False
            self._username = username
            assert self._identity is not None
            self._address = Address(self._identity.username, self._asset, username)
        return super()._same_name(username)

    def _on_method(self, method: str, body: Reader) -> None:
        if self._state is State.KEY:
            self._succeed()


def _load(algorithm: str, blob: bytes) -> PKey | None:
    """The public key in `blob`, if its type is the one that the algorithm signs with. No certificates here."""
    key_class = KEY_CLASSES.get(algorithm)
    if key_class is None:
        return None
    try:
        inner = Reader(blob).text(64)
        wanted = "ssh-rsa" if key_class is RSAKey else algorithm
        return key_class(data=blob) if inner == wanted else None  # type: ignore[arg-type]
    except (SSHException, ValueError, TypeError):
        return None
