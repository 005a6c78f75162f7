"""What the demo tells the world: demo.json for programs, a page of text for people, known_hosts for ssh."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from breakglass.demo import gates
from breakglass.demo.asset_book import AssetBook
from breakglass.demo.cast import PEOPLE, RITA
from breakglass.demo.place import ROOT, Place, write_private

SOURCES = ("breakglass", "sessions", "playbooks", "requirements.txt", "package-lock.json")


def write(place: Place, book: AssetBook) -> None:
    """demo.json, mode 0600, as docs/operate.md describes it."""
    known = place.remembered()
    # It comes from the master key: the same at every start of this demo.
    host_key = known.get("host_key") or gates.host_key_of(place.gateway_port)
    place.remember(host_key=host_key)
    facts = {
        "web": place.web_url,
        "gateway": {"host": "127.0.0.1", "port": place.gateway_port, "host_key": host_key},
        "people": [
            {
                "username": player.username,
                "password": player.password,
                "totp_secret": player.totp_secret,
                "roles": list(player.roles),
                "groups": list(player.groups),
                "ssh_key": str(place.keys / player.username),
                "token": known["tokens"].get(player.username, ""),
            }
            for player in PEOPLE
        ],
        "assets": [
            {
                "name": asset.machine.name,
                "host": "127.0.0.1",
                "port": asset.port,
                "logins": list(asset.machine.logins),
            }
            for asset in book.assets
        ],
        "playbooks": known["playbooks"],
    }
    write_private(place.dir / "demo.json", json.dumps(facts, indent=2) + "\n")
    (place.dir / "known_hosts").write_text(f"[127.0.0.1]:{place.gateway_port} {host_key}\n")


def show(place: Place, seconds: float, say: Callable[[str], None]) -> None:
    """The page of text that stands on the screen while the demo runs."""
    folder = _short(place.dir)
    people = "\n".join(
        f"    {player.username:8} {player.password:18} {', '.join(player.roles):22} {player.totp_secret}"
        for player in PEOPLE
    )
    where = "" if folder == "var/demo" else f"DEMO_DIR={folder} "
    say(
        f"""
Ready after {seconds:.1f} s.

  Web page   {place.web_url}
  Gateway    ssh -p {place.gateway_port} -i {folder}/keys/{RITA.username} \\
                 -o UserKnownHostsFile={folder}/known_hosts {RITA.username}+hist-01@127.0.0.1
  Mails      {folder}/mail      for programs: {folder}/demo.json      logs: {folder}/logs

    name     password           role                   second factor (TOTP secret)
{people}

  A code of a person's second factor:  {where}.venv/bin/python manage.py devtotp {RITA.username}
  All of this is invented and open to everybody on this machine. Ctrl-C ends it.
"""
    )


def fingerprint() -> str:
    """Changes when the product's files do, so that the next start prepares anew."""
    total = hashlib.sha256()
    for source in SOURCES:
        for file in sorted(_files(ROOT / source)):
            total.update(str(file).encode())
            total.update(file.read_bytes())
    total.update(str((ROOT / "var/static/staticfiles.json").exists()).encode())
    return total.hexdigest()


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [
        Path(folder) / name
        for folder, _, names in os.walk(path)
        if "__pycache__" not in folder
        for name in names
    ]


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
