"""From nothing to a shell: the steps of the people, and the seconds that the product adds to theirs.

The whole stack runs, as `make demo` runs it. People's own time (reading, typing, finding the phone) is not in it. In the browser the responder's part is three clicks:
tests/journeys/test_three_clicks.py counts them.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from tests.bench.measure import median
from tests.support import stack as stacks
from tests.support.stack import Answer, Stack

STEPS = (
    ("responder", "picks a playbook, writes the reason, names the incident, sends", "ask"),
    ("approver", "sees it in the inbox", "inbox"),
    ("approver", "types a code, clicks approve", "approve"),
    ("responder", "pastes the ssh command, types a code; first output", "shell"),
)


def table(rounds: int) -> str:
    """Run it `rounds` times; the medians, step by step."""
    taken: dict[str, list[float]] = {name: [] for _, _, name in STEPS}
    with tempfile.TemporaryDirectory(prefix="breakglass-plea-") as folder:
        stack = stacks.start(Path(folder))
        try:
            for number in range(rounds):
                for name, seconds in once(stack, number).items():
                    taken[name].append(seconds)
        finally:
            stack.stop()
    lines = [f"from request to shell, {rounds} times, medians in ms"]
    for who, what, name in STEPS:
        lines.append(f"  {who:10} {what:66} {median(taken[name]) * 1000:7.0f}")
    total = [sum(parts) for parts in zip(*taken.values(), strict=True)]
    lines.append(f"  {'':10} {'all of it; 4 steps by 2 people, 2 codes':66} {median(total) * 1000:7.0f}")
    return "\n".join(lines)


def once(stack: Stack, number: int) -> dict[str, float]:
    """One emergency by REST and stock ssh; the seconds of each step."""
    incident = good(stack.call("rita", "POST", "incidents", {"title": f"Bench {number}: collector down"}))
    seconds: dict[str, float] = {}
    began = time.monotonic()
    ask = {
        "playbook": "historian-down",
        "incident": incident["id"],
        "assets": ["hist-01"],
        "reason": "A bench asks how long it takes",
    }
    request = good(stack.call("rita", "POST", "requests", ask))
    seconds["ask"] = time.monotonic() - began
    began = time.monotonic()
    good(stack.call("ada", "GET", f"requests/{request['id']}"))
    seconds["inbox"] = time.monotonic() - began
    yes = {"otp": stack.code("ada"), "comment": "go"}
    began = time.monotonic()
    grant = good(stack.call("ada", "POST", f"requests/{request['id']}/approve", yes))["grant"]
    seconds["approve"] = time.monotonic() - began
    environment = stack.askpass("rita")
    began = time.monotonic()
    words = stack.ssh("rita", "hist-01", "echo", "in")
    done = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    seconds["shell"] = time.monotonic() - began
    if done.stdout != b"in\n":
        raise RuntimeError(f"not in: {done.stdout!r} {done.stderr!r}")
    good(stack.call("rita", "POST", f"grants/{grant}/release", {}))
    return seconds


def good(answer: Answer) -> dict[str, str]:
    if answer.status not in (200, 201):
        raise RuntimeError(f"{answer.status}: {answer.body}")
    body: dict[str, str] = answer.body
    return body
