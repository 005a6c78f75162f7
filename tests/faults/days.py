"""The bad days. Each returns how long it took people to notice, in seconds; less is better, and the limit is a promise."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from breakglass import clock
from tests.faults import scene
from tests.support.stack import Stack


@dataclass(frozen=True)
class Day:
    """One bad day. `limit` is the longest that what is measured may take, in seconds."""

    name: str
    what: str
    measures: str
    limit: float
    live: Callable[[Stack], float]


def _killed(name: str) -> Callable[[Stack], float]:
    def live(stack: Stack) -> float:
        """The slowest of the keystrokes around the kill."""
        grant = scene.granted(stack)
        with scene.at_work(stack) as worker:
            stack.kill(name)
            slowest = max(worker.echo() for _ in range(30))
        stack.await_health()
        scene.release(stack, grant)
        return slowest

    return live


def everything_frozen(stack: Stack) -> float:
    """How late the session ends when nothing around the gateway moves."""
    grant = scene.granted(stack)
    with scene.at_work(stack) as worker:
        end = scene.end_in(stack, grant, 10)  # the gateway sees it by itself, within 5 s
        with scene.frozen(stack, *scene.AROUND_THE_GATEWAY):
            worker.echo()
            worker.read_to_the_end()
            late = (clock.now() - end).total_seconds()
    assert late > -1, f"ended {-late:.1f} s too early"
    found = scene.eventually(lambda: scene.latest_session(stack), lambda s: s.get("state") == "ended")
    assert found["end_reason"] == "expired"
    return abs(late)


def gateway_killed(stack: Stack) -> float:
    """From the kill until the session stands as crashed, with its recording recovered."""
    grant = scene.granted(stack)
    with scene.at_work(stack) as worker:
        worker.echo()
        started = time.monotonic()
        stack.kill("gateway")
        found = scene.eventually(
            lambda: scene.latest_session(stack), lambda s: s.get("recording") in ("recovered", "sealed"), 180
        )
        took = time.monotonic() - started
    assert found["end_reason"] == "crashed"
    stack.await_health()
    scene.release(stack, grant)
    return took


def asset_killed(stack: Stack) -> float:
    """From the asset's death until the person's session is over."""
    grant = scene.granted(stack)
    with scene.at_work(stack) as worker:
        started = time.monotonic()
        stack.kill("assets", signal.SIGKILL)
        worker.read_to_the_end()
        took = time.monotonic() - started
    stack.await_health()
    scene.release(stack, grant)
    return took


SLOWEST_KEY = "slowest of 30 keystrokes"
DAYS = (
    Day("worker", "the Celery worker is killed", SLOWEST_KEY, 2.0, _killed("worker")),
    Day("beat", "Celery beat is killed", SLOWEST_KEY, 2.0, _killed("beat")),
    Day("valkey", "Redis is killed", SLOWEST_KEY, 2.0, _killed("valkey")),
    Day("web", "the web page is killed", SLOWEST_KEY, 2.0, _killed("web")),
    Day(
        "frozen",
        "web page, worker, beat and Redis stand still",
        "end of session off by",
        2.0,
        everything_frozen,
    ),
    Day("gateway", "the gateway is killed", "until crashed and recovered", 60.0, gateway_killed),
    Day("asset", "the asset dies", "until the session is over", 5.0, asset_killed),
)
