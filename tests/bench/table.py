"""What the numbers say: medians, ratios in one run, what was wanted, and whether it was reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.bench.measure import median, percentile

Numbers = dict[str, dict[str, list[float]]]

DIRECT, PROXY, HOP = "direct OpenSSH", "OpenSSH ProxyJump", "OpenSSH two-hop"
SCRIPT, TLOG = f"{HOP} with script", f"{HOP} with tlog"
OURS, JUMPED = "this gateway", "this gateway, -J"

MEASURES = {
    "prompt": "connect to first prompt, ms",
    "echo": "keystroke round trip, p50 ms",
    "echo99": "keystroke round trip, p99 ms",
    "text": "text through a terminal, MB/s",
    "out": "command output, MB/s",
    "in": "command input, MB/s",
    "cpu_out": "CPU s a 100 MB, output",
    "cpu_in": "CPU s a 100 MB, input",
    "put": "sftp put, MB/s",
    "get": "sftp get, MB/s",
}


@dataclass(frozen=True)
class Wish:
    """One line of what the gateway should reach, as a ratio of two routes in the same run."""

    measure: str
    ours: str
    theirs: str
    wanted: str

    def is_reached(self, ratio: float) -> bool:
        sign, limit = self.wanted.split()
        return ratio <= float(limit) if sign == "<=" else ratio >= float(limit)


WISHES = (
    Wish("prompt", OURS, TLOG, "<= 0.5"),
    Wish("echo", OURS, TLOG, "<= 1.05"),
    Wish("echo99", OURS, TLOG, "<= 1.0"),
    Wish("text", OURS, TLOG, ">= 2.6"),
    Wish("text", OURS, SCRIPT, ">= 1.3"),
    Wish("out", OURS, HOP, ">= 0.8"),
    Wish("in", OURS, HOP, ">= 0.8"),
    Wish("cpu_out", OURS, HOP, "<= 1.3"),
    Wish("cpu_in", OURS, HOP, "<= 1.3"),
    Wish("put", OURS, HOP, ">= 0.8"),
    Wish("get", OURS, HOP, ">= 0.8"),
    Wish("out", JUMPED, OURS, ">= 0.7"),
    Wish("in", JUMPED, OURS, ">= 0.7"),
    Wish("text", JUMPED, OURS, ">= 0.7"),
    Wish("put", JUMPED, OURS, ">= 0.7"),
    Wish("get", JUMPED, OURS, ">= 0.7"),
)


def value(numbers: Numbers, route: str, measure: str) -> float | None:
    """The median of a measure, or its 99th percentile; None where it wasn't taken."""
    values = numbers.get(route, {}).get(measure.removesuffix("99"))
    if not values:
        return None
    return percentile(values, 0.99) if measure.endswith("99") else median(values)


def ratios(numbers: Numbers) -> list[tuple[Wish, float]]:
    found = []
    for wish in WISHES:
        ours, theirs = (value(numbers, route, wish.measure) for route in (wish.ours, wish.theirs))
        if ours and theirs:
            found.append((wish, ours / theirs))
    return found


def show(numbers: Numbers) -> str:
    """Plain text for a terminal."""
    taken = [name for name in MEASURES if any(value(numbers, route, name) for route in numbers)]
    width = max(len(name) for name in numbers)
    lines = [f"{'':{width}}  " + "  ".join(f"{name:>8}" for name in taken)]
    for route in numbers:
        cells = [value(numbers, route, name) for name in taken]
        lines.append(
            f"{route:{width}}  " + "  ".join(f"{'' if cell is None else f'{cell:.2f}':>8}" for cell in cells)
        )
    lines += [
        "",
        *(f"{name:8} {MEASURES[name]}" for name in taken),
        "",
        "recording on, as a ratio in this run:",
    ]
    for wish, ratio in ratios(numbers):
        verdict = "" if wish.is_reached(ratio) else "not reached"
        lines.append(
            f"  {wish.measure:8} {wish.ours:17} to {wish.theirs:27} {ratio:5.2f}   wanted {wish.wanted:8} {verdict}"
        )
    return "\n".join(lines)


def markdown(kept: dict[str, Any]) -> str:
    """The same for docs/benchmarks.md, out of what `--json` kept."""
    numbers: Numbers = kept["numbers"]
    facts = kept["facts"]
    lines = [
        f"Measured {facts['when']} on {facts['machine']}; {facts['versions']}; {facts['how']}.",
        "",
        "| measure | this way | to that way | ratio | wanted | reached |",
        "|---|---|---|---|---|---|",
    ]
    for wish, ratio in ratios(numbers):
        reached = "yes" if wish.is_reached(ratio) else "**no**"
        lines.append(
            f"| {MEASURES[wish.measure]} | {wish.ours} | {wish.theirs} | {ratio:.2f} | {wish.wanted} | {reached} |"
        )
    taken = [name for name in MEASURES if any(value(numbers, route, name) for route in numbers)]
    lines += ["", "| " + " | ".join(["", *(MEASURES[name] for name in taken)]) + " |"]
    lines.append("|---" * (len(taken) + 1) + "|")
    for route in numbers:
        cells = [value(numbers, route, name) for name in taken]
        lines.append(
            "| " + " | ".join([route, *("" if cell is None else f"{cell:.2f}" for cell in cells)]) + " |"
        )
    for title, text in kept.get("texts", {}).items():
        lines += ["", f"{title}:", "", "```", text.strip(), "```"]
    return "\n".join(lines)
