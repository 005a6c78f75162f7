"""The web process as an SSH client of the gateway: one connection for one browser terminal, as any client makes it.

The gateway's host key is pinned: it is derived from the master key, which this process has too. What the gateway says
for people (its banner, why it refused a channel, its farewell) is kept, for the page shows it.
"""

from __future__ import annotations

import contextlib
import io
import socket

import paramiko
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings
from paramiko.message import Message

from sessions.gateway.hostkey import host_key
from sessions.services.terminals import Pass

DIAL_SECONDS = 10.0
LOGIN_SECONDS = 30.0
TERM = "xterm-256color"
MOST_WORDS = 4000


class NotLetIn(Exception):
    """The gateway said no, or wasn't there. The message is for the person."""


class GatewayLine(paramiko.Transport):
    """paramiko's client, which keeps what the gateway says where paramiko only logs it."""

    farewell = ""
    channel_refused = ""

    def _parse_disconnect(self, m: Message) -> None:
        m.get_int()
        self.farewell = m.get_string().decode(errors="replace")[:MOST_WORDS]

    def _parse_channel_open_failure(self, m: Message) -> None:
        again = Message(m.asbytes())
        again.get_int()
        again.get_int()
        self.channel_refused = again.get_string().decode(errors="replace")[:MOST_WORDS]
        super()._parse_channel_open_failure(m)  # type: ignore[misc]

    @property
    def banner_words(self) -> str:
        # Of the handler itself: `get_banner` forgets it when the line goes down.
        banner: bytes | None = getattr(self.auth_handler, "banner", None)
        return banner.decode(errors="replace")[:MOST_WORDS].replace("\r\n", "\n") if banner else ""


def dial(opened: Pass) -> GatewayLine:
    """A connection that is logged in at the gateway, at the asset. Raises NotLetIn."""
    config = settings.BREAKGLASS
    try:
        sock = socket.create_connection((config.gateway_host, config.gateway_port), DIAL_SECONDS)
    except OSError as error:
        raise NotLetIn(
            f"The gateway can't be reached ({error.strerror or error}). Your grant lives on: try again in a moment."
        ) from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line = GatewayLine(sock)
    try:
        _log_in(line, opened)
    except (paramiko.SSHException, EOFError, OSError) as error:
        words = line.banner_words or line.farewell
        line.close()
        raise NotLetIn(words.strip() or f"The gateway hung up ({error}). Try again in a moment.") from None
    except BaseException:
        line.close()
        raise
    return line


def open_shell(line: GatewayLine, cols: int, rows: int) -> paramiko.Channel:
    """A shell in a terminal of that size. Raises NotLetIn with the gateway's words."""
    try:
        channel = line.open_session(timeout=LOGIN_SECONDS)
        channel.set_combine_stderr(True)
        channel.get_pty(TERM, cols, rows)
        channel.invoke_shell()
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise NotLetIn(why(line, error)) from None
    return channel


def open_sftp(line: GatewayLine) -> paramiko.SFTPClient:
    """File transfer on a channel of its own. Raises NotLetIn with the gateway's words."""
    channel = None
    try:
        channel = line.open_session(timeout=LOGIN_SECONDS)
        channel.invoke_subsystem("sftp")
        return paramiko.SFTPClient(channel)
    except (paramiko.SSHException, EOFError, OSError) as error:
        said = ""
        if channel is not None:
            with contextlib.suppress(OSError, EOFError):
                channel.settimeout(2.0)
                said = channel.recv_stderr(MOST_WORDS).decode(errors="replace").strip()
            channel.close()
        raise NotLetIn(said or why(line, error)) from None


def why(line: GatewayLine, error: BaseException) -> str:
    """The best that is known of why something didn't go."""
    return line.farewell or line.channel_refused or f"The gateway hung up ({error or type(error).__name__})."


def _log_in(line: GatewayLine, opened: Pass) -> None:
    pinned = host_key()
    line.get_security_options().key_types = (pinned.get_name(),)
    line.banner_timeout = line.auth_timeout = LOGIN_SECONDS
    line.start_client(timeout=LOGIN_SECONDS)
    if line.get_remote_server_key().asbytes() != pinned.asbytes():
        raise paramiko.SSHException("it is not the gateway that answers there")
    pem = opened.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(pem))
    key.load_certificate(opened.certificate)
    if line.auth_publickey(opened.user, key):
        raise paramiko.SSHException("it wants more than a certificate")
