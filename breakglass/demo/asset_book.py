"""The demo's assets on disk: which port, which host key, what they let in; and how to run them."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from breakglass.demo import asset_home, gates, sshd_assets
from breakglass.demo.cast import MACHINES, Machine
from breakglass.demo.place import DemoStopped, Place, python, write_private


@dataclass(frozen=True)
class AssetFiles:
    """One asset's folder. What the asset knows of secrets is what a real one knows: hashes and public keys."""

    machine: Machine
    port: int
    dir: Path
    ca_file: Path

    @property
    def host_key_file(self) -> Path:
        return self.dir / "host_key"

    @property
    def home(self) -> Path:
        return self.dir / "home"

    @property
    def authorized_keys(self) -> Path:
        return self.dir / "authorized_keys"

    @property
    def password_file(self) -> Path:
        return self.dir / "password.hash"

    @property
    def shadow_file(self) -> Path:
        return self.dir / "password.shadow"

    def make(self) -> None:
        self.dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.host_key_file.exists():
            write_private(self.host_key_file, new_private_key())
        asset_home.furnish(self.home, self.machine.name)

    def host_key(self) -> str:
        return public_line(self.host_key_file.read_text())

    def set_password(self, password: str) -> None:
        salt = secrets.token_bytes(16)
        write_private(
            self.password_file, json.dumps({"salt": salt.hex(), "hash": _scrypt(password, salt).hex()})
        )

    def takes_password(self, password: str) -> bool:
        if not self.password_file.exists():
            return False
        kept = json.loads(self.password_file.read_text())
        return hmac.compare_digest(
            _scrypt(password, bytes.fromhex(kept["salt"])), bytes.fromhex(kept["hash"])
        )


@dataclass(frozen=True)
class AssetBook:
    """All assets of one demo."""

    assets: tuple[AssetFiles, ...]

    @staticmethod
    def of(place: Place) -> AssetBook:
        """The assets at the ports of the first start, for the broker has registered those."""
        known: dict[str, int] = place.remembered().get("asset_ports", {})
        taken = {place.web_port, place.gateway_port}
        for machine in MACHINES:
            port = known.get(machine.name)
            if port is None:
                port = known[machine.name] = _free_port(machine.preferred_port, taken | set(known.values()))
            elif not gates.port_is_free(port):
                raise DemoStopped(
                    f"port {port}, where {machine.name} has been registered, is in use by another program.\n"
                    f"End that one, or start a fresh demo:  DEMO_DIR=var/demo2 make demo"
                )
        place.remember(asset_ports=known)
        book = AssetBook(tuple(_files(place, machine, known[machine.name]) for machine in MACHINES))
        for asset in book.assets:
            asset.make()
        return book

    @staticmethod
    def running(place: Place) -> AssetBook:
        """The assets as an earlier step of this start left them."""
        known: dict[str, int] = place.remembered()["asset_ports"]
        return AssetBook(tuple(_files(place, machine, known[machine.name]) for machine in MACHINES))

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(asset.port for asset in self.assets)

    def processes(self, place: Place) -> Sequence[tuple[str, list[str], Path]]:
        """The processes that play the assets, as (name, command, log)."""
        if place.assets_by_sshd:
            return sshd_assets.processes(place, self)
        return [("assets", python("-m", "breakglass.demo.asset", str(place.dir)), place.logs / "assets.log")]


def new_private_key() -> str:
    """A new Ed25519 key in OpenSSH's own format."""
    key = Ed25519PrivateKey.generate()
    openssh = serialization.PrivateFormat.OpenSSH
    return key.private_bytes(serialization.Encoding.PEM, openssh, serialization.NoEncryption()).decode()


def public_line(private_key: str) -> str:
    key = serialization.load_ssh_private_key(private_key.encode(), password=None)
    encoding, form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(encoding, form).decode()


def _files(place: Place, machine: Machine, port: int) -> AssetFiles:
    return AssetFiles(machine, port, place.assets / machine.name, place.assets / "ca.pub")


def _free_port(preferred: int, taken: set[int]) -> int:
    for port in range(preferred, preferred + 1000, 10):
        if port not in taken and gates.port_is_free(port):
            return port
    raise DemoStopped(f"no free port for an asset was found between {preferred} and {preferred + 1000}.")


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
