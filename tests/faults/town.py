"""A whole installation of real processes that can be killed, stopped and started again one by one; and people at work in it."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from breakglass.demo import gates, supervisor, valkey
from breakglass.demo.place import ROOT, Place
from tests.faults.databases import Database, Postgres, Sqlite
from tests.faults.pipe import Helper, die_with_parent
from tests.support.ports import free_port
from tests.support.sshd import descendants, make_key

T = TypeVar("T")
PEOPLE = 10
PATIENCE = 120.0
UNHURRIED = ("--rate", "10000", "--burst", "10000")


@dataclass
class Part:
    """One process of the product, with all that it has started."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    is_up: Callable[[], bool]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns at once; `await_up` waits."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.environment, cwd=ROOT,
                start_new_session=True, preexec_fn=die_with_parent,  # noqa: PLW1509 - before it is the program
            )  # fmt: skip

    def await_up(self) -> None:
        def up() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended:\n{self.last_words()}")
            return self.is_up()

        eventually(up, f"{self.name} is up")

    @property
    def pids(self) -> list[int]:
        if self.process is None or self.process.poll() is not None:
            return []
        return [self.process.pid, *descendants(self.process.pid)]

    def send(self, number: signal.Signals, pids: Sequence[int] | None = None) -> None:
        for pid in self.pids if pids is None else pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def die(self) -> None:
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)

    def live(self) -> None:
        """After `die` or `freeze`. Returns at once, as `start`."""
        if self.process is not None and self.process.poll() is None:
            self.send(signal.SIGCONT)
        else:
            self.start()

    def stop(self) -> None:
        """In order, and at the latest the hard way."""
        if self.process is None:
            return
        self.send(signal.SIGCONT)
        left = self.pids[1:]
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
        self.die()
        self.send(signal.SIGKILL, left)

    def last_words(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@dataclass
class Gateway:
    """A gateway of the town on a port of its own."""

    part: Part
    port: int

    def serving(self) -> list[int]:
        """The processes that hold connections of people now: not their parent, and not who guards them."""
        return [pid for pid in self.part.pids if _holds_connections(pid, self.port)]


@dataclass
class Town:
    """Everything, running. `kind` is the database's: postgresql or sqlite."""

    kind: str
    dir: Path
    place: Place
    database: Database
    environment: dict[str, str]
    parts: dict[str, Part] = field(default_factory=dict)
    gateways: list[Gateway] = field(default_factory=list)
    is_patient: bool = True
    """What was started again is up before the next fault; else only what people at work can't do without."""
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    office: Helper = field(init=False)
    asset: Helper = field(init=False)
    crowd: Helper = field(init=False)
    asset_port: int = 0

    @property
    def gateway(self) -> Gateway:
        """The one that most conditions are about."""
        return self.gateways[0]

    def around(self) -> list[Part]:
        """All processes but gateways."""
        return list(self.parts.values())

    def mind(self) -> None:
        """As any supervisor does: what has ended by itself is started again. (A Celery worker ends when Redis does.)

        In the main thread only: a child ends with the thread that began it."""
        if threading.current_thread() is not threading.main_thread():
            return
        for part in self.around():
            if part.process is not None and part.process.poll() is not None:
                part.start()
        for part in self.around():
            if self.is_patient or part.name == "valkey":
                part.await_up()

    def eventually(self, true: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
        """As `eventually` below, minding what ends meanwhile."""

        def look() -> T:
            if not (answer := true()):
                self.mind()
            return answer

        return eventually(look, what, seconds)

    def gateway_apart(
        self, name: str, *, database_url: str = "", extra: Mapping[str, str] | None = None, processes: int = 1
    ) -> Gateway:
        """One more gateway: with another way to the database, or with more in its environment. Is up on return."""
        port = free_port()
        environment = self.environment | {"BREAKGLASS_GATEWAY_PORT": str(port)} | dict(extra or {})
        if database_url:
            environment["BREAKGLASS_DATABASE_URL"] = database_url
        command = next(command for part, command, _ in supervisor.services(self.place) if part == "gateway")
        words = [*command, "--port", str(port), "--processes", str(processes), *UNHURRIED]
        log = self.dir / f"{name}.log"
        part = Part(name, words, environment, log, lambda: gates.ssh_answers(port))
        gateway = Gateway(part, port)
        self.gateways.append(gateway)
        part.start()
        part.await_up()
        return gateway

    def close(self, gateway: Gateway) -> None:
        """The hard way: one that can't reach its database would take its time to part from it."""
        gateway.part.die()
        self.gateways.remove(gateway)

    def stop(self) -> None:
        for helper in ("crowd", "asset", "office"):
            if hasattr(self, helper):
                getattr(self, helper).kill()
        for part in [*(gateway.part for gateway in self.gateways), *reversed(self.around())]:
            part.stop()
        self.database.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


def found(kind: str) -> Town:
    """A town with everything up; on SQLite, where only the database's end is rehearsed, gateway and Redis alone."""
    folder = Path(tempfile.mkdtemp(prefix="breakglass-town-"))
    place = Place(folder, free_port(), free_port(), False)
    place.make()
    database: Database = (
        Postgres() if kind == "postgresql" else Sqlite(folder / "data" / "breakglass.sqlite3")
    )
    environment = place.environment() | {"BREAKGLASS_DATABASE_URL": database.url}
    town = Town(kind, folder, place, database, environment)
    try:
        _furnish(town)
        _people_it(town, whole=kind == "postgresql")
    except BaseException:
        town.stop()
        raise
    return town


def _furnish(town: Town) -> None:
    """Everything that has to be there before the first process of the product starts."""
    town.office = Helper("tests.faults.office", env=town.environment)
    town.parts["valkey"] = Part(
        "valkey", valkey.command(town.place.redis_socket), town.environment, town.dir / "valkey.log",
        lambda: gates.redis_answers(town.place.redis_socket),
    )  # fmt: skip
    town.parts["valkey"].start()
    (town.dir / "authorized_keys").write_text(town.office.ask("migrate") + "\n")
    host_key = make_key(town.dir / "host_key")
    town.asset = Helper("tests.faults.asset", str(town.dir / "host_key"), str(town.dir / "authorized_keys"))
    town.crowd = Helper("tests.faults.crowd")
    town.asset_port = town.asset.ask("port")
    town.parts["valkey"].await_up()
    town.office.ask("furnish", folder=str(town.dir), host_key=host_key, port=town.asset_port, count=PEOPLE)


def _people_it(town: Town, *, whole: bool) -> None:
    place = town.place
    celery = gates.celery_gate(place.redis_socket)
    up = {"web": lambda: gates.web_answers(place.web_port), "worker": celery}
    services = [start for start in supervisor.services(place) if start[0] != "gateway"]
    services.append(("beat", supervisor.beat(place), place.logs / "beat.log"))
    for name, command, log in services if whole else ():
        part = Part(name, command, town.environment, log, up.get(name, lambda: True))
        town.parts[name] = part
        part.start()
    town.gateway_apart("gateway", processes=2)
    for part in town.parts.values():
        part.await_up()


def eventually(true: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """The first true answer; an AssertionError that says what wasn't so within `seconds`."""
    until = time.monotonic() + seconds
    while not (answer := true()):
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return answer


def _holds_connections(pid: int, port: int) -> bool:
    """Whether one of its open sockets is the gateway's end of somebody's connection to that port."""
    established = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "01" and int(words[1].rpartition(":")[2], 16) == port:
            established.add(f"socket:[{words[9]}]")
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(descriptor) in established:
                    return True
    return False
