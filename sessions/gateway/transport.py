"""A leg of a session: a hardened SSH transport, and the server towards the person (asset_leg.py is the other one).

Key exchange is paramiko's. Authentication (authn.py) and everything after it (relay.py) is our own and runs in
the leg's reader thread. This module and asset_leg.py alone touch paramiko's private names; they are asserted at
import, and `paramiko==5.1.*` is pinned.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

from django.conf import settings
from paramiko import Transport
from paramiko.kex_curve25519 import KexCurve25519
from paramiko.kex_mlkem import KexMLKEM768X25519
from paramiko.message import Message
from paramiko.ssh_exception import SSHException

from breakglass import clock
from sessions.gateway.inbound import CHANNEL_DATA, WINDOW_ADJUST
from sessions.gateway.listeners import Authenticator, Connection, End
from sessions.gateway.packets import Packetizer
from sessions.gateway.wire import Disconnect, Msg, Reader, boolean, message, string, u32

PRIVATE = (
    "_send_kex_init", "_negotiate_keys", "_parse_newkeys", "_parse_ext_info", "_parse_disconnect", "_ensure_authed",
    "_auth_trigger", "_activate_outbound", "_activate_inbound", "_send_message", "_channel_handler_table",
    "_preferred_ciphers", "_preferred_macs", "_preferred_keys", "_preferred_pubkeys", "_preferred_kex",
    "_kex_info", "_key_info", "_CLIENT_ID", "_check_banner",
)  # fmt: skip
MISSING = [name for name in PRIVATE if not hasattr(Transport, name)]
if MISSING:
    raise ImportError(f"this paramiko lacks {', '.join(MISSING)}: the gateway needs paramiko 5.1")
if not KexMLKEM768X25519.is_available():
    raise ImportError("this cryptography lacks ML-KEM: the gateway needs it for mlkem768x25519-sha256")

USER_TIMEOUT_MS = 10_000
PROBE_AFTER, PROBE_EVERY = 5, 2
PARKED_LIMIT = 32 * 1024 * 1024
GCM = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
CTR = ("aes256-ctr", "aes192-ctr", "aes128-ctr")
KEX = ("mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org")
POST_QUANTUM = KEX[:1]
ETM = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com")
PLAIN_MAC = "hmac-sha2-256"
PUBKEYS = (
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256",
    "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
)  # fmt: skip
CONNECTION_MESSAGES = tuple(range(80, 83)) + tuple(range(90, 101))
PING = message(Msg.GLOBAL_REQUEST, string("keepalive@openssh.com"), boolean(True))
GREETING = b"SSH-2.0-Breakglass\r\n"

log = logging.getLogger("breakglass.gateway")


class LegGone(EOFError):
    """A message could not be sent because that leg's connection is gone, whoever's thread tried."""

    def __init__(self, leg: Leg, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.leg = leg


class Leg(Transport):
    """A connection whose channels are spliced: messages 80 to 100 go to our own tables, in the reader thread."""

    packetizer: Packetizer  # type: ignore[assignment]
    remote_cipher: str
    remote_mac: str
    _expected_packet: tuple[int, ...]
    _preferred_keys: tuple[str, ...]
    _kex_info = Transport._kex_info | {"curve25519-sha256": KexCurve25519}  # type: ignore[attr-defined]
    _preferred_kex: tuple[str, ...] = KEX
    _preferred_ciphers: tuple[str, ...] = GCM + CTR
    _preferred_macs: tuple[str, ...] = ETM
    _preferred_pubkeys: tuple[str, ...] = PUBKEYS
    _CLIENT_ID = GREETING.decode().strip().rpartition("-")[2]

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, packetizer_class=Packetizer)  # type: ignore[arg-type]
        sock.settimeout(None)
        tune(sock)
        self.name = "ssh-leg"
        self.connection: Connection | None = None
        self.ends: dict[int, End] = {}
        self._next_id = 0
        self._gate = threading.RLock()
        self._parked: list[bytes] | None = []
        self._parked_bytes = 0
        self._cut = False
        self.gone_at: float | None = None
        for number in CONNECTION_MESSAGES:
            self._handler_table[number] = self._dispatcher(number)  # type: ignore[attr-defined]

    # Life ------------------------------------------------------------------------------------------------

    def _log(self, level: int, msg: object, *args: object) -> None:
        """What paramiko notes of each message is for nobody, and what a stranger sends must not fill a log."""

    def run(self) -> None:
        try:
            super().run()
        finally:
            self._went()
            problem = self.saved_exception
            if problem is not None and not isinstance(problem, SSHException | EOFError | OSError):
                log.error("a connection ended by a fault of ours, or a message that can't be: %r", problem)
            if self.connection is not None:
                self.connection.on_down(self.saved_exception)

    def cut(self, code: Disconnect, text: str, *, patience: float = 0.02) -> None:
        """End this connection: DISCONNECT as best effort within `patience`, then our direction of the socket."""
        self.mute()
        self.send_now(_farewell(code, text), patience)
        self._shutdown(socket.SHUT_WR)
        # Whoever was in the middle of a write has left it.
        if self.packetizer.write_lock.acquire(timeout=patience):
            self.packetizer.write_lock.release()

    def part(self, code: Disconnect, text: str) -> bool:
        """As `cut`, if that takes no wait. False where it would: then `cut` is still to be called."""
        self.mute()
        sent = self.send_now(_farewell(code, text), 0.0)
        if sent:
            self._shutdown(socket.SHUT_WR)
        return sent

    def mute(self) -> None:
        """From now on nothing that arrives is heard."""
        self._cut = True
        self.packetizer.sink = None
        self.ends = {}

    def bury(self) -> None:
        """Close what `cut` left half open for the other side to read its farewell."""
        self._cut = True
        self._shutdown(socket.SHUT_RDWR)
        self._went()

    def _went(self) -> None:
        """Nothing passes any more, in either direction: by the monotonic clock, the first time that it is so."""
        if self.gone_at is None:
            self.gone_at = clock.monotonic()

    def _shutdown(self, how: int) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(how)

    @property
    def is_cut(self) -> bool:
        return self._cut

    # Key exchange: nobody waits at the gate. What comes while it is shut is parked and sent before it opens. --

    def _send_kex_init(self) -> None:
        with self._gate:
            if self.local_kex_init is not None:
                return
            if self._parked is None:
                self._parked = []
            super()._send_kex_init()  # type: ignore[misc]

    def _parse_newkeys(self, m: Message) -> None:
        with self._gate:
            super()._parse_newkeys(m)  # type: ignore[misc]
            parked, self._parked, self._parked_bytes = self._parked or [], None, 0
            for payload in parked:
                self.packetizer.send_payload(payload)

    def rekey(self) -> None:
        """Begin a key exchange, if none is going on."""
        self.packetizer.ask_rekey()
        self._send_kex_init()

    def send(self, payload: bytes) -> None:
        """Send one message of the connection protocol, or park it while keys are exchanged."""
        with self._gate:
            if self._parked is not None:
                self._park(payload)
                return
            try:
                self.packetizer.send_payload(payload)
            except EOFError as error:
                raise LegGone(self, error) from error
            if self.packetizer.need_rekey() and not self.in_kex:
                self._send_kex_init()

    def ping(self) -> None:
        """Ask for a sign of life, if that can be sent without waiting: where it can't, something is under way."""
        if not self._gate.acquire(blocking=False):
            return
        try:
            if self._parked is None:
                self.packetizer.hand_over(PING, 0.0)
        finally:
            self._gate.release()

    def send_now(self, payload: bytes, patience: float = 0.02) -> bool:
        """Send one last message without ever waiting. False where that isn't possible."""
        return self._parked is None and self.packetizer.send_now(payload, patience)

    def hand_over(self, payload: bytes, patience: float) -> bool:
        """As `send_now`; True where it was sent, or its rest will be before the next message."""
        return self._parked is None and self.packetizer.hand_over(payload, patience)

    def relay(self, plain: bytearray, size: int, hold: bool = False) -> None:
        """Send on a data packet that another leg has decrypted, in place where that is possible.

        With `hold` it may wait for `flush`, so that several go in one write.
        """
        with self._gate:
            if self._parked is not None:
                self._park(bytes(plain[1 : size - plain[0]]))
                return
            try:
                self.packetizer.relay(plain, size, hold)
            except EOFError as error:
                raise LegGone(self, error) from error
            if self.packetizer.need_rekey() and not self.in_kex:
                self._send_kex_init()

    def flush(self) -> None:
        """Send what was held."""
        try:
            self.packetizer.flush()
        except EOFError as error:
            raise LegGone(self, error) from error

    def _park(self, payload: bytes) -> None:
        assert self._parked is not None
        self._parked_bytes += len(payload)
        if self._parked_bytes > PARKED_LIMIT:
            raise SSHException("the other side stalls the key exchange")
        self._parked.append(payload)

    # Dispatch --------------------------------------------------------------------------------------------

    def take_id(self, end: End) -> int:
        """A channel number of ours for `end`, held until `drop_id`."""
        with self._gate:
            while self._next_id in self.ends:
                self._next_id = (self._next_id + 1) & 0xFFFFFF
            number = self._next_id
            self._next_id = (number + 1) & 0xFFFFFF
            self.ends[number] = end
        return number

    def drop_id(self, number: int) -> None:
        self.ends.pop(number, None)

    def open_sink(self) -> None:
        """From now on channel data goes straight to its end."""
        self.packetizer.sink, self.packetizer.outlive = self._sink, self._outlive

    def _sink(self, plain: bytearray, size: int) -> bool:
        if self._expected_packet:
            return False
        end = self.ends.get(int.from_bytes(plain[2:6], "big"))
        body = size - plain[0]
        kind = plain[1]
        number = int.from_bytes(plain[6:10], "big")
        if kind == CHANNEL_DATA:
            count, extended, start = number, None, 10
        elif kind == WINDOW_ADJUST:
            count, extended, start = 0, None, 10
        else:
            count, extended, start = int.from_bytes(plain[10:14], "big"), number, 14
        if start + count != body:
            raise SSHException("a channel's message doesn't fit its packet")
        if end is None:
            if self._cut:
                return True
            raise SSHException("a message for a channel that isn't open")
        try:
            if kind == WINDOW_ADJUST:
                end.on_adjust(number)
            else:
                end.on_data(plain, count, size, extended)
        except EOFError as error:
            self._outlive(error)
        return True

    def _dispatcher(self, number: int) -> Callable[[Message], None]:
        def dispatch(m: Message) -> None:
            if self._cut:
                return
            try:
                self._dispatch(number, Reader(m.get_remainder()))
            except EOFError as error:
                self._outlive(error)

        return dispatch

    def _outlive(self, error: EOFError) -> None:
        """What a message met was the session's end, or the other leg's: this one still has a farewell to deliver."""
        if not self._cut and isinstance(error, LegGone) and error.leg is not self:
            assert self.connection is not None
            self.connection.on_down(error)
        if not self._cut:
            raise error

    def _dispatch(self, number: int, body: Reader) -> None:
        assert self.connection is not None
        if number == Msg.GLOBAL_REQUEST:
            name = body.text()
            self.connection.on_global_request(name, body.boolean(), body)
        elif number in (Msg.REQUEST_SUCCESS, Msg.REQUEST_FAILURE):
            return
        elif number == Msg.CHANNEL_OPEN:
            self.connection.on_channel_open(body.text(64), body.u32(), body.u32(), body.u32(), body)
        else:
            self._dispatch_channel(number, body)

    def _dispatch_channel(self, number: int, body: Reader) -> None:
        end = self.ends.get(body.u32())
        if end is None:
            if self._cut:
                return
            raise SSHException("a message for a channel that isn't open")
        if number == Msg.WINDOW_ADJUST:
            end.on_adjust(body.u32())
        elif number == Msg.CHANNEL_REQUEST:
            end.on_request(body.text(128), body.boolean(), body.rest())
        elif number in (Msg.CHANNEL_SUCCESS, Msg.CHANNEL_FAILURE):
            end.on_reply(number == Msg.CHANNEL_SUCCESS)
        elif number == Msg.CHANNEL_EOF:
            end.on_eof()
        elif number == Msg.CHANNEL_CLOSE:
            end.on_close()
        elif number == Msg.OPEN_CONFIRMATION:
            end.on_opened(body.u32(), body.u32(), body.u32())
        elif number == Msg.OPEN_FAILURE:
            end.on_open_failed(body.u32(), body.text(4096))
        else:
            raise SSHException("data arrived before it may")

    def _parse_ext_info(self, msg: Message) -> None:
        body = Reader(msg.get_remainder())
        count = body.u32()
        if count > 64:
            raise SSHException("too many extensions")
        self.server_extensions = {body.text(): body.string() for _ in range(count)}


class ServerLeg(Leg):
    """The leg towards the person. Until somebody is authenticated nothing but authentication is heard."""

    def __init__(
        self,
        sock: socket.socket,
        host_key: Any,
        make_authenticator: Callable[[ServerLeg], Authenticator],
        heard: bytes | None = None,
    ):
        """`heard` is what the client said in the lobby, where our version line was sent to it; None without one."""
        super().__init__(sock)
        if heard is not None:
            self.packetizer.continue_after(heard)
        self.add_server_key(host_key)
        self.host_key_name = str(host_key.get_name())
        if settings.BREAKGLASS.ssh_post_quantum_only:
            self._preferred_kex = POST_QUANTUM
        self._make_authenticator = make_authenticator

    def _send_kex_init(self) -> None:
        if self.session_id is None and self.local_kex_init is None:
            self._fit_offer()
        super()._send_kex_init()

    def _fit_offer(self) -> None:
        """Fit our offer to the client's, which came first: the first of the client's list wins in SSH.

        AES-GCM alone to a client that has it, for many list CTR before it. The plain MAC only to one that has no
        other (Dropbear). What the client listed is bound by the exchange hash: nobody between can alter it unseen.
        """
        try:
            body = Reader(self.packetizer.peek_first(0.3)[17:])
            offers = [body.string(8192).decode("ascii", "replace").split(",") for _ in range(6)]
        except SSHException:
            return
        if all(any(cipher in offer for cipher in GCM) for offer in offers[2:4]):
            self._preferred_ciphers = GCM
        elif not all(any(mac in offer for mac in ETM) for offer in offers[4:6]):
            self._preferred_macs = (*ETM, PLAIN_MAC)

    def _negotiate_keys(self, m: Message) -> None:
        """RFC 4253 section 7: a guessed packet that follows a client's offer is ignored where the guess is wrong."""
        if self.session_id is not None and not self.is_authenticated():
            raise SSHException("keys are exchanged again only after authentication")
        body = Reader(m.get_remainder())
        body.take(16)
        lists = [body.string(8192).decode("ascii", "replace").split(",") for _ in range(10)]
        right = lists[0][0] == self.preferred_kex[0] and lists[1][0] == self.host_key_name
        if body.boolean() and not right:
            self.packetizer.ignore_next()
        super()._negotiate_keys(m)  # type: ignore[misc]

    def _parse_newkeys(self, m: Message) -> None:
        if self.auth_handler is None:
            self.auth_handler = self._make_authenticator(self)  # type: ignore[assignment]
        super()._parse_newkeys(m)

    def _ensure_authed(self, ptype: int, message: Message) -> None:
        if ptype >= 80 and not self.is_authenticated():
            raise SSHException("only authentication is heard before authentication")

    def authenticated_now(self) -> None:
        """Called once by the authenticator, right after the message that says so was sent."""
        self._auth_trigger()  # type: ignore[attr-defined]
        self.open_sink()


def _farewell(code: Disconnect, text: str) -> bytes:
    return message(Msg.DISCONNECT, u32(code), string(text), string("en"))


def tune(sock: socket.socket) -> None:
    """No delay, and a peer whose machine doesn't answer any more is noticed within 12 s, also where nothing is sent."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
