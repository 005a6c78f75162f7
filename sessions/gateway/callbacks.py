"""One accepted connection: translates what SSH says into questions to the gateway's other rooms. Decides nothing."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from paramiko.ssh_exception import SSHException

from breakglass import clock
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refusal
from sessions.gateway import claims, console, global_requests, opening, pep
from sessions.gateway.authn import Authenticator, InnerAuthenticator
from sessions.gateway.carry import destination
from sessions.gateway.claims import Claim, Proof
from sessions.gateway.hostkey import host_key
from sessions.gateway.jump import JumpChannel
from sessions.gateway.limits import Fault, source
from sessions.gateway.local import LocalChannel
from sessions.gateway.names import ASSET, Address, Identity
from sessions.gateway.plea import CHANNEL_SECONDS, Plea
from sessions.gateway.pubkeys import Offer, Signed
from sessions.gateway.relay import printable
from sessions.gateway.transport import ServerLeg
from sessions.gateway.wire import Disconnect, Msg, OpenFailure, Reader, message, string, u32

if TYPE_CHECKING:
    from sessions.gateway.live import LiveSession
    from sessions.gateway.server import Gateway

MOST_CONSOLE_CHANNELS = 10
MOST_NOTED = 20
SSH_PORT = 22
CONSOLE_SECONDS = 1800.0


@dataclass(frozen=True)
class Jump:
    """What the outer connection of a ProxyJump has settled already."""

    identity: Identity
    factor: str
    asset: str


class Visitor:
    """One connection of somebody: first a stranger, then a person, then perhaps a session."""

    def __init__(
        self,
        gateway: Gateway,
        sock: socket.socket,
        address: str,
        jump: Jump | None = None,
        heard: bytes | None = None,
    ) -> None:
        self.gateway = gateway
        self.address = address
        self.source = source(address)
        self.arrived = clock.monotonic()
        self._is_recognized = False
        self.is_jump = jump is not None
        self.is_known = False
        self.session: LiveSession | None = None
        self.plea: Plea | None = None
        self.identity: Identity | None = None
        self.factor = ""
        self.is_inside = False
        self._is_down = False
        self.deadline = clock.monotonic() + gateway.limits.grace
        self._jumps: list[tuple[JumpChannel, Visitor]] = []
        self._noted = 0
        self._wrongs: deque[tuple[Refusal, str, str, datetime]] = deque()
        if jump is None:
            self.leg = ServerLeg(sock, gateway.host_key, lambda leg: Authenticator(leg, self), heard)
        else:
            self.factor = jump.factor
            key = host_key(jump.asset)
            self.leg = ServerLeg(
                sock, key, lambda leg: InnerAuthenticator(leg, self, jump.identity, jump.asset)
            )
        self.leg.connection = self

    def start(self) -> None:
        self.leg.start_server(event=threading.Event())

    @property
    def progress(self) -> int:
        """How far this stranger got: 0 before keys were exchanged, 2 with a key that is registered for the name."""
        return 2 if self._is_recognized else int(self.leg.initial_kex_done)

    def blame(self, fault: Fault) -> None:
        """What this stranger did makes those who come from the same address slower; one on a jump is none."""
        if not self.is_jump and not self.gateway.limits.is_exempt(self.address):
            self.gateway.entrance.penalties.add(self.source, fault, clock.monotonic())

    # What the authenticator asks. ------------------------------------------------------------------------

    def claim(self, address: Address, offer: Offer) -> Claim | None:
        try:
            found = claims.claim(address, offer, self.address)
        except Refused as refused:
            if refused.refusal.status >= 500:
                raise
            return None
        self._is_recognized = self._is_recognized or found is not None
        return found

    def prove(self, address: Address, claim: Claim, signed: Signed) -> Proof:
        try:
            proof = claims.prove(claim, signed)
        except Refused as refused:
            pep.note_refusal(refused, actor=claim.identity, asset=address.asset or "", address=self.address)
            raise
        self.factor = proof.factor
        # Strangers are counted where they come from, which for a browser's terminal is the web process; what this
        # person does is written down as theirs, where they are.
        self.address = proof.address or self.address
        return proof

    def redeem(self, address: Address, typed: str) -> Proof:
        proof = claims.redeem(address, typed, self.address)
        self.factor = proof.factor
        return proof

    def wait(self, address: Address) -> float:
        return self.gateway.throttle.wait(address.person, self.address, clock.monotonic())

    def wrong(self, address: Address) -> None:
        self.gateway.throttle.wrong(address.person, self.address, clock.monotonic())
        self.blame(Fault.WRONG_CREDENTIALS)

    def note_wrong(self, address: Address, code: RefusalCode) -> None:
        """The row waits for the connection's end, or for the person to get in: for a made-up name there is none to
        write, and its writing would be felt by the next try as well."""
        if code in (RefusalCode.BAD_CREDENTIALS, RefusalCode.CONNECT_CODE_WRONG):
            self._wrongs.append((refusal(code), address.person, address.asset or "", clock.now()))
        if self._is_down:
            self._write_wrongs()

    def _write_wrongs(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                why, person, asset, at = self._wrongs.popleft()
                self.gateway.clerk.wrong_login(why, person, asset, self.address, at)

    def proved_key(self, identity: Identity) -> None:
        self.deadline = clock.monotonic() + self.gateway.limits.code_grace
        self.is_known = True
        self.gateway.entrance.known_now(self, identity.person_id)

    def check_code(self, identity: Identity, code: str) -> None:
        self.factor = claims.check_code(identity, code)

    def admit(self, identity: Identity, address: Address) -> str:
        self.gateway.throttle.right(address.person, self.address)
        if address.asset is None:
            self.identity = identity
            return ""
        self.gateway.check_room()
        try:
            self.session, banner = opening.open_session(self, identity, address)
        except Refused as refused:
            self.plea = Plea.of(self, identity, address, refused)
            if self.plea is None:
                raise
            banner = self.plea.banner
        self.identity = identity
        return banner

    def entered(self) -> None:
        self.is_inside = self.is_known = True
        self._write_wrongs()
        self.gateway.entrance.entered(self)
        self.deadline = clock.monotonic() + (CONSOLE_SECONDS if self.plea is None else CHANNEL_SECONDS)
        if self.session is not None:
            self.become(self.session)

    def become(self, session: LiveSession) -> None:
        """From now on this connection is that session."""
        self.session = self.leg.connection = session
        self.gateway.begin(session)
        self.gateway.entrance.gone(self)
        if self._is_down:  # it went while the session was being opened in another thread
            session.on_down(None)

    def keep(self, seconds: float) -> None:
        """Hold the connection for so long at least: something is waited for here."""
        self.deadline = max(self.deadline, clock.monotonic() + seconds)

    # Without an asset: the console. ----------------------------------------------------------------------

    def on_channel_open(self, kind: str, remote_id: int, window: int, max_packet: int, body: Reader) -> None:
        if self.identity is None or not self.is_inside:
            raise SSHException("a channel before authentication")
        if self.plea is not None:
            self.plea.on_channel_open(kind, remote_id, window, max_packet)
            return
        host, port = destination(body.rest()) if kind == "direct-tcpip" else ("", 0)
        if len(self.leg.ends) >= MOST_CONSOLE_CHANNELS:
            why = refusal(RefusalCode.TOO_MANY_CHANNELS, limit=MOST_CONSOLE_CHANNELS)
            self._refuse_open(remote_id, OpenFailure.RESOURCE_SHORTAGE, why)
        elif kind == "session" and self.identity.grant_id is not None:
            what = "The console with a certificate for one grant"
            why = refusal(RefusalCode.NOT_OFFERED, what=what, help="Use your key and a one-time code.")
            self._refuse_open(remote_id, OpenFailure.PROHIBITED, why)
        elif kind == "session":
            LocalChannel(self.leg, self._console).open(remote_id, window, max_packet)
        elif _names_an_asset(host) and port == SSH_PORT:
            self._jump(host, remote_id, window, max_packet)
        else:
            what = f"{printable(host)}:{port}" if host else f"A {printable(kind)} channel"
            why = refusal(
                RefusalCode.NOT_OFFERED,
                what=what,
                help="Jump to LOGIN@ASSET, port 22, or use PERSON+ASSET@GATEWAY.",
            )
            self._refuse_open(remote_id, OpenFailure.PROHIBITED, why)

    def _jump(self, asset: str, remote_id: int, window: int, max_packet: int) -> None:
        assert self.identity is not None
        channel = JumpChannel(self.leg)
        inner = Visitor(self.gateway, channel.far, self.address, Jump(self.identity, self.factor, asset))
        self._jumps = [(held, visitor) for held, visitor in self._jumps if visitor.leg.is_active()]
        self._jumps.append((channel, inner))
        channel.open(remote_id, window, max_packet)
        inner.start()

    @property
    def is_carrying(self) -> bool:
        """Whether a session lives on a jump through this connection, or is waited for there."""
        return any(visitor.is_worth_keeping for _, visitor in self._jumps)

    @property
    def is_worth_keeping(self) -> bool:
        """Whether a session lives here, or somebody waits for one."""
        lives = self.session is not None and self.session.reason is None
        waits = self.plea is not None and self.plea.is_waiting
        return lives or (waits and clock.monotonic() < self.deadline)

    def _refuse_open(self, remote_id: int, code: OpenFailure, why: Refusal) -> None:
        assert self.identity is not None
        pep.note_refusal(Refused(why), actor=self.identity, address=self.address)
        self.leg.send(
            message(Msg.OPEN_FAILURE, u32(remote_id), u32(code), string(f"Breakglass: {why}"), string("en"))
        )

    def _console(self, channel: LocalChannel, command: str | None) -> int:
        assert self.identity is not None
        return console.serve(channel, self.identity, command, self.keep)

    def on_global_request(self, name: str, want_reply: bool, body: Reader) -> None:
        why = global_requests.objection(name)
        if why is not None and self.identity is not None and self._noted < MOST_NOTED:
            self._noted += 1
            pep.note_refusal(Refused(why), actor=self.identity, address=self.address)
        if want_reply:
            self.leg.send(message(Msg.REQUEST_FAILURE))

    def on_down(self, error: BaseException | None) -> None:
        """The connection is gone before it became a live session, or it was the console's."""
        self._is_down = True
        self._write_wrongs()
        if not self.is_known:
            is_fault = isinstance(error, SSHException) and not self.leg.is_cut
            self.blame(Fault.BAD_PROTOCOL if is_fault else Fault.LEFT)
        self.gateway.entrance.gone(self)
        for channel, _ in self._jumps:
            channel.hang_up(error if isinstance(error, OSError) else None)
        if self.session is not None:
            self.session.on_down(error)

    def turn_away(self, text: str) -> None:
        """End a connection that took too long, or that the gateway can't keep."""
        self.leg.cut(Disconnect.BY_APPLICATION, text)
        self.leg.bury()


def _names_an_asset(host: str) -> bool:
    """Whether it could be an asset's name; an IP address is none, whoever spells it like one."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return ASSET.fullmatch(host) is not None
    return False
