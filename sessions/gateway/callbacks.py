"""One accepted connection: translates what SSH says into questions to the gateway's other rooms. Decides nothing."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

from paramiko.ssh_exception import SSHException

from breakglass import clock
from breakglass.domain.refusals import RefusalCode, Refused, refusal
from sessions.gateway import console, opening, pep
from sessions.gateway.authn import Authenticator, Identity
from sessions.gateway.local import LocalChannel
from sessions.gateway.names import Address
from sessions.gateway.relay import printable
from sessions.gateway.transport import ServerLeg
from sessions.gateway.wire import Disconnect, Msg, OpenFailure, Reader, message, string, u32

if TYPE_CHECKING:
    from sessions.gateway.live import LiveSession
    from sessions.gateway.server import Gateway

MOST_CONSOLE_CHANNELS = 4
CONSOLE_SECONDS = 1800.0


class Visitor:
    """One connection of somebody: first a stranger, then a person, then perhaps a session."""

    def __init__(self, gateway: Gateway, sock: socket.socket, address: str) -> None:
        self.gateway = gateway
        self.address = address
        self.session: LiveSession | None = None
        self.identity: Identity | None = None
        self.factor = ""
        self.is_inside = False
        self.deadline = clock.monotonic() + gateway.limits.grace
        self._console_channels = 0
        self._gone = threading.Event()
        self.leg = ServerLeg(sock, gateway.host_key, lambda leg: Authenticator(leg, self))
        self.leg.connection = self

    def start(self) -> None:
        self.leg.start_server(event=threading.Event())

    # What the authenticator asks. ------------------------------------------------------------------------

    def owner(self, address: Address, key_type: str, blob: bytes) -> Identity | None:
        try:
            return pep.owner(address.person, blob)
        except Refused:
            return None

    def wait(self, address: Address) -> float:
        return self.gateway.throttle.wait(address.person, self.address, clock.monotonic())

    def wrong(self, address: Address, code: RefusalCode) -> None:
        self.gateway.throttle.wrong(address.person, self.address, clock.monotonic())
        if code is RefusalCode.BAD_CREDENTIALS:
            refused = Refused(refusal(code))
            pep.note_refusal(refused, actor=address.person, asset=address.asset or "", address=self.address)

    def proved_key(self, identity: Identity) -> None:
        self.deadline = clock.monotonic() + self.gateway.limits.code_grace

    def check_code(self, identity: Identity, code: str) -> None:
        self.factor = pep.check_code(identity, code).name

    def admit(self, identity: Identity, address: Address) -> str:
        self.gateway.throttle.right(address.person, self.address)
        if address.asset is None:
            self.identity = identity
            return ""
        self.gateway.check_room()
        self.session, banner = opening.open_session(self, identity, address)
        self.identity = identity
        return banner

    def entered(self) -> None:
        self.is_inside = True
        self.deadline = clock.monotonic() + CONSOLE_SECONDS
        if self.session is None:
            self.gateway.stranger_gone(self)
        else:
            self.leg.connection = self.session
            self.gateway.begin(self.session)
            self.gateway.visitor_gone(self)

    # Without an asset: the console. ----------------------------------------------------------------------

    def on_channel_open(self, kind: str, remote_id: int, window: int, max_packet: int, body: Reader) -> None:
        if self.identity is None or not self.is_inside:
            raise SSHException("a channel before authentication")
        if kind != "session" or self._console_channels >= MOST_CONSOLE_CHANNELS:
            why = refusal(
                RefusalCode.NOT_OFFERED,
                what=f"A {printable(kind)} channel without an asset",
                help="Connect to PERSON+ASSET@GATEWAY; ProxyJump is not carried yet.",
            )
            pep.note_refusal(Refused(why), actor=self.identity, address=self.address)
            self.leg.send(
                message(
                    Msg.OPEN_FAILURE, u32(remote_id), u32(OpenFailure.PROHIBITED), string(f"Breakglass: {why}"),
                    string("en"),
                )
            )  # fmt: skip
            return
        self._console_channels += 1
        LocalChannel(self.leg, self._console).open(remote_id, window, max_packet)

    def _console(self, channel: LocalChannel, command: str | None) -> int:
        assert self.identity is not None
        return console.serve(channel, self.identity, command)

    def on_global_request(self, name: str, want_reply: bool, body: Reader) -> None:
        if want_reply:
            self.leg.send(message(Msg.REQUEST_FAILURE))

    def on_down(self, error: BaseException | None) -> None:
        """The connection is gone before it became a live session, or it was the console's."""
        self.gateway.visitor_gone(self)
        if self.session is not None:
            self.session.on_down(error)

    def turn_away(self, text: str) -> None:
        """End a connection that took too long, or that the gateway can't keep."""
        self.leg.cut(Disconnect.BY_APPLICATION, text)
        self.leg.bury()
