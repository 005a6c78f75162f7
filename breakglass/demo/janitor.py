"""The one who tidies up when the supervisor is gone, however it went.

Run as a script with a pipe for standard input: lines "+PID" and "-PID" say which process groups live.
The pipe's end (the supervisor stopped, or was killed) is the signal. Standard library only, starts fast,
and holds on Linux and macOS alike. Argument: the run's mark, which every process of it carries in its
environment; on Linux whatever still carries it is found even in a process group of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

PATIENCE = 3.0


def main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        if line.startswith("+"):
            groups.add(pid)
        else:
            groups.discard(pid)
    mark = f"DEMO_RUN={sys.argv[1]}".encode()
    if groups:
        signal_groups(groups, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and any(alive(group) for group in groups):
            time.sleep(0.05)
        signal_groups(groups, signal.SIGKILL)
    for pid in bearers(mark):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def signal_groups(groups: set[int], number: int) -> None:
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def bearers(mark: bytes) -> list[int]:
    """Processes of ours with `mark` in their environment; none where there is no /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


if __name__ == "__main__":
    main()
