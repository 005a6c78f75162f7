"""The measures. Each returns plain numbers for one route; nothing is averaged away before it is kept."""

from __future__ import annotations

import os
import pty
import re
import select
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.routes import Route

MB = 1_000_000
PROMPT = re.compile(rb"[#$>] ?(\x1b\[[0-9;?]*[a-zA-Z])*$")


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: list[float]) -> float:
    return statistics.median(values)


@contextmanager
def terminal(route: Route, *words: str) -> Iterator[int]:
    """A client on a terminal of ours; yields the descriptor."""
    near, far = pty.openpty()
    child = subprocess.Popen(
        route.command(*words, terminal=True), env=route.environment(), stdin=far, stdout=far,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    os.close(far)
    try:
        yield near
    finally:
        os.close(near)
        child.terminate()  # it has no controlling terminal that would tell it
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def read_some(descriptor: int, seconds: float) -> bytes:
    ready, _, _ = select.select([descriptor], [], [], seconds)
    if not ready:
        raise TimeoutError("nothing came")
    return os.read(descriptor, 1 << 16)


def read_until(descriptor: int, word: bytes) -> None:
    seen = b""
    while word not in seen:
        seen = seen[-100:] + read_some(descriptor, 15)


def prompt_seconds(route: Route) -> float:
    """From starting ssh to the first prompt of the shell."""
    route.environment()
    started = time.perf_counter()
    with terminal(route) as near:
        seen = b""
        while not PROMPT.search(seen[-200:]):
            seen += read_some(near, 15)
        took = time.perf_counter() - started
        os.write(near, b"exit\n")
        return took


def echo_seconds(routes: list[Route], count: int) -> dict[str, list[float]]:
    """Round trips of single keystrokes to a program on the asset that gives each back.

    All routes are connected at once and take turns key by key, so that what else the machine does hits all alike.
    """
    took: dict[str, list[float]] = {route.name: [] for route in routes}
    with ExitStack() as stack:
        open_ones = {}
        for route in routes:
            near = stack.enter_context(terminal(route, "stty raw -echo; echo ready; exec cat"))
            read_until(near, b"ready")
            open_ones[route.name] = near
        time.sleep(0.3)
        for near in open_ones.values():
            while select.select([near], [], [], 0.1)[0]:
                os.read(near, 1 << 16)
        for _ in range(count):
            for name, near in open_ones.items():
                started = time.perf_counter()
                os.write(near, b"x")
                read_some(near, 5)
                took[name].append(time.perf_counter() - started)
                time.sleep(0.002)
    return took


def out_rate(route: Route, size: int) -> tuple[float, float]:
    """MB/s of a command's output, and CPU seconds a 100 MB in between."""
    before = route.cpu() if route.cpu else 0.0
    child = subprocess.Popen(
        route.command(f"head -c {size} /dev/zero"), env=route.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert child.stdout is not None
    got = len(child.stdout.read(1))
    started = time.perf_counter()
    while piece := os.read(child.stdout.fileno(), 1 << 20):
        got += len(piece)
    took = time.perf_counter() - started
    child.wait()
    assert got >= size - (1 << 16), f"{route.name}: {got} of {size} bytes"
    return size / MB / took, _cpu_since(route, before, size)


def in_rate(route: Route, size: int) -> tuple[float, float]:
    """MB/s of a command's input, and CPU seconds a 100 MB in between."""
    before = route.cpu() if route.cpu else 0.0
    child = subprocess.Popen(
        route.command("echo up; cat > /dev/null; echo all"), env=route.environment(), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert child.stdout is not None and child.stdin is not None
    assert child.stdout.readline() == b"up\n"
    block = bytes(1 << 20)
    started = time.perf_counter()
    for _ in range(size >> 20):
        child.stdin.write(block)
    child.stdin.close()
    assert child.stdout.readline() == b"all\n"
    took = time.perf_counter() - started
    child.wait()
    return size / MB / took, _cpu_since(route, before, size)


def text_rate(route: Route, lines: Path) -> float:
    """MB/s of text through a terminal."""
    size = lines.stat().st_size
    with terminal(route, f"stty raw -echo; echo ready; read go; cat {lines}; echo fin") as near:
        read_until(near, b"ready")
        started = time.perf_counter()
        os.write(near, b"go\n")
        got, tail = 0, b""
        while b"fin" not in tail:
            piece = read_some(near, 15)
            got += len(piece)
            tail = (tail + piece)[-10:]
        took = time.perf_counter() - started
    assert got >= size
    return size / MB / took


def _cpu_since(route: Route, before: float, size: int) -> float:
    if route.cpu is None:
        return 0.0
    time.sleep(0.3)
    return (route.cpu() - before) / (size / 100 / MB)
