"""What was run, as a bundle lists it: each channel, and below it what was run in it, as far as the transcript knows.

`how` is "exact" (known from the protocol) or "inferred" (read from the screen, which a program can draw as it likes). `began`
and `seconds` are on the recording's clock; None where it wasn't rendered, or no end was seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from sessions.evidence.case import Case, Facts

COLUMNS: Final = (
    "session", "number", "kind", "how", "command", "destination", "refusal", "opened_at", "closed_at", "began", "seconds",
    "exit_status", "exit_signal", "bytes_in", "bytes_out", "bytes_err", "sha256_in", "sha256_out", "sha256_err",
)  # fmt: skip
_OF_WHOLE_CHANNELS: Final = ("bytes_in", "bytes_out", "bytes_err", "sha256_in", "sha256_out", "sha256_err")


def commands_of(case: Case, rendered: Iterable[Facts]) -> list[Facts]:
    """`rendered`: what the transcripts that are in the bundle know: `session`, `number` of the channel, `how`, `command`,
    `began`, `seconds`, `exit_status`."""
    below: dict[tuple[str, int], list[Facts]] = {}
    for one in rendered:
        below.setdefault((one["session"], one["number"]), []).append(one)
    found: list[Facts] = []
    for channel in case.channels:
        inside = below.pop((channel["session"], channel["number"]), [])
        exact: Facts = next((one for one in inside if one["how"] == "exact"), {})
        timed = {"began": exact.get("began"), "seconds": exact.get("seconds")}
        whole = {**channel, "how": "exact", **timed}
        found.append(whole)
        found += [_inferred(whole, one, case) for one in inside if one["how"] != "exact"]
    for inside in below.values():  # the channel's own row was lost with a gateway
        found += [_inferred(dict.fromkeys(COLUMNS), one, case) for one in inside]
    return found


def _inferred(channel: Facts, one: Facts, case: Case) -> Facts:
    opened = next(session["opened_at"] for session in case.sessions if session["label"] == one["session"])
    began = opened + timedelta(seconds=one["began"])
    return {
        **channel,
        **dict.fromkeys(_OF_WHOLE_CHANNELS),
        "exit_signal": "",
        **one,
        "opened_at": began,
        "closed_at": None if one["seconds"] is None else began + timedelta(seconds=one["seconds"]),
    }
