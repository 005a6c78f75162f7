"""Starts every process of the demo in order, waits until each answers, and watches them until Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import IO

from breakglass import clock
from breakglass.demo import card, gates, valkey
from breakglass.demo.asset_book import AssetBook
from breakglass.demo.place import ROOT, DemoStopped, Place, here, python
from breakglass.demo.processes import Child, Household

GATE_PATIENCE = 90.0
PORT_PATIENCE = 6.0
CELERY = ("-m", "celery", "-A", "breakglass")


def main() -> int:
    """Runs the demo until it is told to stop. The exit code: 0 for a wished end, 1 for one that was not."""
    stop = threading.Event()
    heed_signals(stop)
    say("Breakglass demo: starting. Ctrl-C ends it.")
    try:
        place = here()
        place.make()
        with only_one(place):
            return Demo(place, stop).run()
    except DemoStopped as problem:
        say(f"\nThe demo stopped: {problem}")
        return 1
    except Interrupted:
        say("The demo was stopped before it was ready.")
        return 130


class Interrupted(Exception):
    """Somebody asked for the end while the demo was starting."""


class Demo:
    """One run."""

    def __init__(self, place: Place, stop: threading.Event) -> None:
        self.place = place
        self.stop = stop
        self.started = clock.monotonic()
        self.parent = os.getppid()
        self.make_caught_sigint = catches_sigint(self.parent)

    def run(self) -> int:
        self.await_free_ports()
        household = Household(self.place.environment(), ROOT, self.place.dir / "processes.json")
        try:
            self.bring_up(household)
            card.show(self.place, self.elapsed(), say)
            self.watch(household)
            say("Stopping...")
        finally:
            household.stop()
            say("Stopped: no process of the demo is left.")
        return 0

    def bring_up(self, household: Household) -> None:
        place = self.place
        redis = household.start("valkey", valkey.command(place.redis_socket), place.logs / "valkey.log")
        self.gate("Valkey", [redis], lambda: gates.redis_answers(place.redis_socket))
        book = AssetBook.of(place)
        assets = [household.start(*start) for start in book.processes(place)]
        self.prepare(household)
        web, worker, gateway = (household.start(*start) for start in services(place))
        celery = gates.celery_gate(place.redis_socket)
        self.gate("asset servers", assets, lambda: all(gates.ssh_answers(port) for port in book.ports))
        self.gate("gateway", [gateway], lambda: gates.ssh_answers(place.gateway_port))
        self.gate("web page", [web], lambda: gates.web_answers(place.web_port))
        self.gate("Celery", [worker], celery)
        # Nobody waits for these: beat only says "look again" every few seconds, the others look at what is written.
        household.start("beat", beat(place), place.logs / "beat.log")
        household.start("notary", notary(place), place.logs / "notary.log")
        household.start("stream", stream(), place.logs / "stream.log")
        card.write(place, book)
        if "rehearsed" not in place.remembered():
            self.once(household, "a finished session to replay", "rehearse")

    def prepare(self, household: Household) -> None:
        """Database, static files, people, assets and playbooks; nothing where all of it is there."""
        if self.place.remembered().get("prepared") == card.fingerprint():
            self.progress("database and playbooks as before")
            return
        self.once(household, "database, people, playbooks", "prepare")
        self.place.remember(prepared=card.fingerprint())

    def once(self, household: Household, what: str, step: str) -> None:
        log = self.place.logs / f"{step}.log"
        process = household.run(step, python("-m", f"breakglass.demo.{step}"), log)
        while process.poll() is None:
            self.pause(0.05)
        household.done(process)
        if process.returncode != 0:
            raise DemoStopped(f"{step} failed:\n{Child(step, (), log).last_words()}\nThe whole log: {log}")
        self.progress(what)

    def gate(self, name: str, children: list[Child], opens: Callable[[], bool]) -> None:
        deadline = clock.monotonic() + GATE_PATIENCE
        while not opens():
            for child in children:
                if child.process is not None and child.process.poll() is not None:
                    raise DemoStopped(
                        f"{child.name} ended at its start:\n{child.last_words()}\nLog: {child.log}"
                    )
            if clock.monotonic() > deadline:
                raise DemoStopped(f"{name} doesn't answer. The logs are in {self.place.logs}.")
            self.pause(0.1)
        self.progress(f"{name} {'answer' if name.endswith('s') else 'answers'}")

    def await_free_ports(self) -> None:
        """A demo that was just killed may hold its ports for a moment longer."""
        deadline = clock.monotonic() + PORT_PATIENCE
        for variable, port in (
            ("DEMO_PORT", self.place.web_port),
            ("DEMO_GATEWAY_PORT", self.place.gateway_port),
        ):
            while not gates.port_is_free(port):
                if clock.monotonic() > deadline:
                    raise DemoStopped(
                        f"port {port} is in use by another program.\n"
                        f"Choose another one with {variable}, as in:  {variable}={port + 1000} make demo"
                    )
                self.pause(0.1)

    def watch(self, household: Household) -> None:
        while not self.stop.wait(0.25) and not self.abandoned():
            household.mind(say)

    def abandoned(self) -> bool:
        """Whether the `make` that runs us is gone, or was told to stop and waits for us: then we stop."""
        if "DEMO_UNDER_MAKE" not in os.environ:
            return False
        return os.getppid() != self.parent or (self.make_caught_sigint and not catches_sigint(self.parent))

    def pause(self, seconds: float) -> None:
        if self.stop.wait(seconds) or self.abandoned():
            raise Interrupted

    def elapsed(self) -> float:
        return clock.monotonic() - self.started

    def progress(self, what: str) -> None:
        say(f"  [{self.elapsed():4.1f} s] {what}")


def services(place: Place) -> list[tuple[str, list[str], Path]]:
    """The processes of the product that people wait for."""
    uvicorn = [
        "-m",
        "uvicorn",
        "breakglass.asgi:application",
        "--host",
        "127.0.0.1",
        "--port",
        str(place.web_port),
        "--ws",
        "websockets-sansio",
        "--ws-max-size",
        "131072",
        "--ws-ping-interval",  # with the timeout: a browser that vanished is noticed within 15 s
        "3",
        "--ws-ping-timeout",
        "11",
    ]
    worker = ["worker", "--pool", "threads", "--concurrency", "4", "--without-gossip", "--without-mingle"]
    return [
        (
            "web",
            python(*uvicorn, "--timeout-graceful-shutdown", "2", "--no-access-log", "--no-proxy-headers"),
            place.logs / "web.log",
        ),
        ("worker", python(*CELERY, *worker, "--loglevel", "INFO"), place.logs / "worker.log"),
        ("gateway", python(str(ROOT / "manage.py"), "run_gateway"), place.logs / "gateway.log"),
    ]


def beat(place: Place) -> list[str]:
    schedule = ["--schedule", str(place.dir / "beat-schedule"), "--pidfile", ""]
    return python(*CELERY, "beat", *schedule, "--loglevel", "WARNING")


def notary(place: Place) -> list[str]:
    return python(str(ROOT / "manage.py"), "run_notary", "--key-file", str(place.notary_key))


def stream() -> list[str]:
    return python(str(ROOT / "manage.py"), "stream_audit")


class only_one:
    """Holds the folder's lock: two demos in one folder would write over each other."""

    def __init__(self, place: Place) -> None:
        self.file: IO[str] = (place.dir / "lock").open("a")
        self.dir = place.dir

    def __enter__(self) -> None:
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoStopped(
                f"another demo runs in {self.dir}. End that one, or give this one a folder and ports of its own:\n"
                "  DEMO_DIR=var/demo2 DEMO_PORT=8001 DEMO_GATEWAY_PORT=2223 make demo"
            ) from None

    def __exit__(self, *_: object) -> None:
        self.file.close()


def catches_sigint(pid: int) -> bool:
    """Whether that process has a handler for SIGINT, where the system tells (Linux).

    GNU make that gets a SIGINT of its own, not the terminal's, takes its handler away and then waits for its
    children without telling them.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (signal.SIGINT - 1) & 1)


def heed_signals(stop: threading.Event) -> None:
    def asked(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        # Under nohup SIGHUP is ignored from the start, and stays so. SIGINT counts even where a shell's `&` ignores it.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, asked)


def say(words: str) -> None:
    try:
        print(words, flush=True)
    except OSError:
        # The terminal is gone; the demo goes on until it is told otherwise. Nothing more to print to.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
