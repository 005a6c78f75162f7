"""The leg to the asset: dialled under an authorization, its host key checked before any credential is sent."""

from __future__ import annotations

import io
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paramiko import ECDSAKey, Ed25519Key, PKey, RSAKey
from paramiko.ssh_exception import AuthenticationException, IncompatiblePeer, SSHException

from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.services.credentials import UpstreamCredential
from breakglass.services.keys import fingerprint
from sessions.gateway import legacy
from sessions.gateway.asset_leg import ClientLeg
from sessions.gateway.relay import printable
from sessions.gateway.wire import Disconnect, Msg, OpenFailure, Reader, message, string, u32

if TYPE_CHECKING:
    from sessions.gateway.live import LiveSession

CONNECT_SECONDS = 8.0
HANDSHAKE_SECONDS = 10.0


@dataclass(frozen=True)
class Destination:
    """Where an authorization leads: the address registered for the asset. `old`: it may speak old algorithms."""

    asset: str
    host: str
    port: int
    old: bool = False


class AssetConnection:
    """What the asset's leg says that isn't about an open channel. It may ask for nothing."""

    def __init__(self) -> None:
        self.leg: ClientLeg | None = None
        self.session: LiveSession | None = None

    def on_channel_open(self, kind: str, remote_id: int, window: int, max_packet: int, body: Reader) -> None:
        assert self.leg is not None
        self.leg.send(
            message(
                Msg.OPEN_FAILURE,
                u32(remote_id),
                u32(OpenFailure.PROHIBITED),
                string("not here"),
                string("en"),
            )
        )

    def on_global_request(self, name: str, want_reply: bool, body: Reader) -> None:
        if want_reply and self.leg is not None:
            self.leg.send(message(Msg.REQUEST_FAILURE))

    def on_down(self, error: BaseException | None) -> None:
        if self.session is not None:
            self.session.on_asset_down(error)


class HostKeyChanged(Exception):
    """The asset showed a host key that isn't pinned. Nothing was sent to it; `shown` is its fingerprint."""

    def __init__(self, shown: str) -> None:
        super().__init__(shown)
        self.shown = shown


def dial(to: Destination, credential: UpstreamCredential) -> tuple[ClientLeg, AssetConnection, str]:
    """A leg that is logged in at the asset, and the fingerprint of the host key that it showed.

    Raises HostKeyChanged before any credential was sent, or Refused `upstream_unreachable`, `upstream_refused`.
    """
    leg, connection = _connect(to, credential)
    try:
        shown = _check_host_key(leg, to, credential)
        _log_in(leg, to, credential)
    except BaseException:
        connection.session = None
        leg.cut(Disconnect.BY_APPLICATION, "not going on")
        leg.bury()
        raise
    leg.open_sink()
    return leg, connection, shown


def _connect(to: Destination, credential: UpstreamCredential) -> tuple[ClientLeg, AssetConnection]:
    try:
        sock = socket.create_connection((to.host, to.port), timeout=CONNECT_SECONDS)
    except OSError as error:
        problem = error.strerror or str(error) or "no answer"
        raise refuse(RefusalCode.UPSTREAM_UNREACHABLE, asset=to.asset, problem=problem) from None
    leg = ClientLeg(sock, tuple(key_type for key_type, _ in credential.host_keys), old=to.old)
    connection = AssetConnection()
    connection.leg = leg
    leg.connection = connection
    leg.auth_timeout = HANDSHAKE_SECONDS
    return leg, connection


def _check_host_key(leg: ClientLeg, to: Destination, credential: UpstreamCredential) -> str:
    try:
        leg.start_client(timeout=HANDSHAKE_SECONDS)
    except SSHException as error:
        raise _not_agreed(leg, to, error) from None
    except (OSError, EOFError):
        raise refuse(RefusalCode.UPSTREAM_UNREACHABLE, asset=to.asset, problem="it hung up") from None
    if not leg.initial_kex_done:
        raise refuse(RefusalCode.UPSTREAM_UNREACHABLE, asset=to.asset, problem="it doesn't speak SSH in time")
    blob = leg.get_remote_server_key().asbytes()
    if blob not in {pinned for _, pinned in credential.host_keys}:
        raise HostKeyChanged(fingerprint(blob))
    return fingerprint(blob)


def _not_agreed(leg: ClientLeg, to: Destination, error: SSHException) -> Exception:
    """Why the key exchange came to nothing: old algorithms that aren't allowed, another host key, or worse."""
    if isinstance(error, IncompatiblePeer) and leg.offered is not None:
        only = legacy.not_shared(leg.offer, leg.offered)
        if not to.old and legacy.helps(leg.offer, leg.offered):
            return refuse(RefusalCode.OLD_ALGORITHMS, asset=to.asset, speaks=printable(only))
        if "no acceptable host key" in str(error):
            return HostKeyChanged("of another type")
        return refuse(
            RefusalCode.UPSTREAM_UNREACHABLE, asset=to.asset, problem=f"it speaks only {printable(only)}"
        )
    return refuse(RefusalCode.UPSTREAM_UNREACHABLE, asset=to.asset, problem=printable(str(error)))


def _log_in(leg: ClientLeg, to: Destination, credential: UpstreamCredential) -> None:
    refused = refuse(RefusalCode.UPSTREAM_REFUSED, asset=to.asset, login=credential.username)
    try:
        if credential.password is not None:
            missing = leg.auth_password(credential.username, credential.password)
        elif credential.private_key is not None:
            key = _load_key(credential.private_key, old=to.old)
            if credential.certificate is not None:
                key.load_certificate(credential.certificate)
            missing = _sign_in(leg, credential.username, key)
        else:
            raise refused
    except AuthenticationException:
        raise refused from None
    except (SSHException, OSError, EOFError):
        raise refuse(
            RefusalCode.UPSTREAM_UNREACHABLE, asset=to.asset, problem="it hung up at the login"
        ) from None
    if missing or not leg.is_authenticated():
        raise refused


def _sign_in(leg: ClientLeg, username: str, key: PKey) -> list[str]:
    """As `auth_publickey`; an old asset's RSA login is tried with SHA-1 too, for some name what they don't take."""
    try:
        return leg.auth_publickey(username, key)
    except AuthenticationException:
        if not isinstance(key, legacy.SHA1RSAKey) or leg.sha1_only or not leg.is_active():
            raise
    leg.sha1_only = True
    return leg.auth_publickey(username, key)


def _load_key(pem: str, *, old: bool = False) -> PKey:
    classes: tuple[type[PKey], ...] = (Ed25519Key, ECDSAKey, legacy.SHA1RSAKey if old else RSAKey)
    for key_class in classes:
        try:
            return key_class.from_private_key(io.StringIO(pem))
        except (SSHException, ValueError):
            continue
    raise SSHException("the stored key can't be read")
