"""A throwaway PostgreSQL on a Unix socket. As root it runs as another user, for PostgreSQL refuses root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

# Tests may lose their database with the machine: speed before durability.
FAST = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=200",
    "listen_addresses=''",
)
LOCALE = ("--encoding=UTF8", "--locale=C")


def find_programs() -> Path | None:
    """The folder of initdb and pg_ctl: on PATH, or where Debian and others put the newest one."""
    on_path = shutil.which("pg_ctl")
    if on_path and (Path(on_path).resolve().parent / "initdb").exists():
        return Path(on_path).resolve().parent
    places = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr/pgsql").glob("*/bin")]
    found = [place for place in places if (place / "initdb").exists() and (place / "pg_ctl").exists()]
    return max(
        found, key=lambda place: int("".join(filter(str.isdigit, place.parent.name)) or 0), default=None
    )


@dataclass(frozen=True)
class Cluster:
    """A running server. `url` is what BREAKGLASS_DATABASE_URL takes."""

    programs: Path
    dir: Path
    user: str | None

    @property
    def url(self) -> str:
        return f"postgresql://breakglass@/breakglass?host={quote(str(self.dir), safe='')}"

    @staticmethod
    def start() -> Cluster:
        programs = find_programs()
        if programs is None:
            raise SystemExit("PostgreSQL is not installed:  sudo apt-get install postgresql")
        # A short path of its own: the other user must be able to enter it, and sockets take 107 bytes.
        folder = Path(tempfile.mkdtemp(prefix="breakglass-pg-"))
        cluster = Cluster(programs, folder, _other_user() if os.getuid() == 0 else None)
        if cluster.user:
            account = pwd.getpwnam(cluster.user)
            os.chown(folder, account.pw_uid, account.pw_gid)
        data = str(folder / "data")
        cluster._run("initdb", "-D", data, "-U", "breakglass", "--auth=trust", "--no-sync", *LOCALE)
        options = " ".join(["-k", str(folder), *(f"-c {setting}" for setting in FAST)])
        cluster._run("pg_ctl", "-D", data, "-l", str(folder / "log"), "-o", options, "-w", "start")
        with psycopg.connect(
            host=str(folder), user="breakglass", dbname="postgres", autocommit=True
        ) as server:
            server.execute("CREATE DATABASE breakglass")
        return cluster

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.dir / "data"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.dir, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(
            command,
            user=self.user,
            cwd=self.dir,
            capture_output=True,
            text=True,
            check=False,
            env=self._environment(),
        )
        if done.returncode != 0:
            log = self.dir / "log"
            more = log.read_text() if log.exists() else ""
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}\n{more}")

    def _environment(self) -> dict[str, str]:
        return {"PATH": f"{self.programs}:/usr/bin:/bin", "LC_ALL": "C", "HOME": str(self.dir)}


def _other_user() -> str:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise SystemExit("PostgreSQL won't run as root, and there is neither a user postgres nor nobody.")
