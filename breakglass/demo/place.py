"""Where a demo lives: its folder, ports and keys, and the environment that its processes get."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent.parent
# Linux takes 108 bytes for the path of a Unix socket, macOS 104.
LONGEST_SOCKET_PATH = 100


class DemoStopped(Exception):
    """The demo can't go on; the message says why and what helps."""


@dataclass(frozen=True)
class Place:
    """One demo's folder and ports. The same folder gives the same demo again."""

    dir: Path
    web_port: int
    gateway_port: int
    assets_by_sshd: bool

    @property
    def logs(self) -> Path:
        return self.dir / "logs"

    @property
    def keys(self) -> Path:
        return self.dir / "keys"

    @property
    def assets(self) -> Path:
        return self.dir / "assets"

    @property
    def mail(self) -> Path:
        return self.dir / "mail"

    @property
    def notary_key(self) -> Path:
        """For the notary's process alone: no other is told where it lies."""
        return self.dir / "notary" / "key"

    @property
    def anchor(self) -> Path:
        """Where checkpoints are kept; in earnest it would be on another machine."""
        return self.dir / "anchor" / "checkpoints"

    @property
    def web_url(self) -> str:
        return f"http://localhost:{self.web_port}"

    @property
    def redis_dir(self) -> Path:
        """A folder of our own whose path is short and plain enough for a Unix socket in an address."""
        inside = self.dir / "redis"
        short = len(os.fsencode(inside / "valkey.sock")) <= LONGEST_SOCKET_PATH
        if short and re.fullmatch(r"[\w./+@-]+", str(inside), re.ASCII):
            return inside
        name = hashlib.sha256(os.fsencode(self.dir)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"breakglass-{os.getuid()}-{name}"

    @property
    def redis_socket(self) -> Path:
        return self.redis_dir / "valkey.sock"

    def make(self) -> None:
        """Makes the folders, for this user only."""
        for folder in (
            self.dir,
            self.logs,
            self.keys,
            self.assets,
            self.mail,
            self.redis_dir,
            self.notary_key.parent,
            self.anchor.parent,
            self.dir / "data",
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.redis_dir.stat().st_uid != os.getuid():
            raise DemoStopped(
                f"{self.redis_dir} belongs to somebody else; remove it or choose another DEMO_DIR."
            )
        self.dir.chmod(0o700)
        self.redis_dir.chmod(0o700)

    def environment(self) -> dict[str, str]:
        """The environment of every process of the demo."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BREAKGLASS_")}
        return kept | self.settings() | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def settings(self) -> dict[str, str]:
        keys = self._secrets()
        return {
            "DJANGO_SETTINGS_MODULE": "breakglass.settings",
            # As files: whoever lists processes, or reads a shell's environment on an asset, sees a path.
            "BREAKGLASS_SECRET_KEY_FILE": str(keys["secret_key"]),
            "BREAKGLASS_MASTER_KEY_FILE": str(keys["master_key"]),
            "BREAKGLASS_DATA_DIR": str(self.dir / "data"),
            "BREAKGLASS_REDIS_URL": f"unix://{self.redis_socket}",
            "BREAKGLASS_PUBLIC_URL": self.web_url,
            "BREAKGLASS_GATEWAY_HOST": "127.0.0.1",
            "BREAKGLASS_GATEWAY_PORT": str(self.gateway_port),
            "BREAKGLASS_EMAIL_URL": f"file://{self.mail}",
            "BREAKGLASS_AUDIT_ANCHORS": f"file://{quote(str(self.anchor))},mailto:audit-archive@elsewhere.example",
            "BREAKGLASS_SIEM": f"file://{quote(str(self.dir / 'audit-stream.jsonl'))}",
            # Four people try everything out, again and again.
            "BREAKGLASS_REQUESTS_AN_HOUR": "200",
            "BREAKGLASS_DEMO": "1",
        }

    def _secrets(self) -> dict[str, Path]:
        """The files of the two keys, made at the first start."""
        fresh = {
            "secret_key": secrets.token_urlsafe(48),
            "master_key": base64.b64encode(secrets.token_bytes(32)).decode(),
        }
        older = self.dir / "secrets.json"  # where earlier demos kept both
        if older.exists():
            fresh |= json.loads(older.read_text())
        files = {name: self.dir / name for name in fresh}
        for name, file in files.items():
            if not file.exists():
                write_private(file, fresh[name])
        older.unlink(missing_ok=True)
        return files

    def remembered(self) -> dict[str, Any]:
        """What an earlier start wrote down: ports of the assets, tokens shown once."""
        file = self.dir / "state.json"
        found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return found

    def remember(self, **facts: Any) -> None:
        write_private(self.dir / "state.json", json.dumps(self.remembered() | facts, indent=1))


def here(environ: Mapping[str, str] = os.environ) -> Place:
    """The place that DEMO_DIR, DEMO_PORT, DEMO_GATEWAY_PORT and DEMO_ASSETS name."""
    kind = environ.get("DEMO_ASSETS", "") or "paramiko"
    if kind not in {"paramiko", "sshd"}:
        raise DemoStopped(f"DEMO_ASSETS={kind} is unknown: leave it out, or say DEMO_ASSETS=sshd.")
    folder = Path(environ.get("DEMO_DIR", "") or ROOT / "var" / "demo")
    return Place(
        dir=folder.absolute(),
        web_port=_port(environ, "DEMO_PORT", 8000),
        gateway_port=_port(environ, "DEMO_GATEWAY_PORT", 2222),
        assets_by_sshd=kind == "sshd",
    )


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    value = environ.get(name, "") or str(default)
    if not value.isdigit() or not 1 <= int(value) <= 65535:
        raise DemoStopped(f"{name}={value} is no port: it takes a number from 1 to 65535.")
    return int(value)


def write_private(file: Path, text: str) -> None:
    """Writes `file` whole or not at all, readable by this user only."""
    unfinished = file.with_name(file.name + ".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    unfinished.replace(file)


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def adopt(environ: dict[str, str] | os._Environ[str] = os.environ) -> Place | None:
    """With no BREAKGLASS_* setting given and a demo set up here, a command speaks to that demo."""
    if any(name.startswith("BREAKGLASS_") for name in environ):
        return None
    place = here(environ)
    if not any((place.dir / name).exists() for name in ("master_key", "secrets.json")):
        return None
    environ.update(place.settings())
    return place
