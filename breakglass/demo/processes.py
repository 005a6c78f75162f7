"""Processes that are started, watched, started again, and never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from breakglass import clock
from breakglass.demo import janitor
from breakglass.demo.place import write_private

PR_SET_PDEATHSIG = 1
STOP_PATIENCE = 8.0


@dataclass
class Child:
    """A process that should be running until the demo ends."""

    name: str
    command: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    not_before: float = 0.0
    failures: list[float] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    def last_words(self, lines: int = 8) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join("    " + line for line in text.splitlines()[-lines:])


class Household:
    """All processes of one run. Their end is the run's end, whether that was asked for or not.

    `register` is the file that says which process plays which part now.
    """

    def __init__(self, environment: Mapping[str, str], cwd: Path, register: Path) -> None:
        self._register = register
        self.mark = uuid.uuid4().hex
        self._environment = dict(environment) | {"DEMO_RUN": self.mark}
        self._cwd = cwd
        self._children: list[Child] = []
        self._janitor = subprocess.Popen(
            [sys.executable, "-IS", janitor.__file__, self.mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def children(self) -> Sequence[Child]:
        return tuple(self._children)

    def start(self, name: str, command: Sequence[str], log: Path) -> Child:
        child = Child(name, command, log)
        self._children.append(child)
        self._launch(child)
        return child

    def run(self, name: str, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """A process that ends by itself; the caller waits for it."""
        return self._spawn(command, log)

    def done(self, process: subprocess.Popen[bytes]) -> None:
        self._tell("-", process.pid)

    def mind(self, report: Callable[[str], None]) -> None:
        """Starts again whatever has ended, at most every few seconds, and says so."""
        now = clock.monotonic()
        for child in self._children:
            if child.process is None:
                if now >= child.not_before:
                    self._launch(child)
                continue
            code = child.process.poll()
            if code is None:
                continue
            self._tell("-", child.pid)
            child.process = None
            child.failures = [at for at in child.failures if now - at < 60] + [now]
            child.not_before = now + min(0.2 * 2 ** len(child.failures), 10)
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            report(f"{child.name} {how}; starting it again (log: {child.log})")

    def stop(self) -> None:
        """Ends every process: the last started first, politely, then not. The janitor sees to the rest."""
        for stage in (self._children[1:], self._children[:1]):
            self._end([child for child in reversed(stage) if child.process])
        assert self._janitor.stdin is not None
        self._janitor.stdin.close()
        self._janitor.wait()

    def _end(self, children: Sequence[Child]) -> None:
        for child in children:
            _signal(child, signal.SIGTERM)
        deadline = clock.monotonic() + STOP_PATIENCE
        for child in children:
            assert child.process is not None
            try:
                child.process.wait(timeout=max(0.05, deadline - clock.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(child, signal.SIGKILL)
                child.process.wait()

    def _launch(self, child: Child) -> None:
        child.process = self._spawn(child.command, child.log)
        pids = {known.name: known.pid for known in self._children}
        write_private(self._register, json.dumps(pids))

    def _spawn(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._cwd,
                # Ctrl-C in the terminal is for the supervisor alone; it ends the others in order.
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509 - no thread runs beside this
            )
        self._tell("+", process.pid)
        return process

    def _tell(self, sign: str, pid: int) -> None:
        pipe: IO[bytes] | None = self._janitor.stdin
        assert pipe is not None
        pipe.write(f"{sign}{pid}\n".encode())
        pipe.flush()


def _signal(child: Child, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """On Linux the kernel itself ends a child whose supervisor was killed; elsewhere the janitor does."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def preexec() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return preexec
