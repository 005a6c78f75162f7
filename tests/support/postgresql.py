"""A throwaway PostgreSQL on a Unix socket. As root it runs as another user, for PostgreSQL refuses root."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.support.ports import free_port
from tests.support.sshd import descendants

# Tests may lose their database with the machine: speed before durability.
FAST = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=200",
    "listen_addresses=",
)
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1
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
    port: int = 0
    """On loopback; 0: its Unix socket alone."""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"postgresql://breakglass@/breakglass?host={quote(str(self.dir), safe='')}"

    @staticmethod
    def start(*, tcp: bool = False) -> Cluster:
        """A fresh server; with `tcp` it listens on a port of loopback too."""
        programs = find_programs()
        if programs is None:
            raise SystemExit("PostgreSQL is not installed:  sudo apt-get install postgresql")
        # A short path of its own: the other user must be able to enter it, and sockets take 107 bytes.
        folder = Path(tempfile.mkdtemp(prefix="breakglass-pg-"))
        user = _other_user() if os.getuid() == 0 else None
        cluster = Cluster(programs, folder, user, free_port() if tcp else 0)
        if cluster.user:
            account = pwd.getpwnam(cluster.user)
            os.chown(folder, account.pw_uid, account.pw_gid)
        data = str(folder / "data")
        cluster._run("initdb", "-D", data, "-U", "breakglass", "--auth=trust", "--no-sync", *LOCALE)
        cluster._serve(data)
        cluster._await().execute("CREATE DATABASE breakglass")
        return cluster

    def send(self, number: signal.Signals) -> None:
        """To the server and to all that it has started; each of those leads a process group of its own."""
        for process in self.processes:
            if process.poll() is None:
                below = descendants(process.pid)
                for pid in (process.pid, *below):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)

    def serve_again(self) -> None:
        """After it was killed; nothing where it lives."""
        if self.processes[0].poll() is None:
            try:
                self.processes[0].wait(0.2)  # it may be dying
            except subprocess.TimeoutExpired:
                return
        self.processes.clear()
        self._serve(str(self.dir / "data"))
        self._await().close()

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGQUIT)
            process.wait(30)
        shutil.rmtree(self.dir, ignore_errors=True)

    def _serve(self, data: str) -> None:
        """A child of this process that ends with it, however that ends."""
        listen = (f"port={self.port}", "listen_addresses=127.0.0.1") if self.port else ()
        settings = [word for setting in (*FAST, *listen) for word in ("-c", setting)]
        with (self.dir / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", data, "-k", str(self.dir), *settings],
                user=self.user, cwd=self.dir, env=self._environment(), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=_end_with_parent,  # noqa: PLW1509 - before any thread is there
                start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)

    def _await(self, seconds: float = 60) -> psycopg.Connection:
        until = time.monotonic() + seconds
        while True:
            try:
                return psycopg.connect(
                    host=str(self.dir), port=self.port or 5432, user="breakglass", dbname="postgres",
                    autocommit=True,
                )  # fmt: skip
            except psycopg.OperationalError:
                if self.processes[0].poll() is not None or time.monotonic() > until:
                    raise RuntimeError(
                        f"PostgreSQL doesn't answer:\n{(self.dir / 'log').read_text()}"
                    ) from None
                time.sleep(0.05)

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


def _end_with_parent() -> None:
    """In the child, before it becomes the server: an immediate shutdown when its parent dies, be it by SIGKILL."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def _other_user() -> str:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise SystemExit("PostgreSQL won't run as root, and there is neither a user postgres nor nobody.")
