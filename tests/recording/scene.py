"""What the recording tests speak of: a clock to turn by hand, keys, the header of a session."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sessions.recording.recorder import Recorder

HEADER = {
    "width": 80,
    "height": 24,
    "timestamp": 1795000000,
    "title": "rita on hist-01",
    "env": {"TERM": "xterm-256color"},
    "breakglass": {"session": "0b5e", "person": "rita", "asset": "hist-01"},
}
REPOSITORY = Path(__file__).parents[2]


class HandClock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@dataclass(frozen=True)
class Keys:
    encryption: bytes = bytes(range(32))
    signing: Ed25519PrivateKey = field(
        default_factory=lambda: Ed25519PrivateKey.from_private_bytes(b"s" * 32)
    )

    @property
    def public(self) -> Ed25519PublicKey:
        return self.signing.public_key()


def session(path: Path, *, outputs: int = 3) -> bytes:
    """Record a small session and give the file's bytes."""
    clock = HandClock()
    recorder = Recorder(path, HEADER, clock=clock)
    recorder.resize(100, 30, channel=0)
    for number in range(outputs):
        clock.seconds += 0.5
        recorder.output(0, f"line {number}: café \x1b[31mred\x1b[0m\r\n".encode())
    clock.seconds += 0.5
    recorder.marker("exec 3: uname -a")
    recorder.output(3, b"Linux \xff\xfe\xc3")
    recorder.output(3, b"warning\n", stderr=True)
    recorder.output(0, b"$ exit\r\n")
    recorder.close()
    return path.read_bytes()


def events(path: Path) -> list[Any]:
    """What a recording holds after its header, as JSON says it."""
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]
