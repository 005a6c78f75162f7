"""Several gateway processes on one port, and the small parent that starts them, starts them again and ends with them.

The kernel spreads connections over the processes (SO_REUSEPORT); a session lives and ends in the one that accepted it.
The parent touches no database, no thread and no connection of anybody: it keeps the port, restarts whoever died, looks
after the guard (`guard.py`), and counts wrong answers for all (`shared.py`), so that N processes don't give a stranger N
times as many tries.
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from django.conf import settings

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.services import audit
from sessions import services
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.guard import LOOK_AFTER_IT, Guard
from sessions.gateway.limits import Limits
from sessions.gateway.replay import replay
from sessions.gateway.server import RECOVERY, Gateway, default_gateway_id, listener
from sessions.gateway.shared import Counters, Line

DRAIN_SECONDS = 20.0
LONGEST_PAUSE = 10.0
PROBES, PROBE_PAUSE = 20, 0.1
PR_SET_PDEATHSIG = 1
ENDS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger("breakglass.gateway")


def one_a_core() -> int:
    """How many processes make use of this machine. Elsewhere than on Linux SO_REUSEPORT doesn't spread: one."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def take_over(base: str, processes: int) -> None:
    """Write down what numbers left in their journals that aren't run any more, and end as crashed what they left open:
    the last start may have had more processes."""
    living = [f"{base}:{number}" for number in range(processes)]
    replay(lambda name: (name == base or name.startswith(f"{base}:")) and name not in living)
    with borrowed_db(longest=RECOVERY):
        ended = services.recover_abandoned(base, living, clock.now())
    if ended:
        log.warning("%d sessions of processes that are no more were ended as crashed", ended)


def own_up(guard: Guard | None, number: int, gateway_id: str) -> None:
    """Where the guard killed the last life of this process: its audit row, once."""
    note = guard.note(number) if guard is not None else None
    if note is None or not note.exists():
        return
    try:
        data = json.loads(note.read_text())
    except ValueError:  # the disk was full
        data = {}
    with borrowed_db():
        audit.record(
            AuditTag.GATEWAY_STALLED, actor=None, subject=f"gateway:{gateway_id}", now=clock.now(), data=data
        )
    note.unlink()


def _guard(base: str, processes: int) -> Guard | None:
    return Guard(base, processes, settings.BREAKGLASS.data_dir / "gateway") if Guard.is_possible() else None


def run_alone(host: str, port: int, limits: Limits, ready: Callable[[int], None]) -> None:
    """One process, no parent: serves until SIGTERM or SIGINT, and is gone 20 s after it at the latest. Raises OSError when
    the port is taken."""
    gateway = Gateway(host, port, "", limits)
    base = default_gateway_id(gateway.port)
    gateway.id = f"{base}:0"
    for number in ENDS:
        signal.signal(number, lambda *_: _end_in_time(gateway))
    guard = _guard(base, 1)
    if guard is not None:
        gateway.heartbeat = guard.beat(0)
    own_up(guard, 0, gateway.id)
    take_over(base, 1)
    if guard is not None:
        guard.keep()
    try:
        gateway.run(lambda: ready(gateway.port))
    finally:
        if guard is not None:
            guard.stop()


def _end_in_time(gateway: Gateway) -> None:
    """Drain, for as long as a crew's parent would give it: then the kernel ends what some database or disk holds up."""
    signal.alarm(signal.alarm(0) or int(DRAIN_SECONDS))  # asked again: the first one counts
    gateway.stop()


@dataclass
class Hand:
    """One place in the crew: a number that stays, and the process that holds it now."""

    number: int
    pid: int = 0
    line: Connection | None = None
    is_ready: bool = False
    not_before: float = 0.0
    failures: list[float] = field(default_factory=list)


class Crew:
    """The parent. Raises OSError when the port is taken, also by another gateway."""

    def __init__(self, host: str, port: int, limits: Limits, processes: int) -> None:
        self._host = host
        self._limits = limits.share(processes)
        self._held = _hold(host, port)
        self.port = int(self._held.getsockname()[1])
        self._base = default_gateway_id(self.port)
        self._hands = [Hand(number) for number in range(processes)]
        self._guard = _guard(self._base, processes)
        self._counters = Counters()
        self._stop_at = 0.0
        self._is_up = False

    def run(self, ready: Callable[[int], None]) -> int:
        """Serve until SIGTERM or SIGINT; `ready` is called with the port once all listen. The exit code: 1 when a
        process ended before that."""
        gc.collect()
        gc.freeze()  # what all share stays shared: the collector would touch every page
        code = 0
        with _woken(self._asked_to_stop) as waker:
            for hand in self._hands:
                self._start(hand)
            while any(hand.pid for hand in self._hands) or not self._stop_at:
                self._turn(waker)
                if not self._is_up and not self._stop_at:
                    if any(hand.failures for hand in self._hands):
                        code = 1
                        self._stop_all()
                    elif all(hand.is_ready for hand in self._hands):
                        self._is_up = True
                        ready(self.port)
        if self._guard is not None:
            self._guard.stop()
        self._held.close()
        return code

    def _asked_to_stop(self, *_: object) -> None:
        if not self._stop_at:
            self._stop_all()

    def _stop_all(self) -> None:
        self._stop_at = clock.monotonic() + DRAIN_SECONDS
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for hand in self._hands:
            if hand.pid:
                with suppress(ProcessLookupError):
                    os.kill(hand.pid, number)

    # One turn of the loop. -------------------------------------------------------------------------------

    def _turn(self, waker: socket.socket) -> None:
        now = clock.monotonic()
        if self._stop_at and now > self._stop_at:
            self._signal(signal.SIGKILL)
        for hand in self._hands:
            if not hand.pid and not self._stop_at and now >= hand.not_before:
                self._start(hand)
        if self._guard is not None and not self._stop_at:
            self._guard.look_after()
        lines = {hand.line: hand for hand in self._hands if hand.line is not None}
        for said in wait([*lines, waker], timeout=self._patience(now)):
            if said is waker:
                waker.recv(64)
            else:
                self._hear(lines[said])  # type: ignore[index]

    def _patience(self, now: float) -> float | None:
        """Until the next thing to do by the clock; None to wait for somebody to speak."""
        due = [hand.not_before for hand in self._hands if not hand.pid and not self._stop_at]
        if self._guard is not None:
            due.append(now + LOOK_AFTER_IT)
        if self._stop_at:
            due.append(self._stop_at)
        return max(0.0, min(due) - now) + 0.01 if due else None

    def _hear(self, hand: Hand) -> None:
        assert hand.line is not None
        try:
            answer = self._counters.answer(hand.line.recv_bytes())
            if answer is None:
                hand.is_ready = True
            else:
                hand.line.send_bytes(answer)
        except (EOFError, OSError):
            self._gone(hand)

    def _gone(self, hand: Hand) -> None:
        assert hand.line is not None
        hand.line.close()
        _, status = os.waitpid(hand.pid, 0)
        pid, hand.pid, hand.line, hand.is_ready = hand.pid, 0, None, False
        if self._stop_at:
            return
        now = clock.monotonic()
        hand.failures = [at for at in hand.failures if now - at < 60] + [now]
        hand.not_before = now + min(0.1 * 2 ** (len(hand.failures) - 1), LONGEST_PAUSE)
        code = os.waitstatus_to_exitcode(status)
        log.error("process %d (%s:%d) is gone with code %d; its sessions are gone with it, the others live on",
                  pid, self._base, hand.number, code)  # fmt: skip

    # Children. -------------------------------------------------------------------------------------------

    def _start(self, hand: Hand) -> None:
        ours, theirs = Pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)  # none gets lost before the child listens to it
        try:
            parent, pid = os.getpid(), os.fork()
            if pid == 0:
                _child(lambda: self._be(hand.number, theirs, parent, [ours]))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
        theirs.close()
        hand.pid, hand.line = pid, ours

    def _be(self, number: int, line: Connection, parent: int, others: list[Connection]) -> None:
        """The life of a child."""
        _die_with(parent)
        signal.set_wakeup_fd(-1)
        for end in ENDS:
            signal.signal(end, signal.SIG_DFL)
        for other in [*others, *(hand.line for hand in self._hands if hand.line is not None)]:
            other.close()
        self._held.close()
        shared = Line(line)
        gateway = Gateway(self._host, self.port, f"{self._base}:{number}", self._limits, shared)
        if self._guard is not None:
            self._guard.let_go()
            gateway.heartbeat = self._guard.beat(number)
        for end in ENDS:
            signal.signal(end, lambda *_: gateway.stop())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
        own_up(self._guard, number, gateway.id)
        if number == 0:
            take_over(self._base, len(self._hands))
        gateway.run(shared.ready)


def _child(life: Callable[[], None]) -> None:
    """Runs `life` and ends the process without the parent's own goodbyes."""
    code = 1
    try:
        life()
        code = 0
    except BaseException:  # noqa: BLE001 - the last words of a process that ends here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _die_with(parent: int) -> None:
    """However the parent ends, this process ends too: the kernel sees to it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _hold(host: str, port: int) -> socket.socket:
    """The port, held for the children. Whoever listens there already, another gateway too, is an OSError:
    two of them would share the connections, and end each other's sessions as crashed."""
    for attempt in range(PROBES):
        try:
            listener(host, port, share=False).close()
            break
        except OSError:
            if attempt == PROBES - 1:  # one that was just killed may hold it for a moment longer
                raise
            time.sleep(PROBE_PAUSE)
    return listener(host, port, share=True)


@contextmanager
def _woken(asked: Callable[..., None]) -> Iterator[socket.socket]:
    """While it lasts SIGTERM and SIGINT call `asked` and make the yielded socket readable."""
    near, far = socket.socketpair()
    for end in (near, far):
        end.setblocking(False)
    before: dict[signal.Signals, Any] = {number: signal.signal(number, asked) for number in ENDS}
    old = signal.set_wakeup_fd(far.fileno())
    try:
        yield near
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in before.items():
            signal.signal(number, handler)
        near.close()
        far.close()
