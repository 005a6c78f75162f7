"""The server's side of SSH authentication: one proof of who somebody is, and their second factor.

Three ways, told apart by what is asked first: a registered key and then the one-time code (a security key that asked
for its PIN needs none); a certificate of the broker's, which embodies the second factor given for it; a one-time
connect code, as a password or as the answer to a question, which does too.

A state machine of our own, because stock paramiko counts answers that nobody asked for and asks about keys before
their signature is checked. Here an answer counts only for the open question; a probe without a signature changes
nothing; the identity is bound in one place, `_bind`, from a proof that was verified over this connection's own
session id or taken from the broker's books; and success is sent in one place, `_succeed`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

from paramiko.message import Message
from paramiko.ssh_exception import SSHException

from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refusal
from sessions.gateway import pubkeys
from sessions.gateway.claims import Claim, Proof
from sessions.gateway.door import Door
from sessions.gateway.names import LOGIN, Address, Identity, parse
from sessions.gateway.wire import Disconnect, Msg, Reader, boolean, message, string, u32

if TYPE_CHECKING:
    from sessions.gateway.transport import ServerLeg

MOST_PROBES = 20
MOST_WRONG = 6
MOST_QUESTIONS = 3
MOST_BLOB = 16 * 1024
CODE_PROMPT = "One-time code: "
CONNECT_PROMPT = "Connect code: "
CONNECT_HINT = "No key of yours was taken. The page of your grant gives a one-time connect code."


class State(Enum):
    """Where a connection stands. In ASKED_... one question is open; everything else counts in one state only."""

    SERVICE = auto()  # authentication wasn't asked for yet
    FIRST = auto()  # nothing is proved: a key, a certificate or a connect code
    ASKED_FIRST = auto()  # the question for a connect code is open
    CODE = auto()  # a key of the person is proved: the one-time code is missing
    ASKED_CODE = auto()  # the question for it is open
    DONE = auto()
    OVER = auto()


# A new request abandons the open question (RFC 4256 section 3.1).
ABANDONED = {State.ASKED_FIRST: State.FIRST, State.ASKED_CODE: State.CODE}


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
        self._wrongs = 0
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
            self._state = State.FIRST  # paramiko's client asks for the service again before its second step
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
        self._state = ABANDONED.get(self._state, self._state)
        self._on_method(method, body)

    def _on_method(self, method: str, body: Reader) -> None:
        if method not in self._offered():
            self._fail()
        elif method == "publickey":
            self._on_public_key(body)
        elif method == "password":
            self._on_password(body)
        else:
            self._ask()

    def _offered(self) -> tuple[str, ...]:
        """The methods that count now. A connect code leads to an asset, never to the console."""
        if self._state is State.CODE:
            return ("keyboard-interactive",)
        if self._state is State.FIRST:
            names_an_asset = self._address is not None and self._address.asset is not None
            return ("publickey", "password", "keyboard-interactive") if names_an_asset else ("publickey",)
        return ()

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

    # The first proof --------------------------------------------------------------------------------------

    def _on_public_key(self, body: Reader) -> None:
        assert self._address is not None
        signed, algorithm, blob = body.boolean(), body.text(64), body.string(MOST_BLOB)
        offer = pubkeys.read(algorithm, blob)
        try:
            claim = self._door.claim(self._address, offer) if offer is not None else None
        except Refused as refused:  # nobody can say whose key it is
            self._end(refused.refusal)
            return
        if not signed:
            self._on_probe(algorithm, blob, claim)
            return
        signature = body.string(MOST_BLOB)
        if self._throttled():
            return
        good = pubkeys.verify(offer, self._signed_data(algorithm, blob), signature) if offer else None
        if claim is None or good is None:
            self._wrong(RefusalCode.BAD_CREDENTIALS)
            return
        try:
            proof = self._door.prove(self._address, claim, good)
        except Refused as refused:
            self._no(refused.refusal)
            return
        self._bind(proof)

    def _on_probe(self, algorithm: str, blob: bytes, claim: Claim | None) -> None:
        self._probes += 1
        if self._probes > MOST_PROBES:
            self._end(refusal(RefusalCode.BAD_CREDENTIALS))
        elif claim is None:
            self._fail()
        else:
            self._leg.send(message(Msg.USERAUTH_PK_OK, string(algorithm), string(blob)))

    def _signed_data(self, algorithm: str, blob: bytes) -> bytes:
        """RFC 4252 section 7: over this session and this very request."""
        assert self._username is not None
        return b"".join(
            (
                string(self._leg.session_id or b""), bytes((Msg.USERAUTH_REQUEST,)), string(self._username),
                string("ssh-connection"), string("publickey"), boolean(True), string(algorithm), string(blob),
            )
        )  # fmt: skip

    def _on_password(self, body: Reader) -> None:
        changes = body.boolean()
        typed = body.text(256)
        if changes:
            self._fail()  # RFC 4252 section 8: a change of password, which there is none of
        else:
            self._on_connect_code(typed)

    def _on_connect_code(self, typed: str) -> None:
        assert self._address is not None
        if self._throttled():
            return
        try:
            proof = self._door.redeem(self._address, typed)
        except Refused as refused:
            self._no(refused.refusal)
            return
        self._bind(proof)

    def _no(self, why: Refusal) -> None:
        """A proof that doesn't count, told to who gave it. What is broken on our side is nobody's wrong try."""
        if why.status >= 500:
            self._end(why)
        else:
            self._say(f"Breakglass: {why}\n")
            self._wrong(why.code)

    def _wrong(self, code: RefusalCode) -> None:
        assert self._address is not None
        self._door.wrong(self._address)
        self._wrongs += 1
        if self._wrongs >= MOST_WRONG:
            self._end(refusal(RefusalCode.BAD_CREDENTIALS))
        else:
            self._fail()
        self._door.note_wrong(self._address, code)

    def _bind(self, proof: Proof) -> None:
        self._identity, self._questions = proof.identity, 0
        self._state = State.CODE
        self._door.proved_key(proof.identity)
        if proof.factor:
            self._succeed()
        else:
            self._leg.send(message(Msg.USERAUTH_FAILURE, string("keyboard-interactive"), boolean(True)))

    # Questions and answers -------------------------------------------------------------------------------

    def _ask(self, instruction: str = "") -> None:
        """Ask the one question of this state: for a connect code first, for the one-time code after a key."""
        if self._throttled():
            return
        self._questions += 1
        if self._state is State.FIRST:
            if self._questions > MOST_WRONG:
                self._end(refusal(RefusalCode.BAD_CREDENTIALS))
                return
            self._state, prompt, instruction = State.ASKED_FIRST, CONNECT_PROMPT, CONNECT_HINT
        else:
            self._state, prompt = State.ASKED_CODE, CODE_PROMPT
        self._leg.send(
            message(
                Msg.USERAUTH_INFO_REQUEST, string(""), string(instruction), string(""), u32(1), string(prompt),
                boolean(False),
            )
        )  # fmt: skip

    def _on_answer(self, m: Message) -> None:
        asked = self._state
        if asked not in ABANDONED:
            raise SSHException("an answer to a question that wasn't asked")
        self._state = ABANDONED[asked]
        body = Reader(m.get_remainder())
        if body.u32() != 1:
            raise SSHException("one answer was asked for")
        typed = body.text(256)
        if asked is State.ASKED_FIRST:
            self._on_connect_code(typed)
        else:
            self._on_code(typed.strip().replace(" ", ""))

    def _on_code(self, typed: str) -> None:
        assert self._identity is not None and self._address is not None
        try:
            self._door.check_code(self._identity, typed)
        except Refused as refused:
            if refused.refusal.status >= 500:
                self._end(refused.refusal)
                return
            self._door.wrong(self._address)
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
        self._leg.send(message(Msg.USERAUTH_FAILURE, string(",".join(self._offered())), boolean(False)))

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
        if self._state is State.FIRST:
            self._succeed()
