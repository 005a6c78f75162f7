"""A machine to reach: small SSH servers with a real shell behind them, one for each demo asset.

Stands in for sshd where that is missing or may not run. It trusts the broker's certificate authority, a
vaulted password or a vaulted key, as its asset says; and it checks certificates as sshd would.
"""

from __future__ import annotations

import base64
import logging
import os
import socket
import sys
import threading
from pathlib import Path

import paramiko
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from breakglass import clock
from breakglass.demo.asset_book import AssetBook, AssetFiles
from breakglass.demo.asset_files import FileTransfer, HomeFiles
from breakglass.demo.asset_shell import Run, Window, run_command, run_shell, serve_page
from breakglass.demo.cast import Way
from breakglass.demo.place import here

log = logging.getLogger("asset")


class AssetDoor(paramiko.ServerInterface):
    """What one connection may do."""

    def __init__(self, asset: AssetFiles) -> None:
        self.asset = asset
        self.login = ""
        self.windows: dict[int, Window] = {}
        self.pages: set[int] = set()

    def get_allowed_auths(self, username: str) -> str:
        return "password" if self.asset.machine.way is Way.PASSWORD else "publickey"

    def check_auth_password(self, username: str, password: str) -> int:
        fits = self.asset.machine.way is Way.PASSWORD and self.asset.takes_password(password)
        return self._admit(username, fits)

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        # paramiko checks the signature itself, after this.
        if self.asset.machine.way is Way.CERTIFICATE:
            return self._admit(username, certificate_fits(key, username, self.asset.ca_file))
        line = f"{key.get_name()} {key.get_base64()}"
        fits = (
            self.asset.machine.way is Way.KEY and line in self.asset.authorized_keys.read_text().splitlines()
        )
        return self._admit(username, fits)

    def _admit(self, username: str, fits: bool) -> int:
        if not fits or username not in self.asset.machine.logins:
            return int(paramiko.common.AUTH_FAILED)
        self.login = username
        return int(paramiko.common.AUTH_SUCCESSFUL)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        ok, refused = paramiko.common.OPEN_SUCCEEDED, paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        return int(ok if kind == "session" else refused)

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: object, destination: tuple[str, int]
    ) -> int:
        # The one page that the historian's playbook names; it needs no port of this machine.
        if destination == ("127.0.0.1", 8080):
            self.pages.add(chanid)
            return int(paramiko.common.OPEN_SUCCEEDED)
        return int(paramiko.common.OPEN_FAILED_CONNECT_FAILED)

    def check_channel_pty_request(
        self, channel: paramiko.Channel, term: bytes, width: int, height: int, *_: object
    ) -> bool:
        self.windows[channel.chanid] = Window(term.decode(errors="replace") or "dumb", width, height)
        return True

    def check_channel_window_change_request(
        self, channel: paramiko.Channel, width: int, height: int, pixelwidth: int, pixelheight: int
    ) -> bool:
        window = self.windows.get(channel.chanid)
        if window:
            window.resize(width, height)
        return window is not None

    def check_channel_shell_request(self, channel: paramiko.Channel) -> bool:
        return self._start(channel, None)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        return self._start(channel, command.decode("utf-8", "surrogateescape"))

    def _start(self, channel: paramiko.Channel, command: str | None) -> bool:
        run = Run(self.asset.machine.name, self.login, self.asset.home, command)
        window = self.windows.get(channel.chanid)
        target = run_command if window is None else run_shell
        threading.Thread(target=target, args=(channel, run, window), daemon=True).start()
        return True


def certificate_fits(key: paramiko.PKey, login: str, ca_file: Path) -> bool:
    """Whether `key` came with a user certificate of the broker's CA for `login` that is valid now."""
    if key.public_blob is None or not ca_file.exists():
        return False
    line = f"{key.public_blob.key_type} ".encode() + base64.b64encode(key.public_blob.key_blob)
    try:
        certificate = serialization.load_ssh_public_identity(line)
        if not isinstance(certificate, serialization.SSHCertificate):
            return False
        certificate.verify_cert_signature()
    except (ValueError, InvalidSignature):
        return False
    form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    signer = certificate.signature_key().public_bytes(*form)
    trusted = {b" ".join(entry.split()[:2]) for entry in ca_file.read_bytes().splitlines() if entry.strip()}
    return (
        certificate.type is serialization.SSHCertificateType.USER
        and signer in trusted
        and login.encode() in certificate.valid_principals
        and certificate.valid_after <= clock.now().timestamp() < certificate.valid_before
        and not certificate.critical_options
    )


def serve(asset: AssetFiles) -> None:
    """Takes connections for one asset, for ever."""
    host_key = paramiko.Ed25519Key.from_private_key_file(str(asset.host_key_file))
    listener = socket.create_server(("127.0.0.1", asset.port), backlog=100)
    while True:
        conversation, _ = listener.accept()
        threading.Thread(target=converse, args=(asset, host_key, conversation), daemon=True).start()


def converse(asset: AssetFiles, host_key: paramiko.PKey, conversation: socket.socket) -> None:
    conversation.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(conversation)
    transport.local_version = "SSH-2.0-DemoAsset"
    transport.add_server_key(host_key)
    transport.set_subsystem_handler("sftp", FileTransfer, HomeFiles)
    door = AssetDoor(asset)
    try:
        transport.start_server(server=door)
        kept = []  # paramiko holds channels weakly
        while transport.is_active():
            channel = transport.accept(timeout=5)
            if channel is None:
                continue
            kept.append(channel)
            if channel.chanid in door.pages:
                threading.Thread(target=serve_page, args=(channel, asset.machine.name), daemon=True).start()
    except (paramiko.SSHException, EOFError, OSError) as problem:
        log.info("%s: a connection ended: %s", asset.machine.name, problem)
    finally:
        transport.close()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    place = here(os.environ | {"DEMO_DIR": sys.argv[1]})
    servers = [threading.Thread(target=serve, args=(asset,)) for asset in AssetBook.running(place).assets]
    for server in servers:
        server.start()
    for server in servers:
        server.join()


if __name__ == "__main__":
    main()
