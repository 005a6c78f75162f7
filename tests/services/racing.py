"""Races on purpose: threads with database connections of their own, started at one moment or halted in the middle."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.db import connection

from breakglass.domain.refusals import Refused
from breakglass.models import AccessRequest
from breakglass.services import approvals, audit
from tests.services.scene import Scene

PATIENCE = 30.0
Runner = Callable[[], Any]


def race(*runners: Runner) -> list[Any]:
    """What each runner gave, or the code of its refusal, all begun at the same moment. Anything else is raised."""
    start = threading.Barrier(len(runners))

    def run(runner: Runner) -> Any:
        try:
            connection.ensure_connection()
            start.wait(PATIENCE)
            return runner()
        except Refused as refused:
            return str(refused.refusal.code)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(runners)) as pool:
        return [future.result(PATIENCE * 2) for future in [pool.submit(run, runner) for runner in runners]]


def approving(scene: Scene, request: AccessRequest, name: str) -> Runner:
    """That person says yes, with the code of this moment."""
    person, code = getattr(scene.cast, name), scene.cast.code(name, scene.now)
    return partial(approvals.approve, request.pk, person, code, "go", scene.now)


def fresh(scene: Scene) -> AccessRequest:
    """A pending request, at a moment when everybody's code is unused."""
    scene.time.forward(seconds=30)
    return scene.asked()


def sound_trail() -> None:
    result = audit.verify()
    assert result.ok, result


def tally(outcomes: list[Any]) -> Counter[str]:
    """How often each outcome came: codes of refusals, `True`, `False`, numbers; rows are `ok`."""
    return Counter(str(o) if isinstance(o, str | bool | int) else "ok" for o in outcomes)


class Gate:
    """Where one thread is halted until another has done its part."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def pass_through(self) -> None:
        self.reached.set()
        self.opened.wait(PATIENCE)


@contextmanager
def halted_at(
    monkeypatch: pytest.MonkeyPatch, target: str, *, before: bool = True, call: int = 1
) -> Iterator[Gate]:
    """One call of `target` (a dotted name), by default the first, is halted before or right after its work."""
    gate, calls = Gate(), itertools.count(1)
    module, _, name = target.rpartition(".")
    whole = __import__(module, fromlist=[name])
    original = getattr(whole, name)

    def slowed(*args: Any, **kwargs: Any) -> Any:
        mine = next(calls) == call
        if mine and before:
            gate.pass_through()
        result = original(*args, **kwargs)
        if mine and not before:
            gate.pass_through()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(whole, name, slowed)
        yield gate
        gate.opened.set()


def meanwhile(gate: Gate, slow: Runner, quick: Runner, wait: float = 0.5) -> list[Any]:
    """`slow` runs into the gate; then `quick` starts; the gate opens when `quick` is done or waits for `slow`."""

    def second() -> Any:
        assert gate.reached.wait(PATIENCE)
        threading.Timer(wait, gate.opened.set).start()
        try:
            return quick()
        finally:
            gate.opened.set()

    return race(slow, second)
