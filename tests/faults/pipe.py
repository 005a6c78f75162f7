"""Speaking with the harness's own helper processes: a line of JSON there, a line of JSON back."""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class HelperFailed(Exception):
    """A helper said that it couldn't, or is gone; the message has its words."""


def die_with_parent() -> None:
    """In a child, before it becomes its program: however the harness ends, this ends too."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Helper:
    """One `python -m MODULE`; asked by one thread at a time."""

    def __init__(self, module: str, *words: str, env: Mapping[str, str] | None = None) -> None:
        self._lock = threading.Lock()
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
            env=env, text=True, start_new_session=True, preexec_fn=die_with_parent,  # noqa: PLW1509
        )  # fmt: skip

    def ask(self, do: str, **what: Any) -> Any:
        """What its function `do` returns. Raises HelperFailed with what it raised."""
        with self._lock:
            assert self._process.stdin is not None and self._process.stdout is not None
            try:
                self._process.stdin.write(json.dumps({"do": do, **what}) + "\n")
                self._process.stdin.flush()
                line = self._process.stdout.readline()
            except BrokenPipeError:
                line = ""
        if not line:
            raise HelperFailed(f"{self._module} is gone; its last words are above")
        answer = json.loads(line)
        if "error" in answer:
            raise HelperFailed(f"{self._module} {do}: {answer['error']}")
        return answer["is"]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def serve_plainly(does: Mapping[str, Callable[..., Any]]) -> None:
    """The other end, in a program without an event loop: until standard input ends."""
    for line in sys.stdin:
        what = json.loads(line)
        try:
            answer = {"is": does[what.pop("do")](**what)}
        except Exception as error:  # noqa: BLE001 - told to who asked
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


async def serve(read: Callable[[], Awaitable[str]], does: Mapping[str, Callable[..., Any]]) -> None:
    """The other end, in an event loop: until standard input ends."""
    while line := await read():
        what = json.loads(line)
        try:
            found = does[what.pop("do")](**what)
            answer = {"is": await found if isinstance(found, Awaitable) else found}
        except Exception as error:  # noqa: BLE001 - told to who asked
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
